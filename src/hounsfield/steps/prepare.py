"""Bring every image to the plan's input once, as memory-mapped integers with their levels."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.plan import Input, Plan
from hounsfield.io.files import whole_file, write_text
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.preparations import before_normalise, prepare_one, refuse_unfit
from hounsfield.transforms.landmarks import image_landmarks, standardised
from hounsfield.transforms.normalise import apply_levels

__all__ = ["Prepared", "prepare", "prepare_one", "teaches_attention", "with_landmarks", "with_marks"]

_MOST_LEARNED = 500
"""Of more development images, so many are taken evenly to learn the landmarks of the histogram from."""

_VERSION = "2"
"""Another one where the same plan makes other pixels, so that those of an older version are not used."""


@dataclass(frozen=True)
class Prepared:
    """Images (N, C, K, J, I) in the order of `ids`, memory-mapped, and `levels` (N, 4).

    Where findings are marked for training, `marks` (M, 1, K, J, I) of 0 and 1 are the masks of some of the
    images, and `marked` (N,) says which mask is an image's, -1 for none.
    """

    ids: tuple[str, ...]
    images: NDArray[Any]
    levels: NDArray[np.float32]
    marks: NDArray[np.uint8] | None = None
    marked: NDArray[np.int64] | None = None

    def batch(self, rows: NDArray[np.int64] | Sequence[int]) -> NDArray[np.float32]:
        """Normalised images: (n, C, H, W) where there is one slice, else (n, C, K, J, I)."""
        pick = np.asarray(rows, np.int64)
        out = apply_levels(self.images[pick], self.levels[pick])
        return out[:, :, 0] if out.shape[2] == 1 else out

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each case id."""
        where = {case_id: row for row, case_id in enumerate(self.ids)}
        return np.array([where[case_id] for case_id in ids], np.int64)

    @classmethod
    def nothing(cls) -> Prepared:
        """No image: what a task has that keeps its images on a grid."""
        return cls((), np.zeros((0, 1, 1, 1, 1), np.uint8), np.zeros((0, 4), np.float32))

    @classmethod
    def open(cls, folder: Path) -> Prepared | None:
        """The prepared images in `folder` if they are whole."""
        table = folder / "prepared.json"
        if not table.is_file():
            return None
        raw = json.loads(table.read_text())
        images = np.load(folder / "prepared.npy", mmap_mode="r", allow_pickle=False)
        levels = np.load(folder / "levels.npy", allow_pickle=False)
        if not (folder / "marked.npy").is_file():
            return cls(tuple(raw["ids"]), images, levels)
        marked = np.load(folder / "marked.npy", allow_pickle=False)
        marks = np.load(folder / "marks.npy", mmap_mode="r", allow_pickle=False)
        return cls(tuple(raw["ids"]), images, levels, marks, marked)


def with_landmarks(plan: Plan, cases: Sequence[Case], store: PixelStore, *, threads: int = 2) -> Plan:
    """The plan with `input.landmarks` learned, where it asks for histogram normalisation and has none.

    Between design and `prepare`; `cases` are development cases only. Raises BadInput where no image has a
    foreground to measure.
    """
    if plan.input.normalise != "histogram" or plan.input.landmarks:
        return plan
    refuse_unfit(cases, plan.input, store)
    chosen = cases[:: -(-len(cases) // _MOST_LEARNED)]

    def measured(case: Case) -> NDArray[np.float64]:
        key = case.images[0].id
        return image_landmarks(before_normalise(store.image(key), store.rows[key].spacing_mm, plan.input))

    with ThreadPoolExecutor(max(1, threads)) as pool:
        landmarks = standardised(pool.map(measured, chosen))
    why = f"learned from the foreground of {len(chosen)} development images (Nyúl 1999)"
    return plan.model_copy(
        update={
            "input": plan.input.model_copy(update={"landmarks": landmarks}),
            "reasons": {**plan.reasons, "input.landmarks": why},
        }
    )


def prepare(
    cases: Sequence[Case],
    plan: Input,
    store: PixelStore,
    folder: Path,
    *,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Bring each case's image to the plan's input in the plan's order; used again if unchanged.

    Integers keep their depth. Raises BadInput where the images cannot give what the plan asks for.
    """
    state = hashlib.sha256(
        (_VERSION + store.state + plan.model_dump_json() + "".join(c.id for c in cases)).encode()
    ).hexdigest()
    table = folder / "prepared.json"
    (folder / "marked.npy").unlink(missing_ok=True)
    if table.is_file() and json.loads(table.read_text())["state"] == state:
        found = Prepared.open(folder)
        if found is not None:
            return found
    table.unlink(missing_ok=True)
    refuse_unfit(cases, plan, store)
    shape = (len(cases), plan.channels, *plan.size)
    kinds = {store.rows[c.images[0].id].dtype for c in cases}
    dtype = np.dtype(np.uint16) if plan.normalise == "histogram" else np.result_type(*kinds)
    levels = np.empty((len(cases), 4), np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "prepared.npy") as temporary:
        images = _mapped(temporary, dtype, shape)

        def one(row: int) -> None:
            series = cases[row].images[0]
            images[row], levels[row] = prepare_one(
                store.image(series.id), store.rows[series.id].spacing_mm, plan, bits=series.bits
            )

        with ThreadPoolExecutor(max(1, threads)) as pool:
            for done, _ in enumerate(pool.map(one, range(len(cases)), chunksize=8), 1):
                if progress and (done % 32 == 0 or done == len(cases)):
                    progress(done, len(cases))
        images.flush()
    with whole_file(folder / "levels.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, levels, allow_pickle=False)
    write_text(table, json.dumps({"state": state, "ids": [c.id for c in cases]}))
    found = Prepared.open(folder)
    assert found is not None
    return found


def teaches_attention(plan: Plan) -> bool:
    """Whether marked findings are to teach the plan's network where to look.

    >>> teaches_attention(Plan().changed({"network.name": "attention", "fit.mark_weight": 1.0}))
    True
    """
    from hounsfield.networks import ATTENDING

    return plan.network.name in ATTENDING and plan.fit.mark_weight > 0


def with_marks(
    prepared: Prepared,
    truth: Callable[[str], NDArray[np.bool_] | None],
    ids: Sequence[str],
    folder: Path,
    *,
    threads: int = 2,
) -> Prepared:
    """The prepared images with the masks of the cases in `ids` whose `truth` (J, I) is known."""

    def packed(case_id: str) -> NDArray[np.uint8] | None:
        mask = truth(case_id)
        return np.packbits(mask) if mask is not None and mask.any() else None

    with ThreadPoolExecutor(max(1, threads)) as pool:
        found = {i: bits for i, bits in zip(ids, pool.map(packed, ids), strict=True) if bits is not None}
    if not found:
        return prepared
    row = {case_id: n for n, case_id in enumerate(found)}
    size = prepared.images.shape[2:]
    with whole_file(folder / "marks.npy") as temporary:
        marks = _mapped(temporary, np.dtype(np.uint8), (len(found), 1, *size))
        for n, bits in enumerate(found.values()):
            marks[n, 0] = np.unpackbits(bits, count=math.prod(size)).reshape(size)
        marks.flush()
    marked = np.array([row.get(case_id, -1) for case_id in prepared.ids], np.int64)
    with whole_file(folder / "marked.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, marked, allow_pickle=False)
    marks = np.load(folder / "marks.npy", mmap_mode="r", allow_pickle=False)
    return replace(prepared, marks=marks, marked=marked)


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[Any]]:
    """A mapped array whose disk space is taken first: a full disk is then an error, not a dead process."""
    images = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return images
