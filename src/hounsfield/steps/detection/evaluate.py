"""Measure found objects against a reader's: FROC, precision, sizes, by patient, by class and by group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Evidence, Finding
from hounsfield.metrics.froc import froc_report
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.measured import combine, proportion
from hounsfield.metrics.patients import Patients
from hounsfield.metrics.segmentation import case_mean
from hounsfield.steps.detection.matched import Matched, marks_among, marks_of_class, matched, score_for
from hounsfield.steps.detection.measures import (
    RATE,
    diameter_findings,
    finding_of,
    froc_findings,
    precision_findings,
    size_findings,
)
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.detection.tables import (
    by_class,
    detection_curves,
    false_positives,
    mark_limits,
    measuring_rules,
    missed_lesions,
    thresholds,
)
from hounsfield.steps.evaluate import Setting
from hounsfield.steps.regions.by_group import Measure, groups_measured
from hounsfield.steps.regions.enough import enough_findings
from hounsfield.steps.regions.sites import sites_measured
from hounsfield.steps.regions.slices import slices_measured
from hounsfield.steps.regions.unproved import unproved

__all__ = ["evaluate_detected"]

GROUP_RESAMPLES = 500
MOST_VALUES = 12
HISTORY = ("epoch", "train_loss", "val_loss", "val_sensitivity", "learning_rate", "seconds")


def evaluate_detected(table: Detected, setting: Setting) -> Evidence:
    """All metrics, groups, curves and tables of cases in which objects were to be found.

    A finding's label is its class, its rate of false positives, or its range of sizes; without one it speaks
    of everything. Groups, sizes and tables are read at one threshold: the score that gives one false positive
    an image over everyone. What a hit is stands in the table "measuring_rules".
    """
    found = matched(table)
    score = score_for(found.marks, images=len(table), rate=RATE)
    metrics = _measured(table, found, score, setting.seed)
    measures = _measures(table, found, score, setting.seed)
    sensitivity, cpm = measures[0], measures[2]
    grouped = groups_measured(table.groups, table.patients, measures, seed=setting.seed)
    failed, slices = slices_measured(
        sensitivity, table.groups, table.patients, setting.looks, seed=setting.seed
    )
    main = [
        f for name in ("froc_cpm", "lesion_sensitivity") for f in metrics if (f.name, f.label) == (name, "")
    ]
    planned = enough_findings(main, [sensitivity], table.groups, table.patients)
    more = {
        **(grouped.tables or {}),
        "measuring_rules": measuring_rules(table, score),
        "froc": thresholds(table, found) if len(found.lesions) else [],
        "detection_report": by_class(metrics, table.classes),
        "missed_lesions": missed_lesions(table, found, score),
        "false_positives": false_positives(table, found),
        "worst_slices": slices,
        "per_site": sites_measured(table.groups, table.patients, [sensitivity, cpm]),
        "drift_limits": mark_limits(table, score),
    }
    return Evidence(
        title=setting.title,
        audit=(*setting.audit, *planned),
        metrics=(*metrics, *failed, *setting.found),
        subgroups=(*grouped.findings, *_gaps(table, found, score)),
        interventions=setting.interventions,
        untested=(*setting.untested, *grouped.untested, *_unproved(table)),
        curves={
            **detection_curves(table, found, score, seed=setting.seed), **setting.curves,
            "history": [{key: [epoch.get(key) for epoch in h] for key in HISTORY} for h in setting.history],
        },
        tables={**setting.tables, **{name: rows for name, rows in more.items() if rows}},
        context={
            "task": "detection", "classes": list(table.classes), **setting.context,
            "unit": "mm" if table.unit == "mm" else "pixels", "evaluated_on": table.kind,
            "match": table.match, "match_iou": table.match_iou,
        },
        phantom=setting.phantom,
    )  # fmt: skip


def _measured(table: Detected, found: Matched, score: float, seed: int) -> list[Finding]:
    rows = froc_findings(table, found, seed=seed)
    several = len(table.classes) > 1
    for k, name in enumerate(table.classes if several else ()):
        marks = marks_of_class(table, found, k)
        if len(marks.lesion_score):
            told = froc_report(marks, images=len(table), patients=list(table.patients), seed=seed)
            rows.append(finding_of(told[0], name))
    rows += size_findings(table, found, score)
    everyone = np.arange(len(table), dtype=np.int64)
    rows.append(finding_of(_false_positives(table, found, score, everyone)))
    rows += precision_findings(table, seed=seed)
    return rows + diameter_findings(table, found, score, seed=seed)


def _measures(table: Detected, found: Matched, score: float, seed: int) -> tuple[Measure, Measure, Measure]:
    """What is broken down by group: lesions found and false positives at one threshold, and the CPM."""
    marks, n = found.marks, len(table)
    hits = marks.lesion_score >= score
    owners = np.array([table.patients[k] for k in marks.lesion_image], object)
    lesions = np.bincount(marks.lesion_image, minlength=n).astype(np.float64)
    hit = np.bincount(marks.lesion_image, weights=hits, minlength=n).astype(np.float64)
    called = marks.false_image[marks.false_score >= score]
    false = np.bincount(called, minlength=n).astype(np.float64)

    def share(rows: NDArray[np.int64]) -> Estimate:
        inside = np.isin(marks.lesion_image, rows)
        if not inside.any():
            return Estimate.refuse("lesion_sensitivity", "no lesion", n=0, n_patients=0)
        patients = Patients.of(owners[inside].tolist(), cases=int(inside.sum()))
        every = np.ones(int(inside.sum()), np.bool_)
        return proportion(hits[inside], every, patients).estimate("lesion_sensitivity")

    def mean(rows: NDArray[np.int64]) -> Estimate:
        return _false_positives(table, found, score, rows)

    def cpm(rows: NDArray[np.int64]) -> Estimate:
        some = marks_among(marks, rows)
        if not len(some.lesion_score):
            return Estimate.refuse("froc_cpm", "no lesion", n=0, n_patients=0)
        patients = [table.patients[r] for r in rows.tolist()]
        return froc_report(some, images=len(rows), patients=patients, resamples=GROUP_RESAMPLES, seed=seed)[0]

    return (
        Measure("lesion_sensitivity", "", hit, lesions, share),
        Measure("false_positives_per_image", "", false, np.ones(n), mean),
        Measure("froc_cpm", "", hit, lesions, cpm, compared=False),
    )


def _false_positives(table: Detected, found: Matched, score: float, rows: NDArray[np.int64]) -> Estimate:
    called = found.marks.false_image[found.marks.false_score >= score]
    counts = np.bincount(called, minlength=len(table))[rows].astype(np.float64).tolist()
    patients = [table.patients[r] for r in rows.tolist()]
    if not counts:
        return Estimate.refuse("false_positives_per_image", "no image", n=0, n_patients=0)
    return case_mean("false_positives_per_image", counts, patients=patients, least=0.0)


def _gaps(table: Detected, found: Matched, score: float) -> list[Finding]:
    """By how much the share of missed lesions in a group lies above that of the others of its column."""
    missed = found.marks.lesion_score < score
    owners = Patients.of([table.patients[k] for k in found.marks.lesion_image], cases=len(missed))
    rows = []
    for column, values in table.groups.items():
        held = np.array(values, object)[found.marks.lesion_image]
        names = sorted(set(held.tolist()) - {""})
        for name in names if 2 <= len(names) <= MOST_VALUES else ():
            inside, others = held == name, (held != name) & (held != "")
            parts = [proportion(missed, side, owners) for side in (inside, others)]
            if any(part.reason for part in parts):
                continue
            gap = combine(parts, [1.0, -1.0], n=int((inside | others).sum()), n_patients=owners.count)
            rows.append(
                Finding(
                    "under_diagnosis_gap", f"{column}={name}", value=gap.value, low=gap.low, high=gap.high,
                    n=gap.n, n_patients=gap.n_patients, method=gap.method,
                )
            )  # fmt: skip
    return rows


def _unproved(table: Detected) -> list[str]:
    said = unproved(table.kind, table.groups, patients_known=table.patients_known)
    further: list[Any] = []
    if len(np.unique(table.lesions.image)) == len(table):
        further.append("Images without a lesion: there are none, as a clinic would mostly see.")
    further.append("Lesions that no reader marked: what the model finds there counts as a false positive.")
    return [*said[:-1], *further, said[-1]]
