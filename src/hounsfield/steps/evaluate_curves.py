"""What the figures of a report are drawn from: ranking, calibration with its band, decisions by threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.predictions import Predictions
from hounsfield.metrics.calibration import reliability_curve
from hounsfield.metrics.calibration_curve import calibration_curve
from hounsfield.metrics.discrimination import precision_recall_curve, roc_curve
from hounsfield.metrics.net_benefit import decision_curve
from hounsfield.metrics.patients import Patients
from hounsfield.metrics.predictive import predictive_values
from hounsfield.steps.one_against_rest import calls_of, found_names, rows_of

__all__ = ["curves_of", "values_by_prevalence"]

PREVALENCES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
FINE = np.geomspace(0.002, 0.6, 40)
MOST_POINTS = 400
ALWAYS = ("roc", "pr", "calibration", "scores")
WHERE_ENOUGH = ("calibration_band", "net_benefit", "predictive_values")
WITHOUT_BINS = 1000
"""Below so many cases bins hold equal numbers, above they are of equal width."""


def curves_of(predictions: Predictions, called: NDArray[np.int64]) -> dict[str, Any]:
    """Every curve of every finding that has cases with and without it; of one class only the histogram.

    The keys and lists are those that `steps.chapters` names.
    """
    curves: dict[str, dict[str, Any]] = {name: {} for name in (*ALWAYS, *WHERE_ENOUGH)}
    scores, answers = rows_of(predictions)
    said = calls_of(predictions, called)
    patients = Patients.of(list(predictions.patients), cases=len(predictions))
    for k, name in enumerate(found_names(predictions.encoding)):
        values, truth = scores[:, k], answers[:, k]
        curves["scores"][name] = _histogram(values, truth)
        if not 0 < truth.sum() < len(truth):
            continue
        roc, pr = roc_curve(values, truth), precision_recall_curve(values, truth)
        x, y = _thinned(roc.x, roc.y)
        curves["roc"][name] = {"fpr": x, "tpr": y}
        x, y = _thinned(pr.x, pr.y)
        curves["pr"][name] = {"recall": x, "precision": y, "prevalence": float(truth.mean())}
        curves["calibration"][name] = _bins(values, truth, patients)
        for kind, made in (
            ("calibration_band", _band(values, truth, patients)),
            ("net_benefit", _benefit(values, truth, patients)),
            ("predictive_values", _by_prevalence(truth, said[:, k], patients)),
        ):
            if made:
                curves[kind][name] = made
    return {kind: drawn for kind, drawn in curves.items() if drawn or kind in ALWAYS}


def values_by_prevalence(predictions: Predictions, called: NDArray[np.int64]) -> list[dict[str, Any]]:
    """A row for each finding and prevalence, with the predictive values and their intervals."""
    answers, said = rows_of(predictions)[1], calls_of(predictions, called)
    names, rows = found_names(predictions.encoding), []
    patients = Patients.of(list(predictions.patients), cases=len(predictions))
    for k, name in enumerate(names):
        if not 0 < answers[:, k].sum() < len(answers):
            continue
        for prevalence in PREVALENCES:
            ppv, npv = predictive_values(answers[:, k], said[:, k], prevalence=prevalence, patients=patients)
            if ppv.refused and npv.refused:
                continue
            start = (
                {"prevalence": prevalence} if len(names) == 1 else {"finding": name, "prevalence": prevalence}
            )
            rows.append(
                {
                    **start,
                    "precision": {**ppv.cell, "note": ppv.reason},
                    "npv": {**npv.cell, "note": npv.reason},
                }
            )
    return rows


def _histogram(values: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, Any]:
    edges = np.linspace(0, 1, 21)
    return {
        "positive": np.histogram(values[truth == 1], edges)[0].tolist(),
        "negative": np.histogram(values[truth == 0], edges)[0].tolist(),
        "edges": edges.tolist(),
    }


def _bins(values: NDArray[np.float64], truth: NDArray[np.int64], patients: Patients) -> dict[str, Any]:
    binning = "quantile" if len(values) < WITHOUT_BINS else "width"
    bins = reliability_curve(values, truth, bins=10, binning=binning, patients=patients)  # type: ignore[arg-type]
    return {
        "predicted": [b.mean_score for b in bins],
        "observed": [b.observed.value for b in bins],
        "low": [b.observed.low for b in bins],
        "high": [b.observed.high for b in bins],
        "n": [b.observed.n for b in bins],
    }


def _band(values: NDArray[np.float64], truth: NDArray[np.int64], patients: Patients) -> dict[str, Any]:
    curve = calibration_curve(values, truth, patients=patients)
    if curve.reason:
        return {}
    drawn = {
        "predicted": curve.score,
        "observed": curve.observed,
        "low": curve.band_low,
        "high": curve.band_high,
    }
    return {key: np.round(row, 5).tolist() for key, row in drawn.items()}


def _benefit(values: NDArray[np.float64], truth: NDArray[np.int64], patients: Patients) -> dict[str, Any]:
    """Up to the threshold at which acting on everybody does as much harm as half of all cases."""
    most = min(0.99, max(0.2, 2.5 * float(truth.mean())))
    curve = decision_curve(values, truth, thresholds=np.linspace(0.01, most, 60), patients=patients)
    if curve.reason:
        return {}
    drawn = {
        "threshold": curve.threshold, "model": curve.value, "all": curve.treat_all,
        "low": curve.band_low, "high": curve.band_high,
    }  # fmt: skip
    return {key: np.round(row, 5).tolist() for key, row in drawn.items()}


def _by_prevalence(truth: NDArray[np.int64], said: NDArray[np.int64], patients: Patients) -> dict[str, Any]:
    found = [predictive_values(truth, said, prevalence=float(p), patients=patients) for p in FINE]
    if any(ppv.refused or npv.refused for ppv, npv in found):
        return {}
    curve: dict[str, Any] = {"prevalence": FINE.round(5).tolist()}
    for name, k in (("ppv", 0), ("npv", 1)):
        for key, side in ((name, "value"), (f"{name}_low", "low"), (f"{name}_high", "high")):
            curve[key] = [round(float(getattr(pair[k], side)), 5) for pair in found]
    return curve


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Corners of a step curve, at most `MOST_POINTS`, so that a report of a million cases stays small."""
    keep = np.unique(np.linspace(0, len(x) - 1, min(MOST_POINTS, len(x))).round().astype(int))
    return np.round(x[keep], 6).tolist(), np.round(y[keep], 6).tolist()
