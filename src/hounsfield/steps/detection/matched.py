"""Which marks of a model hit which lesions of a reader, class by class, and what a score costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.metrics.box_matching import match_boxes, match_by_overlap
from hounsfield.metrics.detection_matching import FALSE, HIT, Marks, match_by_centre
from hounsfield.metrics.detection_objects import Boxes, Spheres
from hounsfield.steps.detection.table import Detected

__all__ = ["Matched", "boxes_of", "centres_of", "marks_among", "marks_of_class", "matched", "score_for"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
UNKNOWN_MM = 10.0
"""The diameter that a lesion of unknown size is taken to have (LUNA16)."""


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What became of candidates and lesions.

    `lesions` (L,) are the rows of the lesions that count, `partner` (L,) the best scored candidate that hit
    each, -1 where none did; `false` (F,) are the candidates that hit nothing. `marks` holds the scores of the
    same lesions and false positives, with the rows of their cases.
    """

    marks: Marks
    lesions: Whole
    partner: Whole
    false: Whole


def matched(table: Detected) -> Matched:
    """Match candidates to lesions of their own class by the table's rule of a hit.

    The rules of LUNA16 ("centre") or COCO ("overlap") hold within each class of each case.
    """
    classes = max(len(table.classes), 1)
    counted = np.flatnonzero(~table.lesions.excluded).astype(np.int64)
    if table.match == "centre":
        candidates, lesions = (_spheres(table, k, classes) for k in range(2))
        found = match_by_centre(candidates, lesions)
        partner = _best_inside(candidates, lesions, counted)
    else:
        boxes, truth = (boxes_of(table, k) for k in range(2))
        found = match_by_overlap(boxes, truth, threshold=table.match_iou)
        partner = _overlapping(boxes, truth, table.match_iou)[counted]
        classes = 1
    marks = Marks(
        found.lesion_score, found.lesion_image // classes, found.false_score, found.false_image // classes,
        found.kind,
    )  # fmt: skip
    return Matched(marks, counted, partner, np.flatnonzero(found.kind == FALSE).astype(np.int64))


def score_for(marks: Marks, *, images: int, rate: float) -> float:
    """The lowest score at which no more than `rate` false positives an image are called; infinity for none.

    >>> hits, cases = np.array([0.9]), np.array([0])
    >>> marks = Marks(hits, cases, np.array([0.8, 0.3]), np.array([0, 1]), np.zeros(0, np.int8))
    >>> score_for(marks, images=2, rate=0.5)
    0.8
    """
    known = np.concatenate([marks.lesion_score[marks.lesion_score > -np.inf], marks.false_score])
    allowed = int(rate * images + 1e-9)
    if len(marks.false_score) > allowed:
        known = known[known > np.sort(marks.false_score)[::-1][allowed]]
    return float(known.min()) if len(known) else float("inf")


def marks_among(marks: Marks, rows: Whole) -> Marks:
    """The marks of some cases, which are numbered anew in that order.

    >>> marks = Marks(np.array([0.9]), np.array([3]), np.zeros(0), np.zeros(0, int), np.zeros(0, np.int8))
    >>> marks_among(marks, np.array([5, 3])).lesion_image.tolist()
    [1]
    """
    most = int(max([*rows.tolist(), *marks.lesion_image.tolist(), *marks.false_image.tolist()], default=0))
    place = np.full(most + 1, -1, np.intp)
    place[rows] = np.arange(len(rows))
    lesions, false = place[marks.lesion_image], place[marks.false_image]
    return Marks(
        marks.lesion_score[lesions >= 0], lesions[lesions >= 0], marks.false_score[false >= 0],
        false[false >= 0], marks.kind,
    )  # fmt: skip


def marks_of_class(table: Detected, found: Matched, label: int) -> Marks:
    """The marks of one class: its lesions, and the false positives that were called so."""
    lesions, false = table.lesion_class[found.lesions] == label, table.candidate_class[found.false] == label
    held = found.marks
    return Marks(
        held.lesion_score[lesions], held.lesion_image[lesions], held.false_score[false],
        held.false_image[false], held.kind,
    )  # fmt: skip


def centres_of(objects: Spheres | Boxes) -> Floats:
    """The centres (N, D) of spheres, or of boxes.

    >>> centres_of(Boxes.of([[0, 0, 4, 2]], image=[0])).tolist()
    [[2.0, 1.0]]
    """
    if isinstance(objects, Spheres):
        return objects.centre_mm
    axes = objects.corners.shape[1] // 2
    return np.asarray((objects.corners[:, :axes] + objects.corners[:, axes:]) / 2)


def boxes_of(table: Detected, which: int) -> Boxes:
    """The candidates (0) or lesions (1) as boxes of their class; around a sphere the box that holds it."""
    objects = (table.candidates, table.lesions)[which]
    label = (table.candidate_class, table.lesion_class)[which]
    if isinstance(objects, Boxes):
        return Boxes(objects.corners, objects.image, objects.score, objects.excluded, label.astype(np.intp))
    half = np.maximum(_diameters(table, which), 1e-6)[:, None] / 2
    corners = np.concatenate([objects.centre_mm - half, objects.centre_mm + half], axis=1)
    return Boxes(corners, objects.image, objects.score, objects.excluded, label.astype(np.intp))


def _diameters(table: Detected, which: int) -> Floats:
    size = (table.candidate_mm, table.lesion_mm)[which]
    return np.asarray(np.where(size <= 0, UNKNOWN_MM, size) if which else size, np.float64)


def _spheres(table: Detected, which: int, classes: int) -> Spheres:
    """The objects as spheres, each class of an image in an image of its own."""
    objects = (table.candidates, table.lesions)[which]
    label = (table.candidate_class, table.lesion_class)[which]
    image = (objects.image * classes + label).astype(np.intp)
    return Spheres(
        centres_of(objects), _diameters(table, which), image, objects.score, objects.excluded
    )  # fmt: skip


def _best_inside(candidates: Spheres, lesions: Spheres, counted: Whole) -> Whole:
    """The best scored candidate (L,) whose centre lies in each lesion, -1 for none."""
    order = np.argsort(candidates.image, kind="stable")
    image = candidates.image[order]
    partner = np.full(len(counted), -1, np.int64)
    for k, row in enumerate(counted):
        first, last = np.searchsorted(image, (lesions.image[row], lesions.image[row] + 1))
        near = order[first:last]
        squared = ((candidates.centre_mm[near] - lesions.centre_mm[row]) ** 2).sum(axis=1)
        inside = near[squared < (lesions.diameter_mm[row] / 2) ** 2]
        if len(inside):
            partner[k] = inside[int(np.argmax(candidates.score[inside]))]
    return partner


def _overlapping(boxes: Boxes, truth: Boxes, threshold: float) -> Whole:
    found = match_boxes(boxes, truth, thresholds=(threshold,))
    partner = np.full(len(truth), -1, np.int64)
    hits = found.status[0] == HIT
    partner[found.partner[0, hits]] = found.kept[hits]
    return partner
