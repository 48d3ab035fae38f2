"""What a screening programme reads in an evaluation: by view, breast and patient; recall and detection rates;
by density, age and view; and what a missing view costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.applications.mammography.breasts import Breasts, breasts_of, sides_of, views_of
from hounsfield.core.clinical import Clinical, Plot, PlotSeries
from hounsfield.core.evidence import Finding
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.discrimination import auroc, roc_curve
from hounsfield.metrics.intervals import MIN_CASES
from hounsfield.metrics.measured import combine, proportion
from hounsfield.metrics.operating import sensitivity_at, specificity_at
from hounsfield.metrics.paired import auroc_difference
from hounsfield.metrics.patients import Patients
from hounsfield.steps.clinical import Asked, as_finding

__all__ = ["PREVALENCE", "screening"]

PREVALENCE = 0.006
"""Cancers among the women of a screening round: about 6 in 1,000 (BCSC, Lehman, Radiology 2017;283:49)."""

_HELD = 0.9
_BY = ("density", "age band", "view", "site")


def screening(asked: Asked) -> Clinical:
    """The screening chapter of an evaluation of malignant or not; empty numbers say why they are."""
    table = asked.table
    assert isinstance(table, Predictions)
    if table.answers is None or table.encoding.outputs != 1:
        return Clinical("Screening", untested=("Screening numbers: they need one answer, malignant or not.",))
    sides = sides_of(asked.cases)
    lost = sides.count("")
    breasts = breasts_of(table, sides)
    patients = breasts.patients()
    findings = [
        *_ranked("view", table.scores[:, 0], table.answers, table.patients),
        *_ranked("breast", breasts.score, breasts.answer, breasts.patient),
        *_ranked("patient", patients.score, patients.answer, patients.patient),
        *_rates(asked, patients),
        *_missing(table, sides, views_of(asked.cases)),
        *_by_group(breasts, table),
    ]
    if lost:
        findings.append(
            Finding(
                "laterality_missing", value=float(lost), n=len(sides), level="warning",
                note=f"{lost} of {len(sides)} images do not say which breast they show; they are in the "
                "numbers by view only; give a laterality column in the label table",
            )
        )  # fmt: skip
    curves = [("view", table.scores[:, 0], table.answers), ("breast", breasts.score, breasts.answer)]
    return Clinical(
        "Screening mammography",
        f"A breast's score is the mean of the log-odds of its views, a patient's the higher of both breasts. "
        f"Rates per 1,000 are for {1000 * PREVALENCE:g} cancers in 1,000 women.",
        findings=tuple(findings),
        plots=(_roc(curves),) if len(breasts.score) else (),
        untested=("Detection of cancers that a reader missed: the truth is the readers' own.",),
    )


def _ranked(
    what: str, score: NDArray[np.float64], answer: NDArray[np.int64], patient: Sequence[str]
) -> list[Finding]:
    """AUROC, and each of sensitivity and specificity where the other is held, at one level."""
    if len(score) < 2 or len(np.unique(answer)) < 2:
        return [Finding("auroc", label=what, n=len(score), note=f"no {what} with and without a cancer")]
    who = np.array(patient)
    found = [
        auroc(score, answer, patients=who),
        sensitivity_at(score, answer, specificity=_HELD, patients=who),
        specificity_at(score, answer, sensitivity=_HELD, patients=who),
    ]
    names = ("auroc", "sensitivity_at_90_specificity", "specificity_at_90_sensitivity")
    return [as_finding(e, name=n, label=what) for n, e in zip(names, found, strict=True)]


def _rates(asked: Asked, patients: Breasts) -> list[Finding]:
    """Recall rate and cancers found per 1,000 women at the model's threshold on a breast's score."""
    point = asked.model.operating_point
    if not point.values:
        return []
    if len(patients.score) < MIN_CASES:
        return [Finding("recall_rate", n=len(patients.score), note="too few patients with a known side")]
    called, sick = patients.score >= point.values[0], patients.answer > 0
    owners = Patients.of(None, cases=len(called))
    sensitivity = proportion(called, sick, owners)
    false = proportion(called, ~sick, owners)
    note = f"at the threshold {point.values[0]:.3f}, for {1000 * PREVALENCE:g} cancers in 1,000"
    if sensitivity.reason or false.reason:
        return [Finding("recall_rate", n=len(called), note=sensitivity.reason or false.reason)]
    size = len(called)
    recall = combine([sensitivity, false], [PREVALENCE, 1 - PREVALENCE], n=size, n_patients=size)
    detected = combine([sensitivity], [1000 * PREVALENCE], n=size, n_patients=size)
    return [
        as_finding(recall.estimate("recall_rate"), label="patient", note=note),
        as_finding(detected.estimate("cancer_detection_rate_per_1000"), label="patient", note=note),
    ]


def _missing(table: Predictions, sides: Sequence[str], views: Sequence[str]) -> list[Finding]:
    """What is lost where a breast has only one of its views: paired with both views of the same breast."""
    found: list[Finding] = []
    both = {key for key, n in _counted(table, sides, views).items() if {"CC", "MLO"} <= n}
    rows = np.array([(p, s) in both for p, s in zip(table.patients, sides, strict=True)], bool)
    if not rows.any():
        return found
    all_of = breasts_of(table, sides, keep=rows)
    for view in ("CC", "MLO"):
        one = breasts_of(table, sides, keep=rows & np.array([v == view for v in views]))
        if len(np.unique(one.answer)) < 2 or not np.array_equal(one.answer, all_of.answer):
            continue
        gap = auroc_difference(one.score, all_of.score, all_of.answer, patients=np.array(all_of.patient))
        found.append(
            as_finding(
                gap.difference, name="auroc_change_with_view_missing", label=f"{view} alone",
                note="breasts that have both views: the score of one view less that of both",
            )
        )  # fmt: skip
    return found


def _counted(
    table: Predictions, sides: Sequence[str], views: Sequence[str]
) -> dict[tuple[str, str], set[str]]:
    made: dict[tuple[str, str], set[str]] = {}
    for patient, side, view in zip(table.patients, sides, views, strict=True):
        if side:
            made.setdefault((patient, side), set()).add(view)
    return made


def _by_group(breasts: Breasts, table: Predictions) -> list[Finding]:
    """AUROC by breast within density, age band and site; by image within views."""
    found = []
    for column in _BY:
        by_view = column == "view"
        held = table.groups.get(column, ()) if by_view else breasts.groups.get(column, ())
        score = table.scores[:, 0] if by_view else breasts.score
        answer = table.answers if by_view else breasts.answer
        who = np.array(table.patients if by_view else breasts.patient)
        assert answer is not None
        for value in sorted(set(held) - {""}):
            rows = np.flatnonzero(np.array(held) == value)
            group = f"{column}={value}"
            if len(np.unique(answer[rows])) < 2:
                note = "no cancer, or nothing else, in this group"
                found.append(Finding("auroc", group, n=len(rows), note=note))
                continue
            estimate = auroc(score[rows], answer[rows], patients=who[rows])
            found.append(as_finding(estimate, group=group, label="view" if by_view else "breast"))
    return found


def _roc(curves: Sequence[tuple[str, NDArray[np.float64], NDArray[np.int64]]]) -> Plot:
    made = []
    for name, score, answer in curves:
        if len(np.unique(answer)) == 2:
            curve = roc_curve(score, answer)
            made.append(PlotSeries(name, curve.x.tolist(), curve.y.tolist()))
    return Plot("ROC by view and by breast", "1 − specificity", "sensitivity", tuple(made))
