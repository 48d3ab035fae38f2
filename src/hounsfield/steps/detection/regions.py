"""Regions of structured reports in the voxels of an image: coordinates in the patient or on a slice.

The shapes are those of PS3.3 C.18.6 (SCOORD, columns and rows of one image) and C.18.9 (SCOORD3D, millimetres
in the patient).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.index import Series
from hounsfield.io.dicom.elements import Elements
from hounsfield.steps.detection.pictured import Pictured

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Region", "extent_of", "region_of"]

Points = NDArray[np.float64]

_POINTS = {
    "POINT": 1, "MULTIPOINT": 1, "POLYLINE": 2, "POLYGON": 3, "CIRCLE": 2, "ELLIPSE": 4, "ELLIPSOID": 6,
}  # fmt: skip
"""How many points a graphic type has at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """The box around a region, in voxels (k, j, i); `is_round` for points, circles, ellipses, ellipsoids."""

    low: Points
    high: Points
    is_round: bool


def region_of(item: Dataset, images: list[Series], pictured: Pictured) -> tuple[Series, Region] | None:
    """The image that a SCOORD or SCOORD3D item lies on, and its region; None where either is not known."""
    kind = str(item.get("GraphicType") or "")
    values = item.get("GraphicData")
    numbers = np.array([] if values is None else [float(v) for v in values], np.float64)
    in_patient = str(item.get("ValueType")) == "SCOORD3D"
    width = 3 if in_patient else 2
    if not numbers.size or numbers.size % width or not np.isfinite(numbers).all():
        return None
    points = numbers.reshape(-1, width)
    place = _in_patient if in_patient else _on_slice
    placed = place(item, points, images, pictured)
    if placed is None:
        return None
    series, voxels = placed
    found = extent_of(kind, voxels)
    return None if found is None else (series, found)


def extent_of(kind: str, points: Points) -> Region | None:
    """The region of a graphic type and its points (N, 3); None for too few points or an unknown type.

    An ellipse is given by the ends of both axes, an ellipsoid by those of all three, a circle by its centre
    and a point on it, within a slice.

    >>> found = extent_of("CIRCLE", np.array([[2.0, 5, 5], [2, 5, 8]]))
    >>> found.low.tolist(), found.high.tolist()
    ([2.0, 2.0, 2.0], [2.0, 8.0, 8.0])
    """
    if kind not in _POINTS or len(points) < _POINTS[kind]:
        return None
    if kind == "CIRCLE":
        way = points[1] - points[0]
        reach = np.array([0.0, *(2 * [float(np.linalg.norm(way))])])
        return Region(points[0] - reach, points[0] + reach, True)
    if kind in ("ELLIPSE", "ELLIPSOID"):
        ends = points[: _POINTS[kind]].reshape(-1, 2, 3)
        halves = (ends[:, 1] - ends[:, 0]) / 2
        middle = ends.mean(axis=(0, 1))
        reach = np.sqrt((halves**2).sum(axis=0))
        return Region(middle - reach, middle + reach, True)
    return Region(points.min(axis=0), points.max(axis=0), kind == "POINT")


def _in_patient(
    item: Dataset, points: Points, images: list[Series], pictured: Pictured
) -> tuple[Series, Points] | None:
    """Points in the patient: on the image of their frame of reference that holds their middle."""
    frame = str(item.get("ReferencedFrameOfReferenceUID") or "")
    holding = []
    for series in pictured.in_frame_of_reference(images, frame):
        voxels = pictured.grids.voxels(series, points)
        middle = voxels.mean(axis=0)
        if ((middle >= -0.5) & (middle <= np.array(series.shape) - 0.5)).all():
            holding.append((series, voxels))
    if holding:
        return holding[0]
    # outside of every image: of the only one there is, so that the fault is told
    return (images[0], pictured.grids.voxels(images[0], points)) if len(images) == 1 else None


def _on_slice(
    item: Dataset, points: Points, images: list[Series], pictured: Pictured
) -> tuple[Series, Points] | None:
    """Columns and rows on the slice that the item was selected from; the first pixel's corner is (0, 0)."""
    for child in item.get("ContentSequence") or ():
        about = Elements(child).group("ReferencedSOPSequence")
        if about is None:
            continue
        value = about.dataset.get("ReferencedFrameNumber")
        several = hasattr(value, "__len__") and not isinstance(value, str)
        frame = int((value[0] if several else value) or 0) if value not in (None, "") else 0
        at = pictured.slice_of(images, about.text("ReferencedSOPInstanceUID"), frame)
        if at is not None:
            k = np.full(len(points), float(at.k))
            return at.series, np.column_stack([k, points[:, 1] - 0.5, points[:, 0] - 0.5])
    return None
