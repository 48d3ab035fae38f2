"""From what several views of an image propose to one list of objects, in the image's voxels and in mm.

A view is one pass over the whole image: a member of the ensemble, an image mirrored in some way. Within a
view the best candidate of an object stays; between views candidates are fused by weighted box fusion, so that
what few views saw loses score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.marked import Marked
from hounsfield.metrics.box_fusion import non_maximum_suppression, weighted_box_fusion
from hounsfield.metrics.detection_objects import Boxes, Spheres
from hounsfield.metrics.lesion_diameter import box_diameters_mm
from hounsfield.steps.regions.grid_store import Placed
from hounsfield.tasks.detection import Candidates

__all__ = ["Objects", "candidate_objects", "fused", "in_voxels_of_image", "lesion_objects", "together"]

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """What `Detected` holds of candidates or of lesions: places, class numbers and diameters (N,) in mm."""

    placed: Spheres | Boxes
    label: NDArray[np.int64]
    diameter_mm: NDArray[np.float64]


def together(windows: Sequence[tuple[Candidates, Triple]]) -> Candidates:
    """The candidates of windows of one view in the voxels of the whole: each with where its window begins.

    >>> one = Candidates(np.zeros((1, 3)), np.ones((1, 3)), np.ones(1), np.zeros(1, np.int64))
    >>> together([(one, (0, 0, 0)), (one, (8, 0, 4))]).centre.tolist()
    [[0.0, 0.0, 0.0], [8.0, 0.0, 4.0]]
    """
    if not windows:
        return Candidates(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.int64))
    return Candidates(
        np.concatenate([c.centre + np.array(start, np.float64) for c, start in windows]),
        np.concatenate([c.size for c, _ in windows]),
        np.concatenate([c.score for c, _ in windows]),
        np.concatenate([c.label for c, _ in windows]),
    )


def fused(
    views: Sequence[Candidates], *, overlap: float = 0.2, least_score: float = 0.0, most: int = 100
) -> Candidates:
    """One list of the candidates of all views of an image, best first; a view may hold none.

    Within a view a candidate goes where a better one of its class overlaps it by more than `overlap`
    (intersection over union). Then those of different views that overlap so are averaged, score and all: the
    score is the sum over the number of views (Solovyev 2021). Raises BadInput without a view.

    >>> one = Candidates(np.zeros((1, 3)), np.full((1, 3), 4.0), np.array([0.8]), np.zeros(1, np.int64))
    >>> found = fused([one, one, one.take(np.zeros(0, int))])
    >>> found.score.round(3).tolist(), found.size.tolist()
    ([0.533], [[4.0, 4.0, 4.0]])
    """
    if not views:
        raise BadInput("no view of the image was given; expected the candidates of at least one pass")
    kept = [v.take(non_maximum_suppression(_boxes(v), threshold=overlap)) for v in views]
    whole = together([(v, (0.0, 0.0, 0.0)) for v in kept])
    model = np.repeat(np.arange(len(kept)), [len(v) for v in kept])
    boxes = weighted_box_fusion(
        _boxes(whole), model=model, weights=np.ones(len(kept)), threshold=overlap, least_score=0.0
    )
    order = np.argsort(-boxes.score, kind="stable")
    best = order[boxes.score[order] >= least_score][:most]
    low, high = boxes.corners[best, :3], boxes.corners[best, 3:]
    return Candidates((low + high) / 2, high - low, boxes.score[best], boxes.label[best].astype(np.int64))


def in_voxels_of_image(found: Candidates, place: Placed) -> Candidates:
    """Candidates in voxels of the grid as voxels of the image that lies at `place`.

    Those whose centre lies outside the image, in what was padded, are left out.

    >>> one = Candidates(np.full((1, 3), 3.0), np.full((1, 3), 4.0), np.ones(1), np.zeros(1, np.int64))
    >>> moved = in_voxels_of_image(one, Placed((10, 9, 9), (0, 0, 0), (10, 9, 9), (5, 9, 9), (), ()))
    >>> moved.centre.tolist(), moved.size.tolist()
    ([[6.5, 3.0, 3.0]], [[8.0, 4.0, 4.0]])
    """
    centre = np.array([place.to_native(c) for c in found.centre]).reshape(-1, 3)
    size = np.array([place.size_to_native(s) for s in found.size]).reshape(-1, 3)
    inside = np.flatnonzero(((centre >= -0.5) & (centre < np.array(place.native) - 0.5)).all(axis=1))
    return Candidates(centre, size, found.score, found.label).take(inside)


def candidate_objects(
    found: Sequence[Candidates], *, spacing_mm: Sequence[Triple], shape: str, flat: bool = False
) -> Objects:
    """The candidates of cases, in voxels, as spheres or boxes in mm along (k, j, i); `image` is the row.

    `spacing_mm` (k, j, i) is one a case: ones where none is known, and mm are then pixels. A sphere has the
    geometric mean of the sizes as its diameter, over rows and columns alone where the images are `flat`; of a
    box the diameter is its longer side in the plane. Flat boxes are a slice of 1 thick.

    >>> one = Candidates(np.full((1, 3), 3.0), np.full((1, 3), 4.0), np.ones(1), np.zeros(1, np.int64))
    >>> made = candidate_objects([one], spacing_mm=[(2.0, 0.5, 0.5)], shape="sphere")
    >>> made.placed.centre_mm.tolist(), made.diameter_mm.round(3).tolist()
    ([[6.0, 1.5, 1.5]], [3.175])
    """
    _check_lengths(len(found), len(spacing_mm))
    whole = together([(c, (0.0, 0.0, 0.0)) for c in found])
    image = np.repeat(np.arange(len(found)), [len(c) for c in found])
    by = np.array(spacing_mm, np.float64).reshape(-1, 3)[image]
    centre, size = whole.centre * by, whole.size * by
    return _objects(centre, size, None, image, whole.score, whole.label, None, shape=shape, flat=flat)


def lesion_objects(
    marked: Sequence[Sequence[Marked]], *, spacing_mm: Sequence[Triple], shape: str, flat: bool = False
) -> Objects:
    """What readers marked in cases, as `candidate_objects` does; a measured diameter goes before the size.

    >>> nodule = Marked(0, (4.0, 10.0, 10.0), (3.0, 6.0, 6.0), diameter_mm=5.0)
    >>> made = lesion_objects([[nodule], []], spacing_mm=[(2.0, 1.0, 1.0)] * 2, shape="sphere")
    >>> made.placed.centre_mm.tolist(), made.diameter_mm.tolist()
    ([[8.0, 10.0, 10.0]], [5.0])
    """
    _check_lengths(len(marked), len(spacing_mm))
    every = [(m, case) for case, marks in enumerate(marked) for m in marks]
    image = np.array([case for _, case in every], np.intp)
    by = np.array(spacing_mm, np.float64).reshape(-1, 3)[image]
    centre = np.array([m.centre for m, _ in every], np.float64).reshape(-1, 3) * by
    size = np.array([m.size for m, _ in every], np.float64).reshape(-1, 3) * by
    told = np.array([np.nan if m.diameter_mm is None else m.diameter_mm for m, _ in every], np.float64)
    label = np.array([m.label for m, _ in every], np.int64)
    excluded = np.array([m.excluded for m, _ in every], np.bool_)
    return _objects(centre, size, told, image, np.ones(len(every)), label, excluded, shape=shape, flat=flat)


def _objects(
    centre: NDArray[np.float64],
    size: NDArray[np.float64],
    measured: NDArray[np.float64] | None,
    image: NDArray[np.intp],
    score: NDArray[np.float64],
    label: NDArray[np.int64],
    excluded: NDArray[np.bool_] | None,
    *,
    shape: str,
    flat: bool,
) -> Objects:
    first = 1 if flat else 0
    told = np.full(len(centre), np.nan) if measured is None else measured
    if shape == "sphere":
        mean = np.exp(np.log(size[:, first:]).mean(axis=1)) if len(size) else np.zeros(0)
        diameter = np.where(np.isnan(told), mean, told)
        spheres = Spheres.of(centre, diameter, image=image, score=score, excluded=excluded)
        return Objects(spheres, label, diameter)
    corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    boxes = Boxes.of(corners, image=image, score=score, label=label, excluded=excluded)
    longer = box_diameters_mm(boxes, spacing_mm=(1.0, 1.0, 1.0)) if len(boxes) else np.zeros(0)
    return Objects(boxes, label, np.where(np.isnan(told), longer, told))


def _boxes(found: Candidates) -> Boxes:
    corners = np.concatenate([found.centre - found.size / 2, found.centre + found.size / 2], axis=1)
    image = np.zeros(len(found), np.intp)
    return Boxes.of(corners, image=image, score=found.score, label=found.label)


def _check_lengths(cases: int, spacings: int) -> None:
    if cases != spacings:
        raise BadInput(f"{spacings} spacings were given for {cases} cases; expected one (k, j, i) for each")
