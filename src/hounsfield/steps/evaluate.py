"""Measure predictions against answers: every number with its 95 % interval, n, and by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.model import OperatingPoint
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.calibration import reliability_curve
from hounsfield.metrics.confusion import confusion_matrix, multiclass_report
from hounsfield.metrics.discrimination import precision_recall_curve, roc_curve
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.summary import classification_metrics
from hounsfield.tasks.classification import predicted_classes

__all__ = ["Setting", "evaluate", "measure", "subgroup_findings"]

SUBGROUP_METRICS = ("auroc", "accuracy", "sensitivity", "specificity")
MOST_VALUES = 12


@dataclass(frozen=True)
class Setting:
    """What the evaluation stands in: facts of the run that the report shows beside the numbers."""

    title: str
    audit: tuple[Finding, ...] = ()
    interventions: tuple[Finding, ...] = ()
    untested: tuple[str, ...] = ()
    tables: dict[str, Any] = field(default_factory=dict)
    history: tuple[list[dict[str, Any]], ...] = ()
    context: dict[str, Any] = field(default_factory=dict)
    phantom: bool = False
    seed: int = 0


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
    one_class = len(np.unique(_answers(predictions), axis=0)) < 2
    metrics = measure(predictions, called, seed=setting.seed, subgroup=one_class)
    subgroups = subgroup_findings(predictions, called, seed=setting.seed)
    return Evidence(
        title=setting.title,
        audit=setting.audit,
        metrics=metrics,
        subgroups=subgroups,
        interventions=setting.interventions,
        untested=(*setting.untested, *_untested(predictions, subgroups)),
        curves={**_curves(predictions), "history": [_columns(h) for h in setting.history]},
        tables={**setting.tables, **_tables(predictions, called, point, metrics)},
        context={**setting.context, "evaluated_on": predictions.kind},
        phantom=setting.phantom,
    )


def measure(
    predictions: Predictions, called: NDArray[np.int64], *, seed: int = 0, subgroup: bool = False
) -> tuple[Finding, ...]:
    """Every metric of the task, whole and by class, clustered by patient; a `subgroup` may hold one class."""
    encoding = predictions.encoding
    scores = predictions.scores[:, 0] if encoding.kind == "binary" else predictions.scores
    estimates = classification_metrics(
        scores,
        _answers(predictions),
        patients=list(predictions.patients),
        classes=list(encoding.classes),
        kind=encoding.kind,  # type: ignore[arg-type]
        called=called,
        subgroup=subgroup,
        seed=seed,
        resamples=200 if subgroup else 2000,  # only mcc and ece need them, which no subgroup shows
    )
    return tuple(_finding(e) for e in estimates)


def subgroup_findings(
    predictions: Predictions, called: NDArray[np.int64], *, seed: int = 0
) -> tuple[Finding, ...]:
    """The main metrics for every value of every group column that has at least two values."""
    found: list[Finding] = []
    for column, values in predictions.groups.items():
        held = np.array(values)
        known, counts = np.unique(held[held != ""], return_counts=True)
        if not 2 <= len(known) <= MOST_VALUES:
            continue
        for value in known[np.argsort(-counts, kind="stable")] if len(known) > 6 else known:
            rows = np.flatnonzero(held == value).astype(np.int64)
            part = predictions.take(rows)
            name = f"{column}={value}"
            found += _subgroup(part, called[rows], name, seed)
    return tuple(found)


def _subgroup(part: Predictions, called: NDArray[np.int64], name: str, seed: int) -> list[Finding]:
    measured = measure(part, called, seed=seed, subgroup=True)
    return [_with_group(f, name) for f in measured if f.name in SUBGROUP_METRICS and not f.label]


def _with_group(f: Finding, group: str) -> Finding:
    return Finding(
        f.name, group, f.label, f.value, f.low, f.high, f.n, f.n_patients, f.method, "info", f.note
    )


def _finding(e: Estimate) -> Finding:
    return Finding(
        e.name, label=e.group, value=e.value, low=e.low, high=e.high, n=e.n, n_patients=e.n_patients,
        method=e.method, note=e.reason,
    )  # fmt: skip


def _answers(predictions: Predictions) -> NDArray[np.int64]:
    from hounsfield.core.errors import BadInput

    if predictions.answers is None:
        raise BadInput("the cases have no known answers; give --labels and --target to evaluate")
    return predictions.answers


def _one_against_rest(predictions: Predictions) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    encoding, answers = predictions.encoding, _answers(predictions)
    if encoding.kind == "binary":
        return {encoding.positive_name: (predictions.scores[:, 0], answers)}
    return {
        name: (
            predictions.scores[:, c],
            answers[:, c] if answers.ndim == 2 else (answers == c).astype(np.int64),
        )
        for c, name in enumerate(encoding.classes)
    }


def _curves(predictions: Predictions) -> dict[str, Any]:
    curves: dict[str, Any] = {"roc": {}, "pr": {}, "calibration": {}, "scores": {}}
    edges = np.linspace(0, 1, 21)
    for name, (scores, truth) in _one_against_rest(predictions).items():
        curves["scores"][name] = {
            "positive": np.histogram(scores[truth == 1], edges)[0].tolist(),
            "negative": np.histogram(scores[truth == 0], edges)[0].tolist(),
            "edges": edges.tolist(),
        }
        if not 0 < truth.sum() < len(truth):
            continue
        roc, pr = roc_curve(scores, truth), precision_recall_curve(scores, truth)
        x, y = _thinned(roc.x, roc.y)
        curves["roc"][name] = {"fpr": x, "tpr": y}
        x, y = _thinned(pr.x, pr.y)
        curves["pr"][name] = {"recall": x, "precision": y, "prevalence": float(truth.mean())}
        bins = reliability_curve(
            scores, truth, bins=10, binning="quantile" if len(scores) < 1000 else "width",
            patients=list(predictions.patients),
        )  # fmt: skip
        curves["calibration"][name] = {
            "predicted": [b.mean_score for b in bins],
            "observed": [b.observed.value for b in bins],
            "low": [b.observed.low for b in bins],
            "high": [b.observed.high for b in bins],
            "n": [b.observed.n for b in bins],
        }
    return curves


def _thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], most: int = 400
) -> tuple[list[float], list[float]]:
    """Corners of a step curve, at most `most` of them, so that a report of a million cases stays small."""
    keep = np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).round().astype(int))
    return np.round(x[keep], 6).tolist(), np.round(y[keep], 6).tolist()


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
        counts = confusion_matrix(_answers(predictions), called, classes=len(encoding.classes))
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
        _answers(predictions),
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
