"""Average precision of boxes as COCO defines it: 101 points of recall, at one or ten thresholds of overlap.

All detections of a class are put in one order by score; precision is made to fall with recall, read at the
recalls 0, 0.01 … 1 and averaged (Lin et al., ECCV 2014). The values equal pycocotools' for boxes in the
plane; in space volumes take the place of areas. map is the mean over classes and the thresholds 0.5 … 0.95,
ap50 and ap75 those over classes at one threshold. A class without a reference box has no average precision.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hounsfield.core.compiled import compiled
from hounsfield.metrics.box_matching import BoxMatches, match_boxes
from hounsfield.metrics.detection_objects import Boxes, check_images
from hounsfield.metrics.intervals import MIN_CASES, Estimate, shortage
from hounsfield.metrics.patients import FloatArray, IntArray, Patients, draw
from hounsfield.metrics.resampled import resampled_share

__all__ = ["AREA_RANGES", "COCO_THRESHOLDS", "RECALLS", "average_precisions", "precision_report"]

COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
RECALLS = np.linspace(0.0, 1.0, 101)
AREA_RANGES = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}


def average_precisions(
    detections: Boxes,
    reference: Boxes,
    *,
    thresholds: npt.ArrayLike = COCO_THRESHOLDS,
    max_detections: int = 100,
    sizes: tuple[float, float] = (0.0, np.inf),
) -> FloatArray:
    """The bare average precision (C, T) of classes 0 … C - 1 at T thresholds of overlap.

    It is not a number for a class without a reference box that counts. `sizes` bounds the area or volume of
    what counts (`AREA_RANGES` has COCO's in square pixels).

    >>> truth = Boxes.of([[0, 0, 10, 10], [20, 20, 30, 30]], image=[0, 0])
    >>> found = Boxes.of([[0, 0, 9, 10], [50, 50, 60, 60]], image=[0, 0], score=[0.9, 0.8])
    >>> average_precisions(found, truth, thresholds=(0.5, 0.95)).round(4).tolist()
    [[0.505, 0.0]]
    """
    matches = match_boxes(
        detections, reference, thresholds=thresholds, max_detections=max_detections, sizes=sizes
    )
    blocks = 1 + max((int(one.image.max()) for one in (detections, reference) if len(one)), default=0)
    weights = np.ones((1, 1))
    return _by_class(matches, detections, reference, np.zeros(blocks, np.intp), weights)[:, 0]


def precision_report(
    detections: Boxes,
    reference: Boxes,
    *,
    images: int,
    patients: npt.ArrayLike | Patients | None = None,
    max_detections: int = 100,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Estimate]:
    """map, ap50 and ap75 over all classes, then by class where there are several, with their intervals.

    `patients` names one for each of the `images`; None makes every image its own. Fewer than `MIN_CASES`
    reference boxes, or boxes of too few patients, in a class refuse its numbers; the means are taken over the
    classes that have a box.

    >>> corners = np.tile([0, 0, 10, 10], (20, 1))
    >>> truth = Boxes.of(corners, image=range(20))
    >>> found = Boxes.of(corners[:15], image=range(15), score=np.linspace(0.5, 1, 15))
    >>> row = precision_report(found, truth, images=20)[0]
    >>> row.name, round(row.value, 4), row.n
    ('map', 0.7525, 20)
    """
    check_images(reference.image, images=images, what="reference boxes")
    check_images(detections.image, images=images, what="detections")
    clusters = Patients.of(patients, cases=images)
    draws = draw(clusters, cases=images, resamples=resamples, seed=seed)
    weights = np.concatenate([np.ones((1, draws.counts.shape[1])), draws.counts])
    matches = match_boxes(detections, reference, thresholds=COCO_THRESHOLDS, max_detections=max_detections)
    values = _by_class(matches, detections, reference, draws.block, weights)
    labels = np.unique(reference.label[matches.counted])
    rows = _rows(values, labels, matches, reference, clusters, group="")
    if len(labels) > 1:
        for label in labels:
            rows += _rows(values, np.array([label]), matches, reference, clusters, group=str(label))
    return rows


def _rows(
    values: FloatArray,
    labels: IntArray,
    matches: BoxMatches,
    reference: Boxes,
    clusters: Patients,
    *,
    group: str,
) -> list[Estimate]:
    """The three numbers of these classes from values (C, 1 + B, T) of which the first row is observed."""
    among = matches.counted & np.isin(reference.label, labels)
    n = int(np.count_nonzero(among))
    owners = len(np.unique(clusters.code[reference.image[among]]))
    reason = shortage(n=n, n_patients=owners, least=MIN_CASES, what="reference boxes")
    rows = []
    for name, columns in (("map", slice(None)), ("ap50", slice(0, 1)), ("ap75", slice(5, 6))):
        if reason:
            rows.append(Estimate.refuse(name, reason, n=n, n_patients=owners, group=group))
            continue
        inside = values[labels][:, :, columns].mean(axis=2)
        # A resample that misses a rare class takes the mean over the classes it has.
        known = np.isfinite(inside)
        means = np.where(known, inside, 0.0).sum(axis=0) / np.where(
            known.any(axis=0), known.sum(axis=0), np.nan
        )
        rows.append(resampled_share(name, float(means[0]), means[1:], n=n, owners=owners, group=group))
    return rows


def _by_class(
    matches: BoxMatches, detections: Boxes, reference: Boxes, block: IntArray, weights: FloatArray
) -> FloatArray:
    """Average precision (C, B, T) where the blocks of images count `weights` (B, M) times."""
    classes = 1 + max((int(one.label.max()) for one in (detections, reference) if len(one)), default=-1)
    values = np.full((classes, len(weights), len(matches.status)), np.nan)
    label, score = detections.label[matches.kept], detections.score[matches.kept]
    for one in np.unique(reference.label[matches.counted]):
        inside = np.flatnonzero(label == one)
        order = inside[np.argsort(-score[inside], kind="stable")]
        lesions = block[reference.image[matches.counted & (reference.label == one)]]
        values[one] = _interpolated(
            np.ascontiguousarray(matches.status[:, order]),
            block[detections.image[matches.kept[order]]],
            weights,
            weights @ np.bincount(lesions, minlength=weights.shape[1]),
            RECALLS,
        )
    return values


@compiled
def _interpolated(status, block, weights, lesions, recalls):  # type: ignore[no-untyped-def]
    """The mean (B, T) over `recalls` of the best precision at that recall or beyond."""
    values = np.full((len(weights), len(status)), np.nan)
    count = status.shape[1]
    recall, precision = np.empty(count), np.empty(count)
    tiny = 2.0**-52
    for b in range(len(weights)):
        if lesions[b] == 0:
            continue
        weight = weights[b]
        for t in range(len(status)):
            right, wrong, steps = 0.0, 0.0, 0
            for n in range(count):
                if status[t, n] == 0:
                    wrong += weight[block[n]]
                elif status[t, n] == 1 and weight[block[n]] > 0:
                    right += weight[block[n]]
                    recall[steps] = right / lesions[b]
                    precision[steps] = right / (wrong + right + tiny)
                    steps += 1
            for k in range(steps - 1, 0, -1):
                precision[k - 1] = max(precision[k - 1], precision[k])
            total, at = 0.0, 0
            for wanted in recalls:
                while at < steps and recall[at] < wanted:
                    at += 1
                if at == steps:
                    break
                total += precision[at]
            values[b, t] = total / len(recalls)
    return values
