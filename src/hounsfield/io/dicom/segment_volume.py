"""A DICOM segmentation as a volume of labels where its frames lie: its own grid, empty slices included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io.dicom.elements import Elements
from hounsfield.io.dicom.segments import Place, places_of, segments_of

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["segmentation_volume"]

_MOST_SLICES = 20_000
_UNEVEN = 0.02  # of the step between slices


def segmentation_volume(dataset: FileDataset) -> tuple[Volume, dict[int, str]]:
    """The labels (1, K, J, I) by segment number, and the name of each.

    A fractional segment counts from one half on; where segments overlap the one that comes last is seen.
    One without a place in the patient is a single slice of unknown spacing. Raises BadInput for tiles, for
    frames that are not parallel and evenly spaced, and for several slices without a place.
    """
    places = places_of(dataset)
    names = {s.number: s.label for s in segments_of(dataset, places) if s.number}
    shape = (int(dataset.Rows), int(dataset.Columns))
    kind = np.dtype(np.uint8 if max(names, default=0) < 256 else np.uint16)
    if any(p.corner is not None for p in places):
        raise BadInput(
            "a segmentation in tiles of a whole slide is no volume; look at it by itself (hu show)"
        )
    positions = _positions(dataset, places)
    if positions is None:
        if len(places) > 1:
            raise BadInput(
                f"a segmentation of {len(places)} slices says nothing of their place in the patient; "
                "give one with positions, or a NIfTI mask"
            )
        labels = np.zeros((1, 1, *shape), kind)
        for place in places:
            _draw(labels[0, 0], place, names)
        return Volume(labels, np.eye(4)), names
    affine, slices = _lattice(dataset, positions)
    labels = np.zeros((1, int(slices.max()) + 1, *shape), kind)
    for place, k in zip(places, slices.tolist(), strict=True):
        _draw(labels[0, k], place, names)
    return Volume(labels, affine, (), True), names


def _draw(plane: NDArray[np.generic], place: Place, names: dict[int, str]) -> None:
    for number, mask in place.masks.items():
        if number in names:
            plane[mask >= 0.5] = number  # type: ignore[call-overload]


def _positions(dataset: FileDataset, places: Sequence[Place]) -> NDArray[np.float64] | None:
    """Where each slice begins (N, 3) in LPS mm, None where one of them does not say it."""
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    found = []
    for place in places:
        own = Elements(groups[place.frame]) if place.frame < len(groups) else None
        plane = own.group("PlanePositionSequence") if own else None
        position = plane.numbers("ImagePositionPatient", 3) if plane else None
        if not position:
            return None
        found.append(position)
    return np.array(found, np.float64) if found else None


def _lattice(
    dataset: FileDataset, positions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The affine from voxel (i, j, k) to LPS mm, and the slice k of each place."""
    turn = _shared(dataset, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = _shared(dataset, "PixelMeasuresSequence", "PixelSpacing", 2)
    if not turn or not spacing or min(spacing) <= 0:
        raise BadInput("a segmentation lacks its orientation or pixel spacing; write it again")
    rows, columns = np.array(turn[:3]), np.array(turn[3:])
    normal = np.cross(rows, columns)
    along = positions @ normal
    first = int(along.argmin())
    step = _step(dataset, along)
    places = (along - along[first]) / step
    slices = np.rint(places).astype(np.int64)
    apart = positions - positions[first]
    per_slice = normal * step
    if slices.max() > 0:  # slices of a tilted gantry move along their columns too
        last = int(slices.argmax())
        per_slice = apart[last] / slices[last]
    stray = np.linalg.norm(apart - slices[:, None] * per_slice, axis=1).max()
    if stray > max(0.1, _UNEVEN * step) or slices.max() >= _MOST_SLICES:
        raise BadInput("the frames of a segmentation are not evenly spaced; look at it by itself (hu show)")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = rows * spacing[1], columns * spacing[0], per_slice
    affine[:3, 3] = positions[first]
    return affine, slices


def _step(dataset: FileDataset, along: NDArray[np.float64]) -> float:
    """The distance between slices: as the header says, else the least one between two frames."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        told = _shared(dataset, "PixelMeasuresSequence", keyword, 1)
        if told and abs(told[0]) > 0 and (keyword == "SpacingBetweenSlices" or np.ptp(along) < 1e-3):
            return abs(float(told[0]))
    gaps = np.diff(np.sort(along))
    gaps = gaps[gaps > 1e-3]
    return float(gaps.min()) if len(gaps) else 1.0


def _shared(dataset: FileDataset, group: str, keyword: str, count: int) -> tuple[float, ...] | None:
    """Numbers that all frames share, or those of the first frame."""
    found = Elements(dataset)
    for home in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        held = found.group(home, group)
        numbers = held.numbers(keyword, count) if held else None
        if numbers:
            return tuple(float(n) for n in numbers)
    return None
