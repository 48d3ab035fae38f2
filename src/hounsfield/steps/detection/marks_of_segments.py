"""Objects of DICOM segmentations: the voxels of each segment, placed on the image that they were drawn on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.index import Series
from hounsfield.io.dicom.elements import Elements
from hounsfield.io.dicom.segments import Place, places_of
from hounsfield.steps.detection.drawn import Drawn, spacing_of
from hounsfield.steps.detection.marks_of_masks import object_of_mask, pieces
from hounsfield.steps.detection.pictured import Pictured, plain_class

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["name_of_segment", "read_segments", "voxels_of_segments"]

Places = NDArray[np.intp]


def read_segments(dataset: Dataset, pictured: Pictured) -> tuple[list[Drawn], set[str], list[str]]:
    """Objects, ids of the images drawn on, and notes of a segmentation."""
    series, voxels = voxels_of_segments(dataset, pictured)
    if series is None:
        return [], set(), []
    names = {n: name_of_segment(dataset, n) for n in voxels}
    count = Counter(names.values())
    found = []
    for number, inside in voxels.items():
        several = count[names[number]] > 1
        for piece in [inside] if several else pieces(inside):
            found.append(_object(piece, names[number], series, pictured))
    return found, {series.id}, []


def voxels_of_segments(dataset: Dataset, pictured: Pictured) -> tuple[Series | None, dict[int, Places]]:
    """The image that a segmentation was drawn on, and the voxels (N, 3) of each segment that is not empty.

    Frames are placed by the images they refer to where these have as many pixels, else by their position in
    the patient. None where the image is not in the index, or where the frames fit several images.
    """
    uids = [str(i.get("SeriesInstanceUID") or "") for i in dataset.get("ReferencedSeriesSequence") or ()]
    images = pictured.of(uids)
    found: dict[int, list[Places]] = {}
    drawn_on: Series | None = None
    places = places_of(dataset) if images else []  # type: ignore[arg-type]
    for place in places:
        at = pictured.slice_of(images, *place.image) if place.image[0] else None
        series = at.series if at else images[0] if len(images) == 1 else None
        if series is None or (drawn_on and series.id != drawn_on.id):
            continue
        drawn_on = series
        for number, mask in place.masks.items():
            pixels = np.argwhere(mask >= 0.5)
            if not len(pixels):
                continue
            if at and mask.shape == series.shape[1:]:
                voxels = np.column_stack([np.full(len(pixels), at.k), pixels])
            else:
                voxels = _by_position(dataset, place, pixels, series, pictured)
            found.setdefault(number, []).append(voxels)
    if drawn_on is None and len(images) == 1:
        drawn_on = images[0]  # a segmentation of nothing
    return drawn_on, {n: np.unique(np.concatenate(v), axis=0) for n, v in found.items() if n}


def name_of_segment(dataset: Dataset, number: int) -> str:
    """The class of a segment: its label without the number at the end, or the meaning of its type."""
    for n, item in enumerate(dataset.get("SegmentSequence") or (), start=1):
        about = Elements(item)
        if about.whole("SegmentNumber", n) == number:
            kind = about.group("SegmentedPropertyTypeCodeSequence")
            label = plain_class(about.text("SegmentLabel"))
            return label or (kind.text("CodeMeaning") if kind else "") or "segment"
    return "segment"


def _object(inside: Places, name: str, series: Series, pictured: Pictured) -> Drawn:
    spacing = series.spacing_mm
    if not spacing and series.affine:
        k, j, i = spacing_of(pictured.grids.affine(series)).tolist()
        spacing = (k, j, i)
    return object_of_mask(inside, name, series.id, spacing_mm=spacing, flat=series.is_flat)


def _by_position(
    dataset: Dataset, place: Place, pixels: Places, series: Series, pictured: Pictured
) -> Places:
    """Pixels (N, 2) of a frame as the nearest voxels of the image, by the frame's place in the patient."""
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    whole = [Elements(groups[place.frame])] if place.frame < len(groups) else []
    whole += [Elements(d) for d in dataset.get("SharedFunctionalGroupsSequence") or ()]

    def told(group: str, keyword: str, count: int) -> NDArray[np.float64]:
        held = next((g for w in whole if (g := w.group(group))), None)
        values = held.numbers(keyword, count) if held else ()
        if not values:
            raise ValueError("a frame without a place in the patient")
        return np.array(values, np.float64)

    position = told("PlanePositionSequence", "ImagePositionPatient", 3)
    along = told("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    rows_mm, columns_mm = told("PixelMeasuresSequence", "PixelSpacing", 2)
    points = position + pixels[:, 1:] * columns_mm * along[:3] + pixels[:, :1] * rows_mm * along[3:]
    return np.rint(pictured.grids.voxels(series, points)).astype(np.intp)
