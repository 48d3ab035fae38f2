"""One box out of many: non-maximum suppression, and weighted box fusion of several models' boxes.

Suppression keeps the best scored box and drops those that overlap it. Fusion keeps all that the models know:
boxes that overlap are averaged with their scores as weights, and a box that few models saw loses score
(Solovyev, Wang & Gabruseva, Image Vis Comput 2021;107:104117). Both work in the plane and in space; boxes of
different images or classes never meet.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hounsfield.core.compiled import compiled
from hounsfield.core.errors import BadInput
from hounsfield.metrics.detection_objects import Boxes
from hounsfield.metrics.patients import FloatArray, IntArray

__all__ = ["non_maximum_suppression", "weighted_box_fusion"]


def non_maximum_suppression(boxes: Boxes, *, threshold: float = 0.5) -> IntArray:
    """The places of the boxes that stay, by order of score, best first.

    A box goes where one of its own image and class with a higher score (or the same, and given before) stays
    and overlaps it by more than `threshold` (intersection over union).

    >>> crowd = Boxes.of([[0, 0, 4, 4], [0, 0, 4, 3], [9, 9, 10, 10]], image=[0, 0, 0], score=[0.8, 0.9, 0.1])
    >>> non_maximum_suppression(crowd).tolist()
    [1, 2]
    """
    _check_threshold(threshold)
    order = np.lexsort((-boxes.score, boxes.label, boxes.image))
    stays = _suppressed(boxes.corners[order], boxes.image[order], boxes.label[order], threshold)
    kept = order[stays]
    return np.asarray(kept[np.lexsort((kept, -boxes.score[kept]))], np.intp)


def weighted_box_fusion(
    boxes: Boxes,
    *,
    model: npt.ArrayLike,
    weights: npt.ArrayLike = (),
    threshold: float = 0.55,
    least_score: float = 0.0,
) -> Boxes:
    """The fused boxes of several models, by image, then by score; `model` (N,) says which one saw each box.

    From the highest score down a box joins the fused box of its image and class that it overlaps most, if by
    more than `threshold`, else it opens one. The corners are means with weight times score; the score is the
    sum of weight times score over the larger of all models' weights and the joined boxes' weights, which for
    equal weights is the paper's mean times min(T, N) / N for T boxes of N models. Without `weights` (one a
    model), every model from 0 to the highest named counts the same: give weights where the last models saw
    nothing.

    >>> seen = Boxes.of([[0, 0, 4, 4], [0, 0, 4, 3]], image=[0, 0], score=[0.6, 0.2])
    >>> fused = weighted_box_fusion(seen, model=[0, 1])
    >>> fused.corners.tolist(), fused.score.round(4).tolist()
    ([[0.0, 0.0, 4.0, 3.75]], [0.4])
    """
    _check_threshold(threshold)
    models, pull = _models(boxes, model, weights)
    used = np.flatnonzero((boxes.score >= least_score) & (boxes.score > 0))
    score = boxes.score[used] * pull[models[used]]
    order = np.lexsort((-score, boxes.label[used], boxes.image[used]))
    kept = used[order]
    corners, summed, weight, first = _fused(
        boxes.corners[kept],
        score[order],
        pull[models[kept]],
        boxes.image[kept],
        boxes.label[kept],
        threshold,
    )
    fused = summed / np.maximum(weight, pull.sum())
    image, label = boxes.image[kept[first]], boxes.label[kept[first]]
    best = np.lexsort((-fused, image))
    return Boxes.of(corners[best], image=image[best], score=fused[best], label=label[best])


def _models(boxes: Boxes, model: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[IntArray, FloatArray]:
    models, pull = np.asarray(model), np.asarray(weights, np.float64)
    if models.shape != (len(boxes),) or (len(boxes) and (models.dtype.kind not in "iu" or models.min() < 0)):
        raise BadInput(
            f"model has the shape {models.shape} for {len(boxes)} boxes; "
            "expected one whole number from 0 for each."
        )
    models = models.astype(np.intp)
    if not pull.size:
        pull = np.ones(1 + (int(models.max()) if len(models) else 0))
    if pull.ndim != 1 or (pull <= 0).any() or (len(models) and models.max() >= len(pull)):
        raise BadInput(f"weights are {pull.tolist()}; expected one above 0 for each of the models.")
    return models, pull


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise BadInput(f"the threshold of overlap is {threshold}; expected more than 0 and at most 1.")


@compiled
def _shared(one, two):  # type: ignore[no-untyped-def]
    axes = len(one) // 2
    shared, size, other = 1.0, 1.0, 1.0
    for axis in range(axes):
        side = min(one[axes + axis], two[axes + axis]) - max(one[axis], two[axis])
        if side <= 0:
            return 0.0
        shared *= side
        size *= one[axes + axis] - one[axis]
        other *= two[axes + axis] - two[axis]
    return shared / (size + other - shared)


@compiled
def _suppressed(corners, image, label, threshold):  # type: ignore[no-untyped-def]
    count = len(corners)
    stays = np.ones(count, np.bool_)
    for n in range(count):
        if not stays[n]:
            continue
        for m in range(n + 1, count):
            if image[m] != image[n] or label[m] != label[n]:
                break
            if stays[m] and _shared(corners[n], corners[m]) > threshold:
                stays[m] = False
    return stays


@compiled
def _fused(corners, score, weight, image, label, threshold):  # type: ignore[no-untyped-def]
    count, ends = corners.shape
    fused, drawn = np.empty((count, ends)), np.zeros((count, ends))
    summed, weights = np.zeros(count), np.zeros(count)
    first = np.empty(count, np.intp)
    made, opened = 0, 0
    for n in range(count):
        if n and (image[n] != image[n - 1] or label[n] != label[n - 1]):
            opened = made
        best, at = threshold, -1
        for k in range(opened, made):
            overlap = _shared(fused[k], corners[n])
            if overlap > best:
                best, at = overlap, k
        if at < 0:
            at = made
            first[at] = n
            made += 1
        summed[at] += score[n]
        weights[at] += weight[n]
        for end in range(ends):
            drawn[at, end] += score[n] * corners[n, end]
            fused[at, end] = drawn[at, end] / summed[at]
    return fused[:made], summed[:made], weights[:made], first[:made]
