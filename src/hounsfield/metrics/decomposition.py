"""What a Brier score is made of: miscalibration, discrimination and the uncertainty of the answers.

CORP (Dimitriadis, Gneiting & Jordan, PNAS 2021;118:e2016191118): scores are recalibrated by isotonic
regression on the cases themselves, which needs no bins. Then Brier = miscalibration - discrimination +
uncertainty, exactly. Since the regression fits noise too, both first terms are too large by the same
amount. How large that is shows where the scores are true: each patient's residuals are kept or mirrored at
random about the scores (wild bootstrap, Cameron, Gelbach & Miller 2008) and regressed again. The intervals
allow for any bias between none and that one; a miscalibration that chance explains reaches down to 0.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hounsfield.metrics.inputs import (
    check_binary_answers,
    check_probabilities,
    check_same_length,
    check_scores,
)
from hounsfield.metrics.intervals import MIN_CASES, Estimate, critical_value, perfect_bound, shortage
from hounsfield.metrics.measured import cluster_variance, mean_loss, proportion
from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray, Patients

__all__ = ["brier_decomposition", "isotonic"]

_REFITS = 100


def brier_decomposition(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    patients: npt.ArrayLike | Patients | None = None,
    seed: int | np.random.Generator = 0,
) -> tuple[Estimate, Estimate, Estimate, Estimate]:
    """Brier score, miscalibration, discrimination and uncertainty of probabilities (N,).

    Named brier, brier_miscalibration, brier_discrimination and brier_uncertainty. A miscalibration whose
    interval reaches 0 cannot be told from chance.

    >>> rng = np.random.default_rng(0)
    >>> scores = rng.random(1000)
    >>> parts = [part.value for part in brier_decomposition(scores, rng.random(1000) < scores)]
    >>> abs(parts[0] - (parts[1] - parts[2] + parts[3])) < 1e-12
    True
    """
    values, positive = check_probabilities(check_scores(scores)), check_binary_answers(answers)
    check_same_length(values, positive)
    owners = Patients.of(patients, cases=len(values))
    n, count = len(values), owners.count
    names = ("brier", "brier_miscalibration", "brier_discrimination", "brier_uncertainty")
    reason = shortage(n=n, n_patients=count, least=MIN_CASES)
    if reason:
        one, two, three, four = (Estimate.refuse(name, reason, n=n, n_patients=count) for name in names)
        return one, two, three, four
    truth, share = positive.astype(np.float64), float(positive.mean())
    order, group = _ordered(values)
    mended = _recalibrated(order, group, truth, np.ones(n))
    losses, least, flat = (values - truth) ** 2, (mended - truth) ** 2, (share - truth) ** 2
    chance = _by_chance(order, group, values, truth, owners, seed)
    brier = mean_loss(losses, owners, ceiling=1.0, least=MIN_CASES).estimate(names[0])
    return (
        brier,
        _part(names[1], losses - least, chance, owners),
        _part(names[2], flat - least, chance, owners),
        _uncertainty(names[3], positive, owners),
    )


def isotonic(scores: FloatArray, targets: FloatArray) -> FloatArray:
    """The rising values (N,) nearest to the targets (N,), one for all cases of one score.

    >>> isotonic(np.array([0.1, 0.2, 0.3, 0.3]), np.array([0.0, 1.0, 0.0, 1.0])).round(4).tolist()
    [0.0, 0.6667, 0.6667, 0.6667]
    """
    order, group = _ordered(scores)
    return _recalibrated(order, group, targets, np.ones(len(scores)))


def _ordered(scores: FloatArray) -> tuple[IntArray, IntArray]:
    """Cases in ascending order, and which distinct score each of them has, counted from 0."""
    order = np.argsort(scores, kind="stable")
    fresh = np.concatenate([[False], np.diff(scores[order]) > 0])
    return order, np.cumsum(fresh)


def _recalibrated(order: IntArray, group: IntArray, truth: FloatArray, weight: FloatArray) -> FloatArray:
    from scipy.optimize import isotonic_regression

    mass = np.bincount(group, weight[order])
    total = np.bincount(group, (weight * truth)[order])
    seen = mass > 0
    level = np.zeros(len(mass))
    level[seen] = isotonic_regression(total[seen] / mass[seen], weights=mass[seen]).x
    cases = np.empty(len(order))
    cases[order] = level[group]
    return cases


def _by_chance(
    order: IntArray,
    group: IntArray,
    values: FloatArray,
    truth: FloatArray,
    owners: Patients,
    seed: int | np.random.Generator,
) -> FloatArray:
    """The miscalibration (B,) that regressions find where there is none."""
    rng, n = np.random.default_rng(seed), len(values)
    found, one = np.empty(_REFITS), np.ones(n)
    for b in range(_REFITS):
        mirror = rng.choice([-1.0, 1.0], owners.count)[owners.code]
        noise = (truth - values) * mirror
        off = _recalibrated(order, group, noise + values, one) - values
        found[b] = float(2 * noise @ off - off @ off) / n
    return found


def _part(name: str, gains: FloatArray, chance: FloatArray, owners: Patients) -> Estimate:
    value = float(gains.mean())
    spread = cluster_variance(owners.sums((gains - value) / len(gains))) + float(chance.var(ddof=1))
    # Without any spread (every score was certain and right) only patients without a failure are known.
    half = critical_value(dof=owners.count - 1) * math.sqrt(spread) or 1 - perfect_bound(owners.count)
    low, high = max(0.0, value - float(chance.mean()) - half), min(1.0, value + half)
    if value <= np.quantile(chance, 0.975):
        low = 0.0
    return Estimate(name, value, low, high, len(gains), owners.count, "t between patients, bias allowed for")


def _uncertainty(name: str, positive: BoolArray, owners: Patients) -> Estimate:
    share = proportion(positive, np.ones(len(positive), np.bool_), owners)
    ends = [x * (1 - x) for x in (share.low, share.high)]
    high = 0.25 if share.low <= 0.5 <= share.high else max(ends)
    value = share.value * (1 - share.value)
    return Estimate(name, value, min(ends), high, share.n, share.n_patients, share.method)
