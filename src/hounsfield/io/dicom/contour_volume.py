"""Closed contours of a radiotherapy structure set as a mask on an image's grid (PS3.3 C.8.8.6).

A voxel belongs to a structure if its centre lies inside an odd number of the contours of its slice, so that
a contour inside another cuts a hole, as CLOSEDPLANAR_XOR says and as keyholes amount to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import compiled
from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io.dicom.elements import Elements

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["closed_contours", "contour_mask", "points_of", "series_drawn_on", "structure_names"]

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FLAT = 0.5
"""A contour lies in a slice if its points are no further apart across slices than so many of them."""

Points = NDArray[np.float64]


def structure_names(dataset: Dataset) -> dict[int, str]:
    """The name of every structure of a set that has a closed contour, by its ROI Number."""
    names = {_number(r, "ROINumber"): Elements(r).text("ROIName") for r in _items(dataset, "StructureSetROI")}
    drawn = {
        number
        for roi in _items(dataset, "ROIContour")
        if (number := _number(roi, "ReferencedROINumber")) >= 0 and closed_contours(dataset, number)
    }
    return {n: names.get(n, "") or f"ROI {n}" for n in sorted(drawn)}


def series_drawn_on(dataset: Dataset) -> list[str]:
    """The Series Instance UIDs of the images that a structure set was drawn on."""
    return [
        Elements(series).text("SeriesInstanceUID")
        for frame in _items(dataset, "ReferencedFrameOfReference")
        for study in _items(frame, "RTReferencedStudy")
        for series in _items(study, "RTReferencedSeries")
    ]


def closed_contours(dataset: Dataset, number: int) -> list[Points]:
    """The closed contours (n, 3) of a structure in LPS mm. Raises BadInput for numbers that are no points."""
    found = []
    for roi in _items(dataset, "ROIContour"):
        if _number(roi, "ReferencedROINumber") != number:
            continue
        for contour in roi.get("ContourSequence") or ():
            if str(contour.get("ContourGeometricType", "")) in _CLOSED:
                found.append(_points(contour))
    return [points for points in found if len(points) >= 3]


def contour_mask(contours: list[Points], image: Volume) -> NDArray[np.uint8]:
    """Ones (K, J, I) where the centre of a voxel of the image lies inside closed contours (n, 3) in LPS mm.

    Contours beyond the image's first and last slice are left out. Raises BadInput for a contour that does not
    lie in a slice.

    >>> image = Volume(np.zeros((1, 2, 4, 4), np.int16), np.eye(4), (), True)
    >>> square = np.array([[0.5, 0.5, 1.0], [2.5, 0.5, 1.0], [2.5, 2.5, 1.0], [0.5, 2.5, 1.0]])
    >>> contour_mask([square], image)[1].tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    mask = np.zeros(image.data.shape[1:], np.uint8)
    to_voxel = np.linalg.inv(image.affine)
    for points in contours:
        voxels = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]  # (i, j, k)
        if np.ptp(voxels[:, 2]) > _FLAT:
            raise BadInput(
                f"a contour of a structure set runs through {np.ptp(voxels[:, 2]):.1f} slices of its image; "
                "expected contours drawn in the slices; give the structure set of this series"
            )
        k = int(np.rint(voxels[:, 2].mean()))
        if 0 <= k < len(mask):
            _cross(mask[k], np.ascontiguousarray(voxels[:, :2]))
    return mask


@compiled
def _cross(plane, points):  # type: ignore[no-untyped-def]
    # Turn every voxel whose centre lies inside the polygon: along each row, between its crossings.
    count = len(points)
    crossings = np.empty(count)
    for j in range(plane.shape[0]):
        found = 0
        for n in range(count):
            x, y = points[n, 0], points[n, 1]
            other = (n + 1) % count
            u, v = points[other, 0], points[other, 1]
            if (y <= j) != (v <= j):
                crossings[found] = x + (j - y) / (v - y) * (u - x)
                found += 1
        row = np.sort(crossings[:found])
        for pair in range(0, found - 1, 2):
            first = max(0, int(np.ceil(row[pair])))
            for i in range(first, min(plane.shape[1], int(np.ceil(row[pair + 1])))):
                plane[j, i] ^= 1


def points_of(contour: Dataset) -> Points:
    """The points (n, 3) of a contour in LPS mm, (0, 3) without data. ValueError for what are no points."""
    value = contour.get("ContourData")
    numbers = np.array([] if value in (None, "") else [float(v) for v in value], np.float64)
    if numbers.size % 3 or not np.isfinite(numbers).all():
        raise ValueError("contour data that are no points")
    return numbers.reshape(-1, 3)


def _points(contour: Dataset) -> Points:
    try:
        return points_of(contour)
    except ValueError as error:
        raise BadInput(
            "contour data that are no points; expected x, y, z of each; export the structure set again"
        ) from error


def _items(dataset: Dataset, name: str) -> list[Dataset]:
    return list(dataset.get(f"{name}Sequence") or ())


def _number(item: Dataset, keyword: str) -> int:
    return Elements(item).whole(keyword, -1)
