"""The numbers of found objects: FROC, average precision, sizes of lesions, errors of diameter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.metrics.detection_objects import Boxes
from hounsfield.metrics.detection_precision import average_precisions, precision_report
from hounsfield.metrics.froc import froc_report
from hounsfield.metrics.intervals import MIN_CASES, Estimate, shortage
from hounsfield.metrics.measured import proportion
from hounsfield.metrics.patients import Patients, draw
from hounsfield.metrics.resampled import resampled_share
from hounsfield.metrics.segmentation import case_mean, case_median
from hounsfield.steps.detection.matched import Matched, boxes_of
from hounsfield.steps.detection.table import Detected

__all__ = ["RATE", "diameter_findings", "froc_findings", "precision_findings", "rate_words", "size_findings"]

Floats = NDArray[np.float64]
RATE = 1.0
"""False positives an image at which one threshold is read for sizes, groups and tables."""
FRACTIONS = {0.125: "1/8", 0.25: "1/4", 0.5: "1/2"}
LIMITS = 1.96
RESAMPLES = 300
"""Of the boxes themselves, for an average precision at an overlap that COCO does not report."""
LEAST_FOR_BANDS = 15


def rate_words(rate: float) -> str:
    """A rate of false positives as the report prints it.

    >>> rate_words(0.125), rate_words(1.0)
    ('1/8 FP an image', '1 FP an image')
    """
    return f"{FRACTIONS.get(rate, f'{rate:g}')} FP an image"


def froc_findings(table: Detected, found: Matched, *, seed: int) -> list[Finding]:
    """CPM and the lesions found at each of its rates, by lesion; CPM and one rate by patient."""
    rows = froc_report(found.marks, images=len(table), patients=list(table.patients), seed=seed)
    kept = []
    for e in rows:
        rate = float(e.group.split()[0]) if e.group else 0.0
        if not e.name.endswith("_by_patient") or rate in (0.0, RATE):
            kept.append(finding_of(e, rate_words(rate) if rate else ""))
    return kept


def finding_of(e: Estimate, label: str = "", note: str = "") -> Finding:
    """An estimate as a finding of this label."""
    return Finding(
        e.name, label=label, value=e.value, low=e.low, high=e.high, n=e.n, n_patients=e.n_patients,
        method=e.method, note=e.reason or note,
    )  # fmt: skip


def size_findings(table: Detected, found: Matched, score: float) -> list[Finding]:
    """The share of lesions found at one score, of all and of thirds by size."""
    hits = found.marks.lesion_score >= score
    owners = Patients.of([table.patients[k] for k in found.marks.lesion_image], cases=len(hits))
    everyone = np.ones(len(hits), np.bool_)
    rows = [finding_of(proportion(hits, everyone, owners).estimate("lesion_sensitivity"))]
    size = table.lesion_mm[found.lesions]
    if len(hits) < LEAST_FOR_BANDS or (size <= 0).any():
        return rows
    third = np.searchsorted(np.quantile(size, [1 / 3, 2 / 3]), size, side="left")
    for k in range(3):
        inside = third == k
        if inside.any():
            label = f"{size[inside].min():.1f} to {size[inside].max():.1f} {table.unit}"
            rows.append(finding_of(proportion(hits, inside, owners).estimate("lesion_sensitivity"), label))
    return rows


def precision_findings(table: Detected, *, seed: int) -> list[Finding]:
    """Average precision at an overlap of .1 and .5, and for boxes COCO's means, of all and by class."""
    boxes, truth = boxes_of(table, 0), boxes_of(table, 1)
    around = "" if isinstance(table.candidates, Boxes) else "of the boxes around the spheres"
    told = precision_report(boxes, truth, images=len(table), patients=list(table.patients), seed=seed)
    wanted = ("map", "ap50", "ap75") if not around else ("ap50",)
    rows = [
        finding_of(e, table.classes[int(e.group)] if e.group else "", around)
        for e in told
        if e.name in wanted
    ]
    return [*_at_low_overlap(table, boxes, truth, around, seed), *rows]


def _at_low_overlap(table: Detected, boxes: Boxes, truth: Boxes, note: str, seed: int) -> list[Finding]:
    """ap10 of all and of each of several classes, from one bootstrap of patients."""
    owners = Patients.of(list(table.patients), cases=len(table))
    counted = ~truth.excluded
    present = np.unique(truth.label[counted]).tolist()
    draws = draw(owners, cases=len(table), resamples=RESAMPLES, seed=seed)
    values = np.full((1 + RESAMPLES, max(len(table.classes), 1)), np.nan)
    for b, counts in enumerate(np.concatenate([np.ones((1, draws.counts.shape[1])), draws.counts])):
        drawn = np.repeat(np.arange(len(table)), counts[draws.block].astype(np.intp))
        some = average_precisions(_of_images(boxes, drawn), _of_images(truth, drawn), thresholds=(0.1,))[:, 0]
        values[b, : len(some)] = some
    rows = []
    for name, labels in (("", present), *((table.classes[k], [k]) for k in present if len(present) > 1)):
        among = counted & np.isin(truth.label, labels)
        n, held = int(among.sum()), len(np.unique(owners.code[truth.image[among]]))
        reason = shortage(n=n, n_patients=held, least=MIN_CASES, what="lesions")
        if reason:
            rows.append(Finding("ap10", label=name, n=n, n_patients=held, note=reason))
            continue
        known = np.isfinite(values[:, labels])
        total = np.where(known, values[:, labels], 0.0).sum(axis=1)
        means = total / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
        rows.append(
            finding_of(resampled_share("ap10", float(means[0]), means[1:], n=n, owners=held), name, note)
        )
    return rows


def _of_images(boxes: Boxes, drawn: NDArray[np.intp]) -> Boxes:
    """The boxes of these images, each image in the place where it was drawn."""
    order = np.argsort(boxes.image, kind="stable")
    first = np.searchsorted(boxes.image[order], drawn, side="left")
    held = np.searchsorted(boxes.image[order], drawn, side="right") - first
    image = np.repeat(np.arange(len(drawn)), held)
    within = np.arange(len(image)) - np.repeat(np.cumsum(held) - held, held)
    rows = order[np.repeat(first, held) + within]
    return Boxes(boxes.corners[rows], image, boxes.score[rows], boxes.excluded[rows], boxes.label[rows])


def diameter_errors(
    table: Detected, found: Matched, score: float
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Of lesions that are found at a score: their places among those that count, and both diameters."""
    hit = np.flatnonzero((found.marks.lesion_score >= score) & (found.partner >= 0)).astype(np.int64)
    said, truth = table.candidate_mm[found.partner[hit]], table.lesion_mm[found.lesions[hit]]
    known = (said > 0) & (truth > 0)
    return hit[known], said[known], truth[known]


def diameter_findings(table: Detected, found: Matched, score: float, *, seed: int) -> list[Finding]:
    """How far the model's diameters of found lesions are off: mean, median, and limits of agreement."""
    hit, said, truth = diameter_errors(table, found, score)
    gap = said - truth
    patients = [table.patients[k] for k in found.marks.lesion_image[hit]]
    if not len(gap):
        return [Finding("diameter_error", note="no lesion was found that has a size")]
    note = "of found lesions"
    rows = [
        finding_of(case_mean("diameter_error", gap.tolist(), patients=patients), note=note),
        finding_of(case_median("diameter_error_median", gap.tolist(), patients=patients), note=note),
    ]
    lacking = shortage(n=len(gap), n_patients=len(set(patients)), least=MIN_CASES)
    if lacking:
        return rows
    draws = draw(patients, cases=len(gap), seed=seed)
    n, total, squares = draws.totals(np.column_stack([np.ones(len(gap)), gap, gap**2])).T
    spread = np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0) * n / np.maximum(n - 1, 1))
    for side, label in ((-1, "lower"), (1, "upper")):
        value = float(gap.mean() + side * LIMITS * gap.std(ddof=1))
        low, high = np.percentile(total / n + side * LIMITS * spread, (2.5, 97.5))
        made = replace(
            rows[0], name="diameter_limit", label=label, value=value, low=float(low), high=float(high)
        )
        rows.append(replace(made, method="bootstrap of patients, percentiles", note=note))
    return rows
