"""Objects of radiotherapy structure sets: the box around all contours of an ROI (PS3.3 C.8.8.5, C.8.8.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.index import Series
from hounsfield.io.dicom.contour_volume import points_of, series_drawn_on
from hounsfield.io.dicom.elements import Elements
from hounsfield.steps.detection.drawn import Drawn, box_of_points, spacing_of
from hounsfield.steps.detection.pictured import Pictured, plain_class

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["read_structures"]

Points = NDArray[np.float64]


def read_structures(dataset: Dataset, pictured: Pictured) -> tuple[list[Drawn], set[str], list[str]]:
    """Objects, ids of the images drawn on, and notes of a structure set; a class is an ROI's name.

    Contours lie in the middles of slices: the box reaches half a slice further, and is a voxel wide at least.
    The diameter is the greatest distance of two points of one contour, as within a slice. An ROI without
    contours is left out.
    """
    images = pictured.of(series_drawn_on(dataset))
    if not images:
        return [], set(), []
    named = list(dataset.get("StructureSetROISequence") or ())
    names = {_number(r, "ROINumber"): _text(r, "ROIName") for r in named}
    frames = {_number(r, "ROINumber"): _text(r, "ReferencedFrameOfReferenceUID") for r in named}
    objects: list[Drawn] = []
    empty = 0
    for roi in dataset.get("ROIContourSequence") or ():
        number = _number(roi, "ReferencedROINumber")
        contours = [points_of(c) for c in roi.get("ContourSequence") or ()]
        contours = [c for c in contours if len(c)]
        if not contours:
            empty += 1
            continue
        series = _drawn_on(pictured.in_frame_of_reference(images, frames.get(number, "")), contours, pictured)
        objects.append(_object(plain_class(names.get(number, "")) or "ROI", contours, series, pictured))
    notes = [f"{empty} structure(s) without a contour were left out"] if empty else []
    spoken = {o.series for o in objects} or {s.id for s in images}
    return objects, spoken, notes


def _drawn_on(images: list[Series], contours: list[Points], pictured: Pictured) -> Series:
    """The image that holds most of the points; the first of equals."""
    points = np.concatenate(contours)

    def held(series: Series) -> int:
        voxels = pictured.grids.voxels(series, points)
        return int(((voxels >= -0.5) & (voxels <= np.array(series.shape) - 0.5)).all(axis=1).sum())

    return images[0] if len(images) == 1 else max(images, key=held)


def _object(name: str, contours: list[Points], series: Series, pictured: Pictured) -> Drawn:
    affine = pictured.grids.affine(series)
    points = pictured.grids.voxels(series, np.concatenate(contours))
    centre, size = box_of_points(points, margin=_margin(points))
    longest = max(_longest(c) for c in contours)
    diameter = longest or float(max(np.array(size) * spacing_of(affine)))
    return Drawn(series.id, name, centre, size, diameter_mm=diameter)


def _margin(points: Points) -> Points:
    """Half a slice along the slices; elsewhere what is lacking to a voxel."""
    wide = np.maximum(0.0, (1.0 - np.ptp(points, axis=0)) / 2)
    wide[0] = 0.5
    return np.asarray(wide)


def _longest(contour: Points) -> float:
    if len(contour) < 2:
        return 0.0
    step = max(1, len(contour) // 512)
    some = contour[::step]
    return float(np.sqrt(((some[:, None] - some[None]) ** 2).sum(axis=2).max()))


def _text(item: Dataset, keyword: str) -> str:
    return Elements(item).text(keyword)


def _number(item: Dataset, keyword: str) -> int:
    return Elements(item).whole(keyword, -1)
