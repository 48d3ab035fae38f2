"""Bring every case onto the plan's grid once, in a memory-mapped store that patches are cut from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.plan import Plan
from hounsfield.io.pixel_store import write_pixels
from hounsfield.io.source import INSIDE, Source
from hounsfield.steps.regions.grid_store import TABLE, GridRow, GridStore
from hounsfield.steps.regions.to_grid import IGNORED, gridded, marks_on_grid, native_case

__all__ = ["grid_folder", "prepare_grid"]

_VERSION = "1"
_SOME = 4000
"""Voxels of a label that are kept for drawing the centres of patches."""

Held = tuple[str, NDArray[Any], tuple[float, ...]]


def grid_folder(cache: Path) -> Path:
    """Where the store of a run lies in its cache."""
    return cache / "grid"


def prepare_grid(
    source: str,
    cases: Sequence[Case],
    plan: Plan,
    cache: Path,
    *,
    state: str,
    resample_masks: bool = False,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> GridStore:
    """Every case on the grid, with labels and marks; a whole store of the same plan and source is used again.

    `state` tells one source from another. Raises BadInput where a case cannot be brought there.
    """
    told = plan.grid.model_dump_json(include={"channels", "spacing_mm", "normalise", "fixed"})
    names = (*plan.segmentation.structures, *plan.detection.classes)
    drawn = (repr((c.id, c.annotated, c.marked, _times(source, c))) for c in cases)
    text = "".join(
        [_VERSION, state, told, repr(names), str(resample_masks), str(plan.segmentation.ignore), *drawn]
    )
    key = hashlib.sha256(text.encode()).hexdigest()
    folder = grid_folder(cache)
    found = GridStore.open(folder, key)
    if found is not None:
        return found
    (folder / TABLE).unlink(missing_ok=True)
    rows: dict[str, GridRow] = {}

    def held() -> Iterator[Held]:
        with Source(source) as opened, ThreadPoolExecutor(max(1, threads)) as pool:

            def one(case: Case) -> tuple[GridRow, list[Held]]:
                return _one(opened, case, plan, resample_masks)

            pending, done = iter(cases), 0
            while batch := list(islice(pending, 2 * max(1, threads))):
                for case, (row, parts) in zip(batch, pool.map(one, batch), strict=True):
                    rows[case.id] = row
                    yield from parts
                done += len(batch)
                if progress:
                    progress(done, len(cases))

    store = GridStore(folder, write_pixels(folder, held(), state=key), rows)
    store.write_rows()
    return store


def _times(source: str, case: Case) -> list[tuple[str, int, int]]:
    """Files of a case's images and masks, with size and time of change."""
    root, found = Path(source), []
    masks = [series for _, series in case.masks]
    for series in (*case.images, *masks, *([case.within] if case.within else [])):
        for name in series.files:
            path = root / name.split(INSIDE)[0] if root.is_dir() else root
            told = path.stat() if path.exists() else None
            found.append((name, told.st_size if told else 0, told.st_mtime_ns if told else 0))
    return found


def _one(source: Source, case: Case, plan: Plan, resample_masks: bool) -> tuple[GridRow, list[Held]]:
    segmentation = plan.segmentation
    native = native_case(
        source, case, segmentation.structures, ignore=segmentation.ignore, resample_masks=resample_masks
    )
    made = gridded(native, plan.grid)
    parts: list[Held] = [(case.id, made.data, made.place.spacing)]
    counted: dict[int, int] = {}
    if made.labels is not None:
        parts.append((f"{case.id}|labels", made.labels[None], made.place.spacing))
        for label in np.unique(made.labels).tolist():
            if label == IGNORED:
                continue
            voxels = np.argwhere(made.labels == label)
            counted[label] = len(voxels)
            some = voxels[:: max(1, len(voxels) // _SOME)].astype(np.int16)
            parts.append((f"{case.id}|{label}", some[None, None], ()))
    marked = None if case.marked is None else marks_on_grid(case.marked, made.place)
    row = GridRow(made.place, made.levels, made.labels is not None, case.annotated, counted, marked)
    return row, parts
