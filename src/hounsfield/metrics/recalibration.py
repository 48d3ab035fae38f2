"""Mending calibration: the slope and intercept that scores need, and temperature scaling.

Each fit is Newton's method on a convex loss. Its bootstrap takes one Newton step from the fit in
every resample, which is a matrix product instead of a thousand fits (the one-step bootstrap: Shao
& Tu, The Jackknife and Bootstrap, 1995, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.inputs import (
    check_answers,
    check_binary_answers,
    check_probabilities,
    check_same_length,
    check_scores,
)
from hounsfield.metrics.intervals import MIN_CASES, Estimate, shortage
from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray, Patients, Resampling, draw

__all__ = ["Temperature", "calibration_slope_intercept", "fit_temperature", "softened"]

_CLIP = 1e-6
_COLDEST, _HOTTEST = 0.05, 20.0
_STEPS = 100


@dataclass(frozen=True, slots=True)
class Temperature:
    """The number T that logits are divided by, with its 95 % interval.

    `low` and `high` are None, with a `reason`, when the data cannot bound T.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    n_patients: int
    method: str = "one-step cluster bootstrap"
    reason: str = ""


def calibration_slope_intercept(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    patients: npt.ArrayLike | Patients | None = None,
    resampling: Resampling | None = None,
) -> tuple[Estimate, Estimate]:
    """The slope (1 is ideal; below 1: too extreme) and the intercept (0 is ideal; calibration in
    the large, with the slope held at 1) of a logistic recalibration of probabilities (N,).

    Cox, Biometrika 1958;45:562; Van Calster, J Clin Epidemiol 2016;74:167. Probabilities are
    clipped to [1e-6, 1 - 1e-6].

    >>> scores, answers = [0.2] * 50 + [0.8] * 50, [0] * 40 + [1] * 10 + [0] * 10 + [1] * 40
    >>> slope, intercept = calibration_slope_intercept(scores, answers)
    >>> round(slope.value, 3), round(abs(intercept.value), 3)
    (1.0, 0.0)
    """
    values = check_probabilities(check_scores(scores)).clip(_CLIP, 1 - _CLIP)
    positive = check_binary_answers(answers)
    check_same_length(values, positive)
    draws = resampling or draw(patients, cases=len(values))
    logit = np.log(values) - np.log1p(-values)
    one = np.ones_like(logit)
    slope = _recalibrate("slope", np.stack([logit, one], axis=1), 0 * logit, positive, draws)
    intercept = _recalibrate("intercept", one[:, None], logit, positive, draws)
    return slope, intercept


def fit_temperature(
    logits: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    patients: npt.ArrayLike | Patients | None = None,
    resampling: Resampling | None = None,
) -> Temperature:
    """The temperature T that minimises the log loss of softmax(logits / T): Guo, ICML 2017.

    Logits (N, C) with answers in [0, C); for one finding give (N, 1) logits of the sigmoid with
    answers 0 or 1. T is kept in [0.05, 20]; logits that separate the classes end at 0.05.

    >>> logits = [[2.0]] * 50 + [[-2.0]] * 50
    >>> answers = [1] * 40 + [0] * 10 + [0] * 40 + [1] * 10
    >>> round(fit_temperature(logits, answers).value, 4)
    1.4427
    """
    values = check_scores(logits, ndim=2)
    if values.shape[1] == 1:
        values = np.concatenate([np.zeros_like(values), values], axis=1)
    truth = check_answers(answers, classes=values.shape[1])
    check_same_length(values, truth)
    draws = resampling or draw(patients, cases=len(truth))
    return _temperature(values, truth, draws)


def softened(logits: npt.ArrayLike, *, temperature: float) -> FloatArray:
    """Probabilities (N, C) of logits (N, C) divided by the temperature; sigmoid for (N, 1).

    >>> softened([[0.0, 2.0]], temperature=2.0).round(4).tolist()
    [[0.2689, 0.7311]]
    """
    if not temperature > 0:
        raise BadInput(f"the temperature is {temperature:g}; expected a number above 0.")
    values = check_scores(logits, ndim=2)
    if values.shape[1] == 1:
        both = np.concatenate([np.zeros_like(values), values], axis=1)
        return _softmax(both / temperature)[:, 1:]
    return _softmax(values / temperature)


def _recalibrate(
    name: str, design: FloatArray, offset: FloatArray, positive: BoolArray, draws: Resampling
) -> Estimate:
    n, owners, kinds = len(positive), draws.patients.count, design.shape[1]
    n_least = min(int(np.count_nonzero(positive)), n - int(np.count_nonzero(positive)))
    few = min(draws.patients.among(positive), draws.patients.among(~positive))
    reason = shortage(n=n_least, n_patients=few, least=MIN_CASES, what="in the smaller class")
    if not reason and kinds == 2 and _separates(design[:, 0], positive):
        reason = "the scores cannot be recalibrated: they are constant or separate the classes"
    if reason:
        return Estimate.refuse(name, reason, n=n, n_patients=owners)
    fit = np.zeros(kinds)
    for _ in range(_STEPS):
        gradient, curvature = _logistic_terms(fit, design, offset, positive)
        step = _newton(gradient.sum(axis=0), curvature.sum(axis=0), kinds)
        fit = fit - step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < 1e-10:
            break
    gradient, curvature = _logistic_terms(fit, design, offset, positive)
    steps = _newton(draws.totals(gradient), draws.totals(curvature), kinds)
    low, high = np.percentile(fit[0] - steps[:, 0], [2.5, 97.5])
    method = "one-step cluster bootstrap"
    return Estimate(name, float(fit[0]), float(low), float(high), n, owners, method)


def _logistic_terms(
    fit: FloatArray, design: FloatArray, offset: FloatArray, positive: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Each case's gradient (N, K) and Hessian (N, K * K) of the log loss."""
    p = 1 / (1 + np.exp(-np.clip(offset + design @ fit, -500, 500)))
    outer = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    return design * (p - positive)[:, None], outer * (p * (1 - p))[:, None]


def _newton(gradient: FloatArray, curvature: FloatArray, kinds: int) -> FloatArray:
    hessian = curvature.reshape(*curvature.shape[:-1], kinds, kinds) + 1e-12 * np.eye(kinds)
    return np.asarray(np.linalg.solve(hessian, gradient[..., None])[..., 0])


def _separates(values: FloatArray, positive: BoolArray) -> bool:
    found, clear = values[positive], values[~positive]
    apart = found.min() >= clear.max() or found.max() <= clear.min()
    return bool(apart) or values.min() == values.max()


def _temperature(values: FloatArray, truth: IntArray, draws: Resampling) -> Temperature:
    n, owners = len(truth), draws.patients.count
    low_edge, high_edge = 1 / _HOTTEST, 1 / _COLDEST
    beta = 1.0
    for _ in range(_STEPS):
        gradient, curvature = _temperature_terms(beta, values, truth).sum(axis=0)
        # Bisection guards Newton: the loss is convex in 1 / T, so the gradient's sign says where.
        if gradient > 0:
            high_edge = beta
        else:
            low_edge = beta
        following = beta - gradient / curvature if curvature > 0 else np.inf
        if not low_edge < following < high_edge:
            following = (low_edge + high_edge) / 2
        done = abs(following - beta) < 1e-12 * beta
        beta = float(following)
        if done:
            break
    reason = shortage(n=n, n_patients=owners, least=MIN_CASES)
    if not reason and not _COLDEST * 1.0001 < 1 / beta < _HOTTEST / 1.0001:
        reason = "the temperature ended at its bound: the logits separate the classes or say nothing"
    if reason:
        return Temperature(1 / beta, None, None, n, owners, reason=reason)
    totals = draws.totals(_temperature_terms(beta, values, truth))
    betas = np.clip(beta - totals[:, 0] / totals[:, 1], 1 / _HOTTEST, 1 / _COLDEST)
    low, high = np.percentile(1 / betas, [2.5, 97.5])
    return Temperature(1 / beta, float(low), float(high), n, owners)


def _temperature_terms(beta: float, values: FloatArray, truth: IntArray) -> FloatArray:
    """Each case's first and second derivative (N, 2) of the log loss by beta = 1 / T."""
    p = _softmax(beta * values)
    mean = (p * values).sum(axis=1)
    square = (p * (values - mean[:, None]) ** 2).sum(axis=1)
    return np.stack([mean - values[np.arange(len(truth)), truth], square], axis=1)


def _softmax(values: FloatArray) -> FloatArray:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
