"""Calibrate the scores and choose the threshold, on validation cases only."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration, OperatingPoint
from hounsfield.core.plan import Validation

Rule = Literal["youden", "accuracy", "f1", "half"]

__all__ = ["calibrated", "cross_fitted", "operating_point"]


def calibrated(
    logits: NDArray[np.float64], answers: NDArray[np.int64], encoding: LabelEncoding, plan: Validation
) -> Calibration:
    """Temperature (and for a binary task a bias) that fit the validation logits best.

    The targets of a binary task are drawn in by one case of each class, as Platt (1999) does, so that
    separable logits do not become certainties.
    """
    if plan.calibrate == "none" or encoding.kind == "multilabel":
        return Calibration()
    from scipy.optimize import minimize

    if encoding.kind == "binary":
        positives, negatives = int((answers == 1).sum()), int((answers == 0).sum())
        z = logits[:, 0]
        y = np.where(answers == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

        def two(p: NDArray[np.float64]) -> float:
            s = z * np.exp(p[0]) + p[1]
            return float(np.mean(np.logaddexp(0, s) - y * s))

        slope, bias = minimize(two, np.zeros(2), method="Nelder-Mead").x
        return Calibration("temperature and bias", float(np.exp(-slope)), float(bias))

    def many(p: NDArray[np.float64]) -> float:
        s = logits * np.exp(p[0])
        s = s - s.max(1, keepdims=True)
        return float(np.mean(np.log(np.exp(s).sum(1)) - s[np.arange(len(s)), answers]))

    slope = minimize(many, np.zeros(1), method="Nelder-Mead", bounds=[(-4.0, 4.0)]).x[0]
    return Calibration("temperature", float(np.exp(-slope)))


def operating_point(
    scores: NDArray[np.float64],
    answers: NDArray[np.int64],
    patients: list[str],
    encoding: LabelEncoding,
    plan: Validation,
    *,
    seed: int,
    chosen_on: str,
) -> OperatingPoint:
    """The threshold of each output by the plan's rule; several classes need none (the highest wins)."""
    n = len(answers)
    if encoding.kind == "multiclass":
        return OperatingPoint((), "highest probability", chosen_on, n)
    table = answers.reshape(n, -1)
    values: list[float] = []
    bounds: tuple[float | None, float | None] = (None, None)
    for c in range(table.shape[1]):
        value, low, high = _threshold(scores[:, c], table[:, c], patients, plan.threshold_rule, seed)
        values.append(value)
        bounds = (low, high) if c == 0 else bounds
    return OperatingPoint(tuple(values), plan.threshold_rule, chosen_on, n, *bounds)


def cross_fitted(
    logits: NDArray[np.float64],
    answers: NDArray[np.int64],
    patients: list[str],
    fold: NDArray[np.int64],
    encoding: LabelEncoding,
    plan: Validation,
    *,
    seen: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores and calls of each case by a calibration and a threshold fitted on the other folds.

    `seen` are the logits (M, outputs) that a calibration is fitted on, and the row of the case of each.
    With one fold only there are no others: it is then dealt by patient into inner folds.
    """
    from hounsfield.tasks.classification import predicted_classes, probabilities

    scores = np.zeros((len(logits), encoding.outputs))
    called = np.zeros(answers.shape, np.int64)
    if len(np.unique(fold)) == 1:
        fold = _inner_folds(patients)
    for k in np.unique(fold):
        inside = fold == k
        other = ~inside if len(np.unique(fold)) > 1 else inside
        fitted_on = other[seen[1]]
        calibration = calibrated(seen[0][fitted_on], answers[seen[1]][fitted_on], encoding, plan)
        there = probabilities(logits[other], encoding, calibration)
        who = [p for p, o in zip(patients, other, strict=True) if o]
        point = operating_point(
            there, answers[other], who, encoding, plan, seed=0, chosen_on="the other folds"
        )
        scores[inside] = probabilities(logits[inside], encoding, calibration)
        called[inside] = predicted_classes(scores[inside], encoding, point.values)
    return scores, called


def _inner_folds(patients: list[str], count: int = 5) -> NDArray[np.int64]:
    """A fold for each case, the same for all cases of a patient."""
    names, owner = np.unique(np.array(patients), return_inverse=True)
    dealt = np.random.default_rng(len(names)).permutation(len(names)) % min(count, len(names))
    return dealt[owner].astype(np.int64)


def _threshold(
    scores: NDArray[np.float64], truth: NDArray[np.int64], patients: list[str], rule: Rule, seed: int
) -> tuple[float, float | None, float | None]:
    from hounsfield.metrics.thresholds import choose_threshold

    if rule == "half" or not 0 < truth.sum() < len(truth):
        return 0.5, None, None
    chosen = choose_threshold(scores, truth, rule=rule, patients=patients, seed=seed)
    return chosen.value, chosen.low, chosen.high
