"""Whether groups differ by more than chance: Holm's correction, and one test for all groups at once.

A largest-minus-smallest gap grows with the number of groups where nothing differs. The test here asks
whether the groups' estimates scatter more than their own intervals allow (Cochran, Biometrics 1954;10:101).
Each group's standard error is read from its interval on the side that faces the common value, as MOVER
does (Zou & Donner, Stat Med 2008;27:1693), so that a small group of which all were right weighs no more
than it knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.metrics.intervals import Estimate, critical_value
from hounsfield.metrics.patients import FloatArray

__all__ = ["Heterogeneity", "heterogeneity", "holm", "p_from_interval"]

_ROUNDS = 20
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """Cochran's Q of `groups` groups, its p value, and I2, the share of scatter beyond chance (0 to 1).

    `common` is the weighted mean. Where fewer than two groups have a number all are None, with a `reason`.
    """

    statistic: float | None
    p_value: float | None
    i_squared: float | None
    common: float | None
    groups: int
    reason: str = ""


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Holm's adjusted p values (P,): each at most .05 keeps the chance of any false alarm below .05.

    Holm, Scand J Stat 1979;6:65. It holds for any dependence between the tests.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1) if len(values) else scaled
    return adjusted


def heterogeneity(
    estimates: Sequence[Estimate], *, correlation: npt.ArrayLike | None = None
) -> Heterogeneity:
    """Test whether estimates of one metric in several groups share one true value.

    Refused estimates are left out. `correlation` (G, G) of all the estimates is for groups that share
    patients; without it groups are independent.

    >>> same = [Estimate("auroc", v, v - 0.05, v + 0.05, 100, 100) for v in (0.8, 0.82, 0.79)]
    >>> round(heterogeneity(same).p_value, 3)
    0.699
    """
    told = [k for k, one in enumerate(estimates) if not one.refused]
    if len(told) < 2:
        reason = f"{len(told)} of {len(estimates)} groups have a number; a comparison needs two"
        return Heterogeneity(None, None, None, None, len(told), reason)
    value, low, high = (
        np.array([getattr(estimates[k], side) for k in told], np.float64) for side in ("value", "low", "high")
    )
    together = np.eye(len(told))
    if correlation is not None:
        together = np.asarray(correlation, np.float64)[np.ix_(told, told)]
    common = float(value.mean())
    for _ in range(_ROUNDS):
        above = value > common
        inverse = _inverse(np.where(above, value - low, high - value), together)
        weights = inverse.sum(axis=0)
        common = float(weights @ value / weights.sum())
        if (above == (value > common)).all():
            break
    off = value - common
    statistic = float(off @ inverse @ off)
    dof = len(told) - 1
    from scipy.special import chdtrc

    excess = max(0.0, 1 - dof / statistic) if statistic > 0 else 0.0
    return Heterogeneity(statistic, float(chdtrc(dof, statistic)), excess, common, len(told))


def p_from_interval(value: float, low: float, high: float) -> float:
    """The two-sided p value of no difference that agrees with a 95 % interval of the difference.

    The standard error is that of the side which faces zero: p is below .05 where the interval leaves
    zero out.

    >>> round(p_from_interval(1.0, 0.0, 3.0), 3)
    0.05
    """
    toward = value - low if value > 0 else high - value
    if value == 0:
        return 1.0
    if toward <= 0:
        return 0.0
    return math.erfc(abs(value) / toward * critical_value() / math.sqrt(2))


def _inverse(facing: FloatArray, together: FloatArray) -> FloatArray:
    """The inverse covariance of estimates whose bounds lie so far off on the side of the common value."""
    error = np.maximum(facing / critical_value(), _LEAST)
    return np.asarray(np.linalg.pinv(together) / np.outer(error, error))
