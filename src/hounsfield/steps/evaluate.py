"""Measure predictions against answers: every number with its 95 % interval, n, and by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.model import OperatingPoint
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.confusion import confusion_matrix, multiclass_report
from hounsfield.metrics.decomposition import brier_decomposition
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.patients import Patients
from hounsfield.metrics.summary import classification_metrics
from hounsfield.steps.evaluate_curves import curves_of, values_by_prevalence
from hounsfield.steps.evaluate_groups import by_group
from hounsfield.steps.evaluate_sites import forest_of_sites, site_thresholds
from hounsfield.steps.failures import worst_slices
from hounsfield.steps.one_against_rest import found_names, known_answers, rows_of
from hounsfield.steps.sample_size import precision_findings
from hounsfield.tasks.classification import predicted_classes

__all__ = ["Setting", "evaluate", "measure", "subgroup_findings"]

OF_EVERYONE = ("auroc", "accuracy")
"""What is measured over all classes in a group, where there are several."""
MOST_VALUES = 12


@dataclass(frozen=True)
class Setting:
    """What the evaluation stands in: facts of the run that the report shows beside the numbers.

    `found`, `curves` and `tables` are what other steps measured of the same predictions (robustness,
    referral, explanations); `looks` are numbers of each case (N,) by which failures are sliced. `ordinal`
    says that the classes are grades in their order.
    """

    title: str
    audit: tuple[Finding, ...] = ()
    interventions: tuple[Finding, ...] = ()
    untested: tuple[str, ...] = ()
    found: tuple[Finding, ...] = ()
    curves: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)
    looks: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    history: tuple[list[dict[str, Any]], ...] = ()
    context: dict[str, Any] = field(default_factory=dict)
    phantom: bool = False
    seed: int = 0
    ordinal: bool = False


def evaluate(
    predictions: Predictions,
    point: OperatingPoint,
    setting: Setting,
    *,
    called: NDArray[np.int64] | None = None,
) -> Evidence:
    """All metrics, subgroups, curves and tables of one set of predictions.

    `called` replaces the classes called by the operating point (cross-validation calls each case by
    a threshold chosen without it). Raises BadInput where no answer is known.
    """
    if called is None:
        called = predicted_classes(predictions.scores, predictions.encoding, point.values)
    # An external set may hold one class only: what cannot be measured then says so.
    one_class = len(np.unique(known_answers(predictions), axis=0)) < 2
    metrics = measure(predictions, called, seed=setting.seed, subgroup=one_class, ordinal=setting.ordinal)
    grouped = by_group(predictions, called, seed=setting.seed)
    subgroups = (*_of_everyone(predictions, called, setting.seed), *grouped.findings)
    failed, worst = worst_slices(predictions, called, setting.looks)
    planned, sizes = _sample_size(predictions)
    more = {
        **(grouped.tables or {}),
        **sizes,
        "worst_slices": worst,
        "per_site": forest_of_sites(predictions, called),
        "site_thresholds": site_thresholds(predictions, point, seed=setting.seed),
        "predictive_values": values_by_prevalence(predictions, called),
    }
    return Evidence(
        title=setting.title,
        audit=(*setting.audit, *planned),
        metrics=(*metrics, *grouped.overall, *_decomposed(predictions), *failed, *setting.found),
        subgroups=subgroups,
        interventions=setting.interventions,
        untested=(*setting.untested, *grouped.untested, *_untested(predictions, subgroups)),
        curves={
            **curves_of(predictions, called), **setting.curves,
            "history": [_columns(h) for h in setting.history],
        },
        tables={
            **setting.tables, **_tables(predictions, called, point, metrics),
            **{name: rows for name, rows in more.items() if rows},
        },
        context={**setting.context, "evaluated_on": predictions.kind},
        phantom=setting.phantom,
    )  # fmt: skip


def measure(
    predictions: Predictions,
    called: NDArray[np.int64],
    *,
    seed: int = 0,
    subgroup: bool = False,
    ordinal: bool = False,
) -> tuple[Finding, ...]:
    """Every metric of the task, whole and by class, clustered by patient; a `subgroup` may hold one class,
    `ordinal` classes are grades.
    """
    encoding = predictions.encoding
    scores = predictions.scores[:, 0] if encoding.kind == "binary" else predictions.scores
    estimates = classification_metrics(
        scores,
        known_answers(predictions),
        patients=list(predictions.patients),
        classes=list(encoding.classes),
        kind=encoding.kind,  # type: ignore[arg-type]
        called=called,
        subgroup=subgroup,
        ordinal=ordinal and encoding.kind == "multiclass",
        seed=seed,
        resamples=200 if subgroup else 2000,  # only mcc and ece need them, which no subgroup shows
    )
    return tuple(_finding(e) for e in estimates)


def subgroup_findings(
    predictions: Predictions, called: NDArray[np.int64], *, seed: int = 0
) -> tuple[Finding, ...]:
    """What is measured in every value of every group column that has at least two values."""
    return (*_of_everyone(predictions, called, seed), *by_group(predictions, called, seed=seed).findings)


def _of_everyone(predictions: Predictions, called: NDArray[np.int64], seed: int) -> list[Finding]:
    """Of several classes, what speaks of all of them, by group."""
    found: list[Finding] = []
    if predictions.encoding.kind == "binary":
        return found
    for column, values in predictions.groups.items():
        held = np.array(values)
        known = np.unique(held[held != ""])
        for value in known if 2 <= len(known) <= MOST_VALUES else ():
            rows = np.flatnonzero(held == value).astype(np.int64)
            measured = measure(predictions.take(rows), called[rows], seed=seed, subgroup=True)
            mine = [f for f in measured if f.name in OF_EVERYONE and not f.label]
            found += [replace(f, group=f"{column}={value}") for f in mine]
    return found


def _decomposed(predictions: Predictions) -> list[Finding]:
    """What of the Brier score is miscalibration, and what discrimination."""
    scores, answers = rows_of(predictions)
    found = []
    binary = predictions.encoding.kind == "binary"
    patients = Patients.of(list(predictions.patients), cases=len(predictions))
    for k, name in enumerate(found_names(predictions.encoding)):
        parts = brier_decomposition(scores[:, k], answers[:, k], patients=patients)
        found += [replace(_finding(e), label="" if binary else name) for e in parts[1:3]]
    return found


def _sample_size(predictions: Predictions) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    """What so many patients can show; of several classes, of the one that has fewest."""
    answers = rows_of(predictions)[1]
    k = int(np.argmin(answers.sum(axis=0)))
    patients = np.array(predictions.patients)
    positive = {str(p) for p in patients[answers[:, k] == 1]}
    negative = {str(p) for p in patients[answers[:, k] == 0]} - positive
    sizes = {
        column: [
            len({str(p) for p in patients[(np.array(values) == value) & (answers[:, k] == 1)]})
            for value in sorted(set(values) - {""})
        ]
        for column, values in predictions.groups.items()
        if 2 <= len(set(values) - {""}) <= MOST_VALUES
    }
    return precision_findings(len(positive), len(negative), sizes)


def _finding(e: Estimate) -> Finding:
    return Finding(
        e.name, label=e.group, value=e.value, low=e.low, high=e.high, n=e.n, n_patients=e.n_patients,
        method=e.method, note=e.reason,
    )  # fmt: skip


def _tables(
    predictions: Predictions,
    called: NDArray[np.int64],
    point: OperatingPoint,
    metrics: Sequence[Finding],
) -> dict[str, Any]:
    encoding = predictions.encoding
    by_class = metrics if encoding.kind != "binary" else _both_classes(predictions, called)
    tables: dict[str, Any] = {"classification_report": _report_rows(encoding, by_class)}
    if encoding.kind != "multilabel":
        counts = confusion_matrix(known_answers(predictions), called, classes=len(encoding.classes))
        tables["confusion"] = {"classes": list(encoding.classes), "counts": counts.tolist()}
    if point.values and encoding.kind != "multiclass":
        tables["operating_point"] = {
            "value": point.values[0] if encoding.kind == "binary" else list(point.values),
            "rule": point.rule,
            "chosen_on": point.chosen_on,
            "low": point.low,
            "high": point.high,
            "n": point.n,
        }
    return tables


def _both_classes(predictions: Predictions, called: NDArray[np.int64]) -> tuple[Finding, ...]:
    """Precision, recall and F1 of the negative class as well as of the positive."""
    report = multiclass_report(
        known_answers(predictions),
        called,
        classes=list(predictions.encoding.classes),
        patients=list(predictions.patients),
    )
    return tuple(_finding(e) for e in report)


def _report_rows(encoding: LabelEncoding, metrics: Sequence[Finding]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in encoding.classes:
        cells: dict[str, Any] = {
            f.name: {"value": f.value, "low": f.low, "high": f.high, "n": f.n, "note": f.note}
            for f in metrics
            if f.label == name and f.name in ("precision", "recall", "f1")
        }
        if cells:
            rows.append({"class": name, **cells, "n": cells["recall"]["n"]})
    return rows


def _columns(history: list[dict[str, Any]]) -> dict[str, list[Any]]:
    keys = ("epoch", "train_loss", "val_loss", "val_auroc")
    return {k: [h.get(k) for h in history] for k in keys}


def _untested(predictions: Predictions, subgroups: Sequence[Finding]) -> list[str]:
    said = []
    if predictions.kind != "external":
        said.append("Data of another hospital, scanner or period: no external set was evaluated.")
    if predictions.kind == "cross-validation":
        said.append(
            "A held-back test set: these are the numbers of cross-validation. Each case was scored by "
            "members that did not learn from it, with a calibration and a threshold fitted without it."
        )
    if not predictions.patients_known:
        said.append("Separation by patient: the images do not name their patients.")
    small = sorted({f.group for f in subgroups if f.name == "auroc" and f.value is None})
    if small:
        listed = ", ".join(small[:8]) + ("…" if len(small) > 8 else "")
        said.append(f"Groups too small, or with one class only, for an AUROC: {listed}.")
    absent = [g for g in ("sex", "age band", "site", "scanner") if not any(predictions.groups.get(g, ()))]
    if absent:
        said.append(f"Differences by {', '.join(absent)}: the data does not say.")
    said.append(
        "Effect on readers, on decisions and on patients; use beyond the intended use that a human states."
    )
    return said
