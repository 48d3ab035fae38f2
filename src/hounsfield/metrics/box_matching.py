"""Which boxes are right: intersection over union, and COCO's matching, greedy by score and one to one.

In each image and class the boxes go from the highest score down; each takes the free reference box of
greatest overlap at or above the threshold. A reference that is excluded, or whose size lies outside the
`sizes` asked for, is taken only where no other fits; who takes it is ignored. An excluded region may be taken
many times, and what counts there is the share of the box that lies in it (COCO's crowds; Lin et al.,
ECCV 2014). In space, volumes take the place of areas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.compiled import compiled
from hounsfield.core.errors import BadInput
from hounsfield.metrics.detection_matching import FALSE, HIT, IGNORED, Marks
from hounsfield.metrics.detection_objects import Boxes, check_one_space
from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray

__all__ = ["BoxMatches", "box_iou", "match_boxes", "match_by_overlap"]


@dataclass(frozen=True, slots=True, eq=False)
class BoxMatches:
    """How M kept detections fared at T thresholds.

    `kept` (M,) are their places in what was given: by class, then image, then from the highest score down.
    `status` (T, M) is FALSE, HIT or IGNORED and `partner` (T, M) the reference box taken, or -1. `counted`
    (L,) are the reference boxes that count as lesions.
    """

    kept: IntArray
    status: npt.NDArray[np.int8]
    partner: npt.NDArray[np.int32]
    counted: BoolArray


def box_iou(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Intersection over union (N, M) of half-open boxes (N, 2 D) and (M, 2 D), in the plane or in space.

    >>> box_iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [5, 5, 6, 6]]).round(4).tolist()
    [[0.3333, 0.0]]
    """
    one = Boxes.of(first, image=np.zeros(len(np.asarray(first)), np.intp))
    two = Boxes.of(second, image=np.zeros(len(np.asarray(second)), np.intp))
    check_one_space(one.corners, two.corners)
    if not len(one) or not len(two):
        return np.zeros((len(one), len(two)))
    return np.asarray(_overlaps(one.corners, two.corners, np.zeros(len(two), np.bool_)))


def match_boxes(
    detections: Boxes,
    reference: Boxes,
    *,
    thresholds: npt.ArrayLike = (0.5,),
    max_detections: int = 100,
    sizes: tuple[float, float] = (0.0, np.inf),
) -> BoxMatches:
    """Match detections to reference boxes of the same image and class, as COCO does.

    Of each image and class the `max_detections` best scored are looked at; equal scores keep their order.
    `sizes` bounds the area or volume of what counts, both ends included.

    >>> truth = Boxes.of([[0, 0, 10, 10]], image=[0])
    >>> found = Boxes.of([[0, 0, 9, 10], [0, 0, 10, 10]], image=[0, 0], score=[0.9, 0.8])
    >>> matches = match_boxes(found, truth, thresholds=(0.5, 0.95))
    >>> matches.kept.tolist(), matches.status.tolist()
    ([0, 1], [[1, 0], [0, 1]])
    """
    check_one_space(detections.corners, reference.corners)
    wanted = np.atleast_1d(np.asarray(thresholds, np.float64))
    if (wanted <= 0).any() or (wanted > 1).any() or max_detections < 1:
        raise BadInput(
            f"thresholds are {wanted.tolist()} and max_detections {max_detections}; "
            "expected overlaps above 0 and up to 1, and at least 1 detection."
        )
    ignored = reference.excluded | _outside(reference, sizes)
    keys, targets, groups = _groups(detections, reference)
    kept = _kept(np.argsort(-detections.score, kind="stable"), keys, groups, max_detections)
    truth = np.lexsort((ignored, targets))
    start = np.searchsorted(targets[truth], np.arange(groups + 1))
    status, partner = _greedy(
        detections.corners,
        kept,
        keys,
        start,
        truth,
        reference.corners,
        ignored,
        reference.excluded,
        _outside(detections, sizes),
        wanted,
    )
    return BoxMatches(kept, status, partner, ~ignored)


def match_by_overlap(
    candidates: Boxes, lesions: Boxes, *, threshold: float = 0.1, max_detections: int = 100
) -> Marks:
    """The same as marks for a free-response curve: a lesion is hit by a box that overlaps it enough.

    The threshold is low by default, as 3D detection of small lesions takes it (nnDetection: 0.1).

    >>> truth = Boxes.of([[0, 0, 10, 10], [20, 20, 30, 30]], image=[0, 0])
    >>> found = Boxes.of([[0, 0, 9, 10], [50, 50, 60, 60]], image=[0, 0], score=[0.9, 0.8])
    >>> marks = match_by_overlap(found, truth)
    >>> marks.lesion_score.tolist(), marks.false_score.tolist()
    ([0.9, -inf], [0.8])
    """
    found = match_boxes(candidates, lesions, thresholds=(threshold,), max_detections=max_detections)
    kind = np.full(len(candidates), IGNORED, np.int8)
    kind[found.kept] = found.status[0]
    hits = found.status[0] == HIT
    scores = np.full(len(lesions), -np.inf)
    scores[found.partner[0, hits]] = candidates.score[found.kept[hits]]
    false = kind == FALSE
    counted = found.counted
    return Marks(
        scores[counted], lesions.image[counted], candidates.score[false], candidates.image[false], kind
    )


def _outside(boxes: Boxes, sizes: tuple[float, float]) -> BoolArray:
    if sizes == (0.0, np.inf):
        return np.zeros(len(boxes), np.bool_)
    return (boxes.sizes < sizes[0]) | (boxes.sizes > sizes[1])


def _groups(detections: Boxes, reference: Boxes) -> tuple[IntArray, IntArray, int]:
    """A number for each class and image, in that order: of detections, of reference boxes, and how many."""
    images = 1 + max((int(one.image.max()) for one in (detections, reference) if len(one)), default=0)
    keys, targets = (one.label * images + one.image for one in (detections, reference))
    groups = 1 + max((int(one.max()) for one in (keys, targets) if len(one)), default=-1)
    if groups > 4 * (len(keys) + len(targets)) + 1_000_000:  # classes with far numbers
        distinct, both = np.unique(np.concatenate([keys, targets]), return_inverse=True)
        keys, targets, groups = both[: len(keys)], both[len(keys) :], len(distinct)
    return keys.astype(np.intp, copy=False), targets.astype(np.intp, copy=False), groups


@compiled
def _kept(ranked, keys, groups, most):  # type: ignore[no-untyped-def]
    """The `most` first of each group, group after group, of objects ranked over all groups."""
    start = np.zeros(groups + 1, np.intp)
    for key in keys:
        start[key + 1] += 1
    for group in range(groups):
        start[group + 1] = start[group] + min(start[group + 1], most)
    kept = np.empty(start[groups], np.intp)
    place = start.copy()
    for n in ranked:
        key = keys[n]
        if place[key] < start[key + 1]:
            kept[place[key]] = n
            place[key] += 1
    return kept


@compiled
def _overlap(one, n, two, m, excluded):  # type: ignore[no-untyped-def]
    axes = one.shape[1] // 2
    shared, size, other = 1.0, 1.0, 1.0
    for axis in range(axes):
        side = min(one[n, axes + axis], two[m, axes + axis]) - max(one[n, axis], two[m, axis])
        if side <= 0:
            return 0.0
        shared *= side
        size *= one[n, axes + axis] - one[n, axis]
        other *= two[m, axes + axis] - two[m, axis]
    return shared / size if excluded else shared / (size + other - shared)


@compiled
def _overlaps(first, second, excluded):  # type: ignore[no-untyped-def]
    found = np.zeros((len(first), len(second)))
    for n in range(len(first)):
        for m in range(len(second)):
            found[n, m] = _overlap(first, n, second, m, excluded[m])
    return found


@compiled
def _greedy(  # type: ignore[no-untyped-def]
    boxes, kept, keys, start, order, truth, ignored, excluded, outside, thresholds
):
    """Boxes in the order `kept`; the reference boxes of group g are order[start[g] : start[g + 1]]."""
    steps, least = len(thresholds), min(thresholds.min(), 1 - 1e-10)
    status = np.zeros((steps, len(kept)), np.int8)
    partner = np.full((steps, len(kept)), -1, np.int32)
    taken = np.zeros((len(truth), steps), np.bool_)
    overlaps = np.empty(len(truth))
    for at in range(len(kept)):
        n = kept[at]
        first, last = start[keys[n]], start[keys[n] + 1]
        largest = 0.0
        for k in range(first, last):
            overlaps[k] = _overlap(boxes, n, truth, order[k], excluded[order[k]])
            largest = max(largest, overlaps[k])
        if largest < least and not outside[n]:
            continue
        for t in range(steps):
            best, found = min(thresholds[t], 1 - 1e-10), -1
            for k in range(first, last):
                other = order[k]
                if taken[other, t] and not excluded[other]:
                    continue
                if found > -1 and not ignored[found] and ignored[other]:
                    break
                if overlaps[k] < best:
                    continue
                best, found = overlaps[k], other
            partner[t, at] = found
            if found > -1:
                taken[found, t] = True
                status[t, at] = 2 if ignored[found] else 1
            elif outside[n]:
                status[t, at] = 2
    return status, partner
