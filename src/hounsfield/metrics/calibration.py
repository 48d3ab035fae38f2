"""Whether a score of 0.8 comes true in 80 of 100 cases: Brier score, ECE, reliability curve.

The expected calibration error follows Naeini (AAAI 2015) and Guo (ICML 2017): 15 bins of equal
width, each open below and closed above. It is biased upwards: a perfectly calibrated model shows
about 0.12 on 100 cases and 0.04 on 1,000. Its interval admits any bias between none and that of a
calibrated model, so it reaches down to 0 where the error cannot be told from chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
from hounsfield.metrics.intervals import MIN_CASES, Estimate, critical_value, perfect_bound, shortage
from hounsfield.metrics.measured import Measured, mean_loss, proportion
from hounsfield.metrics.patients import (
    BoolArray,
    FloatArray,
    IntArray,
    Patients,
    Resampling,
    draw,
)

__all__ = [
    "BINS",
    "ReliabilityBin",
    "brier",
    "ece",
    "measure_brier",
    "measure_ece",
    "reliability_curve",
    "top_label",
]

BINS = 15
Binning = Literal["width", "quantile"]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One point of the reliability curve: cases scored in (low_edge, high_edge]."""

    low_edge: float
    high_edge: float
    mean_score: float
    observed: Estimate


def brier(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    patients: npt.ArrayLike | Patients | None = None,
) -> Estimate:
    """The mean squared error of probabilities (N,) against answers 0 or 1; 0 is best, 1 worst.

    Brier, Mon Weather Rev 1950;78:1. For (N, C) class probabilities and answers in [0, C) the
    squares are summed over the classes, so that the worst is 2.

    >>> round(brier([0.1] * 10 + [0.8] * 10, [0] * 10 + [1] * 10).value, 4)
    0.025
    """
    array = np.asarray(scores)
    values = check_probabilities(check_scores(array, ndim=2 if array.ndim == 2 else 1))
    classes = values.shape[1] if values.ndim == 2 else 2
    truth = check_answers(answers, classes=classes)
    check_same_length(values, truth)
    return measure_brier(values, truth, Patients.of(patients, cases=len(truth))).estimate("brier")


def ece(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    bins: int = BINS,
    binning: Binning = "width",
    patients: npt.ArrayLike | Patients | None = None,
    resampling: Resampling | None = None,
) -> Estimate:
    """The expected calibration error of the probabilities (N,) of the finding.

    `binning="quantile"` makes bins of equal number instead of equal width. For several classes
    pass the pair that `top_label` returns.

    >>> round(ece([0.1] * 10 + [0.8] * 10, [0] * 10 + [1] * 10).value, 4)
    0.15
    """
    values, positive = _checked(scores, answers)
    draws = resampling or draw(patients, cases=len(values))
    place, _ = _bins(values, bins, binning)
    return measure_ece(values, positive, draws, place=place, bins=bins).estimate("ece")


def reliability_curve(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    bins: int = BINS,
    binning: Binning = "width",
    patients: npt.ArrayLike | Patients | None = None,
) -> tuple[ReliabilityBin, ...]:
    """Mean score against observed frequency, with Wilson's band, of every bin that holds a case.

    >>> [curve_bin.mean_score for curve_bin in reliability_curve([0.25] * 6 + [0.75] * 6, [0] * 12)]
    [0.25, 0.75]
    """
    values, positive = _checked(scores, answers)
    owners = Patients.of(patients, cases=len(values))
    place, edges = _bins(values, bins, binning)
    curve = []
    for k in np.unique(place):
        inside = place == k
        observed = proportion(positive, inside, owners).estimate("observed", group=f"bin {k + 1}")
        mean = float(values[inside].mean())
        curve.append(ReliabilityBin(float(edges[k]), float(edges[k + 1]), mean, observed))
    return tuple(curve)


def top_label(scores: npt.ArrayLike, answers: npt.ArrayLike) -> tuple[FloatArray, BoolArray]:
    """The probability (N,) of the likeliest class, and whether that class was right (N,).

    >>> confidence, right = top_label([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], [0, 1])
    >>> confidence.tolist(), right.tolist()
    ([0.7, 0.6], [True, False])
    """
    values = check_probabilities(check_scores(scores, ndim=2))
    truth = check_answers(answers, classes=values.shape[1])
    check_same_length(values, truth)
    return values.max(axis=1), values.argmax(axis=1) == truth


def measure_brier(values: FloatArray, truth: IntArray, patients: Patients) -> Measured:
    """The Brier score of checked probabilities (N,) or (N, C).

    >>> measure_brier(np.full(20, 0.5), np.arange(20) % 2, Patients.of(None, cases=20)).value
    0.25
    """
    if values.ndim == 1:
        losses = (values - truth) ** 2
    else:
        losses = (values**2).sum(axis=1) - 2 * values[np.arange(len(truth)), truth] + 1
    ceiling = 1.0 if values.ndim == 1 else 2.0
    return mean_loss(losses, patients, ceiling=ceiling, least=MIN_CASES)


def measure_ece(
    values: FloatArray,
    positive: BoolArray,
    draws: Resampling,
    *,
    place: IntArray | None = None,
    bins: int = BINS,
) -> Measured:
    """The expected calibration error of checked probabilities; `place` (N,) is each case's bin.

    The interval is value - bias - z sd to value + z sd, with the bootstrap's sd and the largest
    bias that the bins' own noise can make: sqrt(2 / pi) times the sum of their deviations.

    >>> draws = draw(None, cases=20)
    >>> measure_ece(np.full(20, 0.5), np.arange(20) % 2 == 1, draws).value
    0.0
    """
    n, owners = len(values), draws.patients.count
    place = _bins(values, bins, "width")[0] if place is None else place
    columns = np.zeros((n, bins + 1))
    columns[np.arange(n), place] = values - positive
    columns[:, -1] = 1
    value = float(np.abs(columns[:, :-1].sum(axis=0)).sum()) / n
    reason = shortage(n=n, n_patients=owners, least=MIN_CASES)
    if reason:
        return Measured(value, 0.0, 1.0, n, owners, "", None, reason)
    totals = draws.totals(columns)
    gaps = totals[:, :-1] / totals[:, -1:]
    critical = critical_value(dof=None if draws.patients.distinct else owners - 1)
    half = critical * float(np.abs(gaps).sum(axis=1).std(ddof=1))
    bias = math.sqrt(2 / math.pi) * float(gaps.std(axis=0, ddof=1).sum())
    method = "cluster bootstrap, bias allowed for"
    # Where no resample differs (every certain score was right) the bootstrap knows nothing.
    half = half or 1 - perfect_bound(owners)
    low, high = max(0.0, value - bias - half), min(1.0, value + half)
    return Measured(value, low, high, n, owners, method)


def _bins(values: FloatArray, bins: int, binning: Binning) -> tuple[IntArray, FloatArray]:
    if bins < 1:
        raise BadInput(f"{bins} bins were given; expected at least one.")
    steps = np.linspace(0, 1, bins + 1)
    edges = steps if binning == "width" else np.quantile(values, steps)
    place = np.searchsorted(edges[1:-1], values, side="left")
    return place.astype(np.intp, copy=False), edges


def _checked(scores: npt.ArrayLike, answers: npt.ArrayLike) -> tuple[FloatArray, BoolArray]:
    values = check_probabilities(check_scores(scores))
    positive = check_binary_answers(answers)
    check_same_length(values, positive)
    return values, positive
