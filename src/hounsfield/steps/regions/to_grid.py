"""One case on the plan's grid: its channels on the grid of the first, its mask checked, cut and resampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.marked import Marked
from hounsfield.core.plan import Grid
from hounsfield.core.volume import Volume
from hounsfield.io.catalogue import read_volume
from hounsfield.io.source import Source
from hounsfield.steps.regions.grid_store import Placed
from hounsfield.steps.regions.orientation import AS_STORED, turn_to
from hounsfield.steps.regions.same_grid import (
    grid_difference,
    in_order_of,
    labels_of_mask,
    require_same_grid_as,
    voxels_coincide,
)
from hounsfield.steps.regions.segmentations import SEGMENTATION, mask_volume
from hounsfield.transforms.onto_grid import onto_grid
from hounsfield.transforms.resize import resize

__all__ = ["IGNORED", "Gridded", "Native", "gridded", "marks_on_grid", "native_case"]

IGNORED = 255
_SAVES, _LEAST_SEEN = 0.9, 0.5
_SHARED = 0.02
"""Of a structure's voxels, how many may lie in another at their common border; the later one takes them."""
_MOST_VOXELS = 1 << 29
Levels = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Native:
    """A case as it lies in its files: channels (C, K, J, I) on one grid, labels (K, J, I) or None.

    Labels are 0 (background), structures from 1, and 255 where nothing is learned or measured.
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    spacing_mm: tuple[float, ...]
    labels: NDArray[np.uint8] | None
    within: NDArray[np.bool_] | None

    @property
    def shape(self) -> tuple[int, int, int]:
        k, j, i = self.data.shape[1:]
        return k, j, i


@dataclass(frozen=True, slots=True, eq=False)
class Gridded:
    """A case on the grid: numbers (C, K, J, I) as stored, levels a channel, labels, and its place."""

    data: NDArray[Any]
    levels: tuple[Levels, ...]
    labels: NDArray[np.uint8] | None
    place: Placed


def native_case(
    source: Source, case: Case, structures: Sequence[str], *, ignore: int = -1, resample_masks: bool = False
) -> Native:
    """Read a case: further channels are brought onto the grid of the first, masks must lie on it.

    Raises BadInput, naming the case by its opaque id, where a mask lies elsewhere and `resample_masks` is
    off, where a channel sees less than half of the first, and where the spacing is not above 0.
    """
    volumes = [read_volume(source, series) for series in case.images]
    first = volumes[0]
    _require_spacing(first, case.id)
    parts = [first.data]
    for number, volume in enumerate(volumes[1:], 2):
        _require_spacing(volume, case.id)
        if apart := grid_difference(first, volume):
            _require_in_sight(first, volume, apart, number, case.id)
            parts.append(onto_grid(volume, _shape(first), first.affine, order="linear"))
        else:
            parts.append(volume.data)
    kinds = {p.dtype for p in parts}
    data = np.concatenate([p.astype(np.float32) for p in parts]) if len(kinds) > 1 else np.concatenate(parts)
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise BadInput(f"{case.id} holds values that are not finite; expected numbers; correct the image")
    within = None
    if case.within is not None:
        held = in_order_of(first, read_volume(source, case.within))
        require_same_grid_as(first, held, what=case.id)
        within = held.data[0] > 0
    labels = _labels(source, case, first, structures, ignore, resample_masks)
    if labels is not None and within is not None:
        labels[~within] = IGNORED
    return Native(data, first.affine, first.spacing_mm if first.spacing_known else (), labels, within)


def _labels(
    source: Source, case: Case, first: Volume, structures: Sequence[str], ignore: int, resample: bool
) -> NDArray[np.uint8] | None:
    if not case.masks:
        return None
    made = np.zeros(first.data.shape[1:], np.uint8)
    for name, series in case.masks:
        mask = in_order_of(first, mask_volume(source, series, first))
        part = series.reader == SEGMENTATION and voxels_coincide(first, mask)
        if (resample or part) and grid_difference(first, mask):
            data = onto_grid(mask, _shape(first), first.affine, order="nearest", outside=0)
            mask = replace(mask, data=data, affine=first.affine)
        require_same_grid_as(first, mask, what=case.id)
        held = labels_of_mask(mask, names=())
        if name:
            inside = held > 0
            _require_apart(made, inside, name, case.id)
            made[inside] = list(structures).index(name) + 1
        else:
            made = np.where(held == ignore, IGNORED, held).astype(np.uint8)
    return made


def _require_apart(made: NDArray[np.uint8], inside: NDArray[np.bool_], name: str, what: str) -> None:
    """BadInput where the mask of a structure lies on those before it: a voxel bears one label."""
    shared, whole = int((made[inside] > 0).sum()), int(inside.sum())
    if shared > _SHARED * whole:
        raise BadInput(
            f'{what}: the mask of "{name}" shares {shared} of its voxels with other structures; expected '
            "structures that exclude each other; name regions of labels in a dataset.json, or choose some "
            "with --classes"
        )


def gridded(native: Native, plan: Grid) -> Gridded:
    """The case turned, cut to what is not empty, resampled to the plan's spacing, and its channels' levels.

    Raises BadInput where it has other channels than the plan, or cannot be brought to the plan's spacing.
    """
    if len(native.data) != len(plan.channels):
        raise BadInput(
            f"an image has {len(native.data)} channel(s) where the plan has {len(plan.channels)} "
            f"({', '.join(plan.channels)}); give images of that kind, or another plan"
        )
    turn = turn_to(native.affine, plan.orientation) if plan.orientation and native.spacing_mm else AS_STORED
    whole = turn.of(native.data)
    low, high = _box(whole)
    cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    data = whole[(slice(None), *cut)]
    spacing = turn.three(native.spacing_mm) if native.spacing_mm else ()
    shape = _grid_shape(data.shape[1:], spacing, plan)
    labels = None if native.labels is None else turn.of(native.labels)[cut]
    within = None if native.within is None else turn.of(native.within)[cut]
    levels = tuple(
        _levels(channel, within, plan, n) for n, channel in enumerate(data)
    )  # measured before resampling, which smooths
    place = Placed(
        native.shape, low, high, shape, native.spacing_mm, tuple(native.affine.ravel().tolist()),
        turn.order, turn.backwards,
    )  # fmt: skip
    if shape != data.shape[1:]:
        data = resize(data, shape, interpolation="linear")
        labels = None if labels is None else _resized_labels(labels, shape)
    return Gridded(np.ascontiguousarray(data), levels, labels, place)


def marks_on_grid(marked: Sequence[Marked], place: Placed) -> tuple[Marked, ...]:
    """Marks in native voxels as marks on the grid."""

    def moved(mark: Marked) -> Marked:
        size = place.size_from_native(mark.size)
        return replace(mark, centre=place.from_native(mark.centre), size=size)

    return tuple(moved(m) for m in marked)


def _shape(volume: Volume) -> tuple[int, int, int]:
    k, j, i = volume.data.shape[1:]
    return k, j, i


def _require_spacing(volume: Volume, what: str) -> None:
    if volume.spacing_known and not all(s > 0 and math.isfinite(s) for s in volume.spacing_mm):
        raise BadInput(
            f"{what} has a spacing of {'×'.join(f'{s:g}' for s in volume.spacing_mm)} mm; expected lengths "
            "above 0; correct the header"
        )


def _require_in_sight(first: Volume, other: Volume, apart: str, number: int, what: str) -> None:
    """BadInput where another channel shows less than half of what the first shows, or nobody can tell."""
    if not (first.spacing_known and other.spacing_known):
        raise BadInput(
            f"{what}: another channel lies on another grid than the first: {apart}; expected the same size "
            "where images do not say their spacing; leave it out with --channels, or resample it first"
        )
    size = np.array(first.data.shape[:0:-1], float)
    corners = np.stack(np.meshgrid(*[np.linspace(0, n - 1, 9) for n in size], indexing="ij"), -1).reshape(
        -1, 3
    )
    places = corners @ first.affine[:3, :3].T + first.affine[:3, 3]
    inverse = np.linalg.inv(other.affine)
    voxels = places @ inverse[:3, :3].T + inverse[:3, 3]
    there = np.array(other.data.shape[:0:-1], float)
    seen = ((voxels >= -0.5) & (voxels <= there - 0.5)).all(1).mean()
    if seen < _LEAST_SEEN:
        raise BadInput(
            f"{what}: channel {number} shows {seen:.0%} of what channel 1 shows; expected images of "
            "the same place; leave that channel out with --channels, or register them first"
        )


def _box(data: NDArray[Any]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The box of voxels above the least value of their channel, or all where that saves little."""
    full = data.shape[1:]
    if full[0] == 1:
        return (0, 0, 0), (1, full[1], full[2])
    marked = np.zeros(full, bool)
    for channel in data:
        marked |= channel > channel.min()
    low, high = [], []
    for axis in range(3):
        along = np.flatnonzero(marked.any(tuple(a for a in range(3) if a != axis)))
        low.append(int(along[0]) if len(along) else 0)
        high.append(int(along[-1]) + 1 if len(along) else full[axis])
    if math.prod(b - a for a, b in zip(low, high, strict=True)) > _SAVES * math.prod(full):
        return (0, 0, 0), (full[0], full[1], full[2])
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _grid_shape(shape: Sequence[int], spacing_mm: Sequence[float], plan: Grid) -> tuple[int, int, int]:
    k, j, i = shape
    if not plan.spacing_mm:
        return k, j, i
    if len(spacing_mm) != 3:
        raise BadInput(
            "grid.spacing_mm asks for a spacing, but an image does not say its own; leave it empty, or bring "
            "images with a spacing"
        )
    made = [
        max(1, round(n * have / want))
        for n, have, want in zip(shape, spacing_mm, plan.spacing_mm, strict=True)
    ]
    if math.prod(made) > _MOST_VOXELS:
        raise BadInput(
            f"grid.spacing_mm makes an image of {'×'.join(map(str, made))} voxels; expected at most "
            f"{_MOST_VOXELS:,}; ask for a coarser spacing"
        )
    return (1 if k == 1 else made[0]), made[1], made[2]


def _levels(channel: NDArray[Any], within: NDArray[np.bool_] | None, plan: Grid, number: int) -> Levels:
    """Scale, offset and bounds of a channel (K, J, I), as the plan says."""
    kind = plan.normalise[min(number, len(plan.normalise) - 1)]
    if kind == "fixed":
        low, high, mean, spread = plan.fixed[number]
        return 1 / spread, -mean / spread, (low - mean) / spread, (high - mean) / spread
    if kind == "unit" and channel.dtype.kind == "u" and channel.dtype.itemsize <= 2:
        return 1.0 / float(np.iinfo(channel.dtype).max), 0.0, 0.0, 1.0
    values = channel[within] if within is not None and within.any() else channel.ravel()
    if within is None and (least := values.min()) < values.max():
        above = values > least
        values = values[above] if above.mean() < 0.95 else values
    thin = values[:: max(1, len(values) // 2_000_000)]
    low, high = (float(v) for v in np.percentile(thin, (0.5, 99.5)))
    if kind in ("percentile", "unit"):
        spread = (high - low) or 1.0
        return 1 / spread, -low / spread, 0.0, 1.0
    held = np.clip(thin.astype(np.float64), low, high)
    mean, spread = float(held.mean()), float(held.std()) or 1.0
    return 1 / spread, -mean / spread, (low - mean) / spread, (high - mean) / spread


def _resized_labels(labels: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Labels on another grid: each resampled as a share, and the largest taken."""
    best = np.full(shape, -1.0, np.float32)
    made = np.zeros(shape, np.uint8)
    for label in np.unique(labels):
        share = resize((labels == label).astype(np.float32)[None], shape, interpolation="linear")[0]
        over = share > best
        made[over], best[over] = label, share[over]
    return made
