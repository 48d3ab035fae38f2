"""What the images of a question about places are: shapes, spacings, what their numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.io.source import Source
from hounsfield.steps.regions.orientation import AS_STORED, most_common, turn_to
from hounsfield.steps.regions.to_grid import IGNORED, Native, native_case

__all__ = ["OF_ONE_IMAGE", "RegionFacts", "region_facts"]

_MOST = 80
"""Of more development cases, so many are measured, evenly taken."""

_SAMPLE = 20_000
_CT_AIR = -900.0
_COLOURS = ("red", "green", "blue")
OF_ONE_IMAGE = ("red", "channel 1")
"""How the first of several channels is named where one image holds them all."""


@dataclass(frozen=True, slots=True, eq=False)
class RegionFacts:
    """Measured on development cases: `shapes` (n, 3) and `spacings` (n, 3) (k, j, i), empty where unknown.

    Axes are those of `orientation` (`regions/orientation.py`), to which most volumes run; it is empty for
    pictures and where no spacing is known. `turned` counts the volumes that run elsewhere.
    `channels` are their names, `kinds` what their numbers mean: "ct" (Hounsfield units), "picture" (8-bit
    colours) or "other". `fixed` (C, 4) holds low, high, mean and spread of the numbers inside what is marked.
    `marked_mm` (m, 3) are the sizes of marked objects along (k, j, i), in voxels where no spacing is known,
    and `n` counts all development cases.
    """

    n: int
    shapes: NDArray[np.int64]
    spacings: NDArray[np.float64]
    channels: tuple[str, ...]
    kinds: tuple[str, ...]
    fixed: tuple[tuple[float, float, float, float], ...]
    marked_mm: NDArray[np.float64]
    orientation: str = ""
    turned: int = 0

    @property
    def flat(self) -> bool:
        """True for pictures: one slice."""
        return bool((self.shapes[:, 0] == 1).all())


def region_facts(
    source: str,
    cases: Sequence[Case],
    structures: Sequence[str],
    channels: Sequence[str],
    *,
    ignore: int = -1,
    resample_masks: bool = False,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> RegionFacts:
    """Read development cases and measure them.

    Raises BadInput where pictures and volumes are mixed, where some say their spacing and others do not, and
    where the number of channels differs.
    """
    chosen = cases[:: -(-len(cases) // _MOST)]
    names = tuple(channels)
    done = 0
    with Source(source) as opened, ThreadPoolExecutor(max(1, threads)) as pool:

        def one(case: Case) -> _Measured:
            native = native_case(opened, case, structures, ignore=ignore, resample_masks=resample_masks)
            sizes = [m.size for m in case.marked or () if not m.excluded]
            by = np.array(native.spacing_mm or (1.0, 1.0, 1.0))
            return _Measured(
                native.data.shape,
                native.spacing_mm,
                _inside(native, case),
                _of_ct(native, case),
                np.array(sizes, float).reshape(-1, 3) * by,
                native.affine,
            )

        held = []
        for found in pool.map(one, chosen):
            held.append(found)
            done += 1
            if progress:
                progress(done, len(chosen))
    shapes, spacings = [h.shape for h in held], [h.spacing_mm for h in held]
    counts = {shape[0] for shape in shapes}
    if len(counts) > 1:
        raise BadInput(
            f"the images have {' and '.join(map(str, sorted(counts)))} channels; expected as many in each; "
            "bring grey and colour pictures separately"
        )
    many = counts.pop()
    if many != len(names):
        names = _COLOURS if many == 3 and len(names) == 1 else tuple(f"channel {n + 1}" for n in range(many))
    flat = [shape[1] == 1 for shape in shapes]
    if any(flat) and not all(flat):
        raise BadInput(
            f"{sum(flat)} of {len(flat)} images are 2D and the others volumes; expected one kind; bring them "
            "separately"
        )
    if any(spacings) and not all(spacings):
        raise BadInput(
            f"{sum(not s for s in spacings)} of {len(spacings)} images do not say their spacing; expected "
            "all or none to; bring images with a spacing"
        )
    inside = [[h.inside[c] for h in held] for c in range(many)]
    codes = "" if all(flat) or not any(spacings) else most_common(h.affine for h in held)
    turns = [turn_to(h.affine, codes) if codes else AS_STORED for h in held]
    return RegionFacts(
        len(cases),
        np.array([turn.three(shape[1:]) for turn, shape in zip(turns, shapes, strict=True)]),
        np.array([turn.three(s) if s else s for turn, s in zip(turns, spacings, strict=True)], float).reshape(
            len(held), -1
        ),
        names,
        tuple(_kind(inside[c], [h.ct[c] for h in held], all(flat)) for c in range(many)),
        tuple(_fixed(values) for values in inside),
        np.concatenate([h.marked_mm[:, turn.order] for turn, h in zip(turns, held, strict=True)]),
        codes,
        sum(turn != AS_STORED for turn in turns),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """One case: its shape (C, K, J, I), spacing; by channel a sample of what is marked and if it is CT."""

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    inside: list[NDArray[np.float32]]
    ct: list[bool]
    marked_mm: NDArray[np.float64]
    affine: NDArray[np.float64]


def _inside(native: Native, case: Case) -> list[NDArray[np.float32]]:
    """A sample of each channel's numbers inside what is marked, everywhere where nothing is."""
    if native.labels is not None:
        where = (native.labels > 0) & (native.labels != IGNORED)
        if not where.any():
            where = native.labels != IGNORED
    else:
        where = np.ones(native.shape, bool)
        if case.marked:
            where[:] = False
            for mark in case.marked:
                cut = tuple(
                    slice(max(0, int(a)), int(b) + 1) for a, b in zip(mark.low, mark.high, strict=True)
                )
                where[cut] = True
    found = []
    for channel in native.data:
        values = channel[where] if where.any() else channel.ravel()
        found.append(values[:: max(1, len(values) // _SAMPLE)].astype(np.float32))
    return found


def _of_ct(native: Native, case: Case) -> list[bool]:
    said = [s.modality for s in case.images]
    each = [said[n] if n < len(said) else "" for n in range(len(native.data))]
    return [
        m == "CT" or (not m and float(c.min()) <= _CT_AIR) for m, c in zip(each, native.data, strict=True)
    ]


def _kind(inside: Sequence[NDArray[Any]], ct: Sequence[bool], flat: bool) -> str:
    if all(ct):
        return "ct"
    eight = all(v.size and v.min() >= 0 and v.max() <= 255 and np.array_equal(v, np.rint(v)) for v in inside)
    return "picture" if flat and eight else "other"


def _fixed(inside: Sequence[NDArray[np.float32]]) -> tuple[float, float, float, float]:
    values = np.concatenate(list(inside)).astype(np.float64)
    low, high = np.percentile(values, (0.5, 99.5))
    held = np.clip(values, low, high)
    return (
        round(float(low), 4), round(float(high), 4), round(float(held.mean()), 4),
        round(float(held.std()), 4) or 1.0,
    )  # fmt: skip
