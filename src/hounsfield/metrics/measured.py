"""A number with each patient's pull on it, so that means over classes get an honest interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hounsfield.metrics.intervals import (
    MIN_DENOMINATOR,
    Estimate,
    critical_value,
    perfect_bound,
    shortage,
    skewed_interval,
    wilson,
)
from hounsfield.metrics.patients import BoolArray, FloatArray, Patients

__all__ = [
    "Measured",
    "average",
    "cluster_variance",
    "combine",
    "correlation_of",
    "design_effect",
    "effective_size",
    "f_of",
    "f_score",
    "mean_interval",
    "mean_loss",
    "proportion",
    "rate",
]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A metric of one class, before it is named or averaged.

    `influence` (patients,) is the first-order pull of each patient on the value, so that the sum
    of its squares estimates the variance; None where it is not known.
    """

    value: float
    low: float
    high: float
    n: int
    n_patients: int
    method: str
    influence: FloatArray | None = None
    reason: str = ""

    def estimate(self, name: str, *, group: str = "") -> Estimate:
        """The named Estimate, refused when there is a reason to.

        >>> Measured(0.5, 0.2, 0.8, 4, 4, "Wilson", reason="n = 4: too few").estimate("recall").low
        """
        if self.reason:
            return Estimate.refuse(name, self.reason, n=self.n, n_patients=self.n_patients, group=group)
        return Estimate(name, self.value, self.low, self.high, self.n, self.n_patients, self.method, group)


def cluster_variance(influence: FloatArray) -> float:
    """The variance of a statistic from its influence per patient (G,), G / (G - 1) times the sum.

    >>> cluster_variance(np.array([0.5, -0.5]))
    1.0
    """
    count = len(influence)
    return float(influence @ influence) * count / (count - 1) if count > 1 else 0.0


def proportion(hits: BoolArray, members: BoolArray, patients: Patients) -> Measured:
    """The share of `members` (N,) that are `hits` (N,), with Wilson's interval.

    With several cases of one patient the interval takes the effective size: n over the design
    effect (never below 1), and Student's t of the patients (Korn & Graubard, Surv Methodol
    1998;24:193). When all or none are hits each patient counts as one case. Fewer than
    `MIN_DENOMINATOR` members, or members from too few patients, give a reason.

    >>> hits, members = np.array([True] * 9 + [False]), np.ones(10, dtype=bool)
    >>> rate = proportion(hits, members, Patients.of(None, cases=10))
    >>> rate.value, round(rate.low, 4), round(rate.high, 4)
    (0.9, 0.5958, 0.9821)
    """
    n = int(np.count_nonzero(members))
    inside = hits & members
    count = int(np.count_nonzero(inside))
    influence = patients.sums((inside - count / max(n, 1) * members) / max(n, 1))
    owners = patients.among(members)
    variance = float(influence @ influence) * owners / max(owners - 1, 1)
    return rate(count, n, owners, variance, influence)


def rate(hits: int, n: int, owners: int, variance: float, influence: FloatArray | None = None) -> Measured:
    """`hits` of `n` cases from `owners` patients, whose share has this variance between patients.

    >>> round(rate(9, 10, 10, 0.01).low, 4)
    0.5958
    """
    reason = shortage(n=n, n_patients=owners, least=MIN_DENOMINATOR)
    if n == 0:
        return Measured(0.0, 0.0, 1.0, 0, 0, "Wilson", influence, reason)
    value = hits / n
    size, method = float(n), "Wilson"
    if owners < n:
        size = effective_size(value, n, owners, variance)
        method = "Wilson, design effect of patients"
    low, high = wilson(value * size, size)
    return Measured(value, low, high, n, owners, method, influence, reason)


def design_effect(hits: BoolArray, members: BoolArray, patients: Patients) -> float:
    """By how much patients' several cases inflate the variance of a share of `members` (N,); 1 or more.

    Student's t of the patients is counted in, as in `proportion`.

    >>> who = np.repeat(np.arange(100), 2)
    >>> hits, all_of_them = who % 2 == 0, np.ones(200, bool)
    >>> round(design_effect(hits, all_of_them, Patients.of(who, cases=200)), 2)
    2.07
    """
    n, owners = int(np.count_nonzero(members)), patients.among(members)
    if owners == n or not n:
        return 1.0
    value = float(np.count_nonzero(hits & members)) / n
    influence = patients.sums(((hits & members) - value * members) / n)
    variance = float(influence @ influence) * owners / max(owners - 1, 1)
    return n / effective_size(value, n, owners, variance)


def f_score(called: BoolArray, truth: BoolArray, patients: Patients) -> Measured:
    """F1 of the `called` cases (N,) against the `truth` (N,), with a closed interval.

    F1 = 2 F* / (1 + F*) rises with F* = TP / (TP + FP + FN), which is a proportion and so has
    Wilson's interval (Hand, Christen & Kirielle, Mach Learn 2021;110:451).

    >>> truth = np.array([True] * 6 + [False] * 6)
    >>> round(f_score(np.roll(truth, 1), truth, Patients.of(None, cases=12)).value, 4)
    0.8333
    """
    overlap = proportion(called & truth, called | truth, patients)
    n, owners = int(np.count_nonzero(truth)), patients.among(truth)
    reason = shortage(n=n, n_patients=owners, least=MIN_DENOMINATOR, what="with the finding")
    return f_of(overlap, n=len(truth), n_patients=patients.count, reason=reason)


def f_of(overlap: Measured, *, n: int, n_patients: int, reason: str) -> Measured:
    """F1 from F*, the share of cases called or with the finding that are both.

    >>> round(f_of(rate(5, 7, 7, 0.0), n=12, n_patients=12, reason="").value, 4)
    0.8333
    """
    influence = overlap.influence
    if influence is not None:
        influence = influence * 2 / (1 + overlap.value) ** 2
    value, low, high = (2 * x / (1 + x) for x in (overlap.value, overlap.low, overlap.high))
    method = overlap.method.replace("Wilson", "Wilson of F*", 1)
    return Measured(value, low, high, n, n_patients, method, influence, reason)


def mean_loss(losses: FloatArray, patients: Patients, *, ceiling: float, least: int) -> Measured:
    """The mean of losses (N,) in [0, ceiling], with a t interval between patients, bent by their skewness.

    A mean of exactly zero takes the upper bound of "no failure in any patient".

    >>> mean_loss(np.full(20, 0.25), Patients.of(None, cases=20), ceiling=1.0, least=10).value
    0.25
    """
    n, owners = len(losses), patients.count
    value = float(losses.mean())
    influence = patients.sums((losses - value) / n)
    low, high = mean_interval(value, influence)
    low, high = max(0.0, low), min(ceiling, high)
    if value == 0:
        high = ceiling * (1 - perfect_bound(owners))
    reason = shortage(n=n, n_patients=owners, least=least)
    return Measured(value, low, high, n, owners, "t between patients, skewness", influence, reason)


def mean_interval(value: float, influence: FloatArray) -> tuple[float, float]:
    """The interval of a mean from its influence per patient (G,): t, bent by the patients' skewness.

    >>> low, high = mean_interval(1.0, np.array([-0.1, -0.1, 0.2] * 4))
    >>> round(low, 3), round(high, 3)
    (0.023, 2.382)
    """
    squares = float(influence @ influence)
    skewness = float((influence**3).sum()) / squares**1.5 if squares > 0 else 0.0
    critical = critical_value(dof=len(influence) - 1)
    return skewed_interval(value, math.sqrt(cluster_variance(influence)), skewness, critical=critical)


def average(parts: Sequence[Measured], *, n: int, n_patients: int, reason: str = "") -> Measured:
    """The plain (macro) mean of K measured classes, with the MOVER interval.

    The distances to the parts' bounds are added with the correlation of their influences (Zou &
    Donner, Stat Med 2008;27:1693), so bounds keep their asymmetry. Where an influence is not known
    the correlation is taken as 1, which is wide.

    >>> part = Measured(0.8, 0.7, 0.9, 50, 50, "Wilson", np.array([0.1, -0.1, 0.0, 0.0]))
    >>> other = Measured(0.8, 0.7, 0.9, 50, 50, "Wilson", np.array([0.0, 0.0, 0.1, -0.1]))
    >>> round(average([part, other], n=100, n_patients=100).low, 4)
    0.7293
    """
    mean = combine(parts, np.full(len(parts), 1 / len(parts)), n=n, n_patients=n_patients, reason=reason)
    floor = 0.0 if all(part.low >= 0 for part in parts) else -1.0
    ceiling = max(1.0, max(part.high for part in parts))
    return replace(mean, low=max(floor, mean.low), high=min(ceiling, mean.high))


def combine(
    parts: Sequence[Measured],
    weights: npt.ArrayLike,
    *,
    n: int,
    n_patients: int,
    reason: str = "",
    correlation: npt.ArrayLike | None = None,
) -> Measured:
    """The weighted sum of K measured parts with the MOVER interval; a weight may be negative.

    Without a `correlation` (K, K) it is read from the parts' influences.

    >>> one = Measured(0.8, 0.7, 0.9, 50, 50, "Wilson", np.array([0.1, -0.1, 0.0, 0.0]))
    >>> two = Measured(0.6, 0.5, 0.7, 50, 50, "Wilson", np.array([0.0, 0.0, 0.1, -0.1]))
    >>> difference = combine([one, two], [1, -1], n=100, n_patients=100)
    >>> round(difference.value, 4), round(difference.low, 4)
    (0.2, 0.0586)
    """
    scale = np.asarray(weights, np.float64)
    values = np.array([part.value for part in parts])
    to_low = values - np.array([part.low for part in parts])
    to_high = np.array([part.high for part in parts]) - values
    value = float(scale @ values)
    together = correlation_of(parts) if correlation is None else np.asarray(correlation, np.float64)
    down, up = scale * np.where(scale > 0, to_low, to_high), scale * np.where(scale > 0, to_high, to_low)
    low = value - math.sqrt(max(0.0, float(down @ together @ down)))
    high = value + math.sqrt(max(0.0, float(up @ together @ up)))
    influences = [part.influence for part in parts if part.influence is not None]
    pull = scale @ np.stack(influences) if len(influences) == len(parts) else None
    method = f"MOVER of {parts[0].method.removeprefix('MOVER of ')}"
    return Measured(value, low, high, n, n_patients, method, pull, reason)


def correlation_of(parts: Sequence[Measured]) -> npt.NDArray[np.float64]:
    """The correlation (K, K) of measured parts from their influences; 1 where one is not known.

    >>> part = Measured(0.8, 0.7, 0.9, 50, 50, "Wilson", np.array([0.1, -0.1]))
    >>> correlation_of([part, part]).round(6).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    known = [part.influence for part in parts if part.influence is not None]
    if len(known) < len(parts):
        return np.ones((len(parts), len(parts)))
    pulls = np.stack(known)
    cross = pulls @ pulls.T
    size = np.sqrt(np.diag(cross))
    scale = np.outer(size, size)
    correlation = np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 0)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation)


def effective_size(value: float, n: int, owners: int, variance: float) -> float:
    """How many independent cases a share of `n` is worth that has this variance between patients; at most n.

    Where each patient has one case Student's t is not needed; a share of 0 or 1 is worth its patients.

    >>> round(effective_size(0.8, 100, 100, 0.0032), 1)
    50.0
    """
    if value in (0.0, 1.0) or owners < 2:
        return float(owners)
    effect = max(1.0, variance / (value * (1 - value) / n))
    if owners == n:
        return n / effect
    return n / effect * (critical_value() / critical_value(dof=owners - 1)) ** 2
