"""How large each predicted structure of a case is, and in how many pieces it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.metrics.finding_size import finding_size
from hounsfield.steps.results.cases import Outlined
from hounsfield.steps.segmentation.islands import boxes_of, components

__all__ = ["Size", "plane_diameter_mm", "sizes_of"]


@dataclass(frozen=True, slots=True)
class Size:
    """A structure of a case: voxels and components, and what they measure where the spacing is known.

    A volume has `volume_mm3`, a single image `area_mm2`. The diameter is the longest straight line from
    surface to surface, within the image where there is only one; None where nothing was outlined.
    """

    case: str
    label: int
    structure: str
    voxels: int
    components: int
    volume_mm3: float | None = None
    area_mm2: float | None = None
    longest_diameter_mm: float | None = None


def sizes_of(case: Outlined, structures: Sequence[str]) -> list[Size]:
    """The size of every structure, the labels 1, 2, …; those that were not outlined have 0 voxels."""
    boxes = boxes_of(case.labels, len(structures))
    made = []
    for label, (name, box) in enumerate(zip(structures, boxes, strict=True), start=1):
        if box is None:
            none = 0.0 if case.spacing_known else None
            flat = case.series.is_flat
            made.append(Size(case.id, label, name, 0, 0, None if flat else none, none if flat else None))
        else:
            made.append(_size(case, label, name, case.labels[box] == label))
    return made


def _size(case: Outlined, label: int, name: str, inside: NDArray[np.bool_]) -> Size:
    voxels, pieces = int(np.count_nonzero(inside)), len(components(inside)[1])
    if not case.spacing_known:
        return Size(case.id, label, name, voxels, pieces)
    if case.series.is_flat:
        _, rows, columns = case.spacing_mm
        longest = plane_diameter_mm(inside[0], spacing_mm=(rows, columns))
        return Size(
            case.id,
            label,
            name,
            voxels,
            pieces,
            area_mm2=voxels * rows * columns,
            longest_diameter_mm=longest,
        )
    size = finding_size(inside, case.affine)
    return Size(
        case.id, label, name, voxels, pieces, size.volume_mm3, longest_diameter_mm=size.longest_diameter_mm
    )


def plane_diameter_mm(inside: NDArray[Any], *, spacing_mm: tuple[float, float]) -> float:
    """The longest distance between middles of outer edges of the pixels (J, I) inside; there must be some.

    >>> plane_diameter_mm(np.ones((1, 4)), spacing_mm=(1.0, 0.5))
    2.0
    """
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import cdist

    marked = np.asarray(inside, np.bool_)
    rows, left, right = _extent(marked)
    columns, top, bottom = _extent(marked.T)
    places = [(rows, left - 0.5), (rows, right + 0.5), (top - 0.5, columns), (bottom + 0.5, columns)]
    points = np.concatenate([np.column_stack(pair) for pair in places]) * np.array(spacing_mm)
    hull = points[ConvexHull(points).vertices]
    return float(round(float(cdist(hull, hull).max()), 9))


def _extent(marked: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Of each row with a pixel inside: its number, and the first and the last pixel in it."""
    rows = np.flatnonzero(marked.any(axis=1))
    held = marked[rows]
    return rows, held.argmax(axis=1), marked.shape[1] - 1 - held[:, ::-1].argmax(axis=1)
