"""What share of cases has the finding at each score: a smooth calibration curve with its band.

A logistic regression on a restricted cubic spline of the score's logit (Harrell, Regression Modeling
Strategies 2015, ch. 2 and 10; Austin & Steyerberg, Stat Med 2014;33:517), with the covariance between
patients (sandwich). Few cases get fewer knots: a straight line below 50 of the rarer class. The interval
holds at one score, the band at all scores of the curve at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.metrics.inputs import (
    check_binary_answers,
    check_probabilities,
    check_same_length,
    check_scores,
)
from hounsfield.metrics.intervals import MIN_CASES, critical_value, shortage
from hounsfield.metrics.logistic import fit_logistic, robust_covariance
from hounsfield.metrics.patients import FloatArray, Patients

__all__ = ["CalibrationCurve", "calibration_curve"]

_CLIP = 1e-6
_POINTS = 101
_DRAWS = 4000
_KNOTS = {3: (0.1, 0.5, 0.9), 4: (0.05, 0.35, 0.65, 0.95)}


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationCurve:
    """The expected share with the finding (`observed`) at rising scores, all (K,).

    `low` and `high` are the 95 % interval at one score, `band_low` and `band_high` hold at all scores.
    `mean_error` is the mean distance of curve and score over the cases (the integrated calibration index),
    which like the ECE is above 0 by chance. Where there are too few cases every array is empty, with a
    `reason`.
    """

    score: FloatArray
    observed: FloatArray
    low: FloatArray
    high: FloatArray
    band_low: FloatArray
    band_high: FloatArray
    mean_error: float | None
    n: int
    n_patients: int
    method: str
    reason: str = ""


def calibration_curve(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    patients: npt.ArrayLike | Patients | None = None,
) -> CalibrationCurve:
    """The calibration curve of probabilities (N,) for answers 0 or 1 (N,), from their 1st to 99th percentile.

    >>> rng = np.random.default_rng(0)
    >>> scores = rng.random(2000)
    >>> curve = calibration_curve(scores, rng.random(2000) < scores)
    >>> bool((curve.band_low <= curve.score).all() and (curve.score <= curve.band_high).all())
    True
    """
    values, positive = check_probabilities(check_scores(scores)), check_binary_answers(answers)
    check_same_length(values, positive)
    owners = Patients.of(patients, cases=len(values))
    logit = _logit(values)
    rarer = min(int(np.count_nonzero(positive)), int(np.count_nonzero(~positive)))
    few = min(owners.among(positive), owners.among(~positive))
    reason = shortage(n=rarer, n_patients=few, least=MIN_CASES, what="in the smaller class")
    # Cases whose answer is all but certain say little about the curve: a case counts by 4 p (1 - p).
    knots = _knots(logit, min(rarer, 2 * float((values * (1 - values)).sum())))
    design = _basis(logit, knots)
    fit = None if reason else fit_logistic(design, positive)
    if fit is None:
        none = np.empty(0)
        reason = reason or "no curve can be fitted: the scores are constant or separate the classes"
        return CalibrationCurve(
            none, none, none, none, none, none, None, len(values), owners.count, "", reason
        )
    covariance = robust_covariance(design, positive, fit, owners)
    least, most = np.quantile(logit, [0.01, 0.99])
    grid = np.linspace(least, most, _POINTS)
    at = _basis(grid, knots)
    centre, error = at @ fit, np.sqrt(np.einsum("ki,ij,kj->k", at, covariance, at))
    critical = critical_value(dof=owners.count - len(fit))
    half = critical * error
    wide = _simultaneous(at, covariance, error) * critical / critical_value() * error
    fitted = _expit(design @ fit)
    name = f"logistic spline of {len(knots)} knots" if len(knots) else "logistic line"
    return CalibrationCurve(
        _expit(grid), _expit(centre), _expit(centre - half), _expit(centre + half),
        _expit(centre - wide), _expit(centre + wide), float(np.abs(fitted - values).mean()),
        len(values), owners.count, f"{name}, sandwich of patients",
    )  # fmt: skip


def _knots(logit: FloatArray, rarer: float) -> FloatArray:
    """Four knots from 200 of the rarer class, three from 50, none below or where scores hardly differ."""
    for count, least in ((4, 200), (3, 50)):
        knots = np.quantile(logit, _KNOTS[count])
        if rarer >= least and (np.diff(knots) > 1e-6).all():
            return np.asarray(knots)
    return np.empty(0)


def _basis(logit: FloatArray, knots: FloatArray) -> FloatArray:
    """One, the logit, and the terms of a spline that is straight beyond the outer knots."""
    columns = [np.ones_like(logit), logit]
    if len(knots):
        last, before = knots[-1], knots[-2]
        scale = (last - knots[0]) ** 2
        for knot in knots[:-2]:
            term = _cube(logit - knot) - _cube(logit - before) * (last - knot) / (last - before)
            term += _cube(logit - last) * (before - knot) / (last - before)
            columns.append(term / scale)
    return np.stack(columns, axis=1)


def _cube(x: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(x, 0) ** 3)


def _simultaneous(at: FloatArray, covariance: FloatArray, error: FloatArray) -> float:
    """The critical value of the largest standardised deviation along the curve."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    draws = np.random.default_rng(0).normal(size=(_DRAWS, len(covariance)))
    off = np.abs(draws @ root.T @ at.T) / np.maximum(error, 1e-300)
    return float(np.percentile(off.max(axis=1), 95))


def _logit(values: FloatArray) -> FloatArray:
    clipped = values.clip(_CLIP, 1 - _CLIP)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _expit(x: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))))
