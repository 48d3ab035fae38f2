"""One number of many sites, and where a new site is to be expected: a random-effects mean.

On the logit scale of the estimates, with the variance between sites of Paule and Mandel (J Res Natl Bur Stand
1982;87:377) and the interval of Hartung, Knapp, Sidik and Jonkman, never narrower than the usual one
(Röver, BMC Med Res Methodol 2015;15:99). The prediction interval says where a site like these would lie
(Higgins, JRSS A 2009;172:137): it, not the mean, is what a hospital that adopts the model may expect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hounsfield.metrics.intervals import Estimate, critical_value
from hounsfield.metrics.patients import FloatArray

__all__ = ["Pooled", "pooled"]

MIN_SITES = 3
"""Of fewer sites the variance between them cannot be told."""

_EDGE = 1e-4


@dataclass(frozen=True, slots=True)
class Pooled:
    """The mean over sites with its 95 % interval, and the 95 % prediction interval of a new site.

    `between` is the standard deviation between sites on the logit scale. Without a number, `reason` says why.
    """

    estimate: Estimate
    prediction_low: float | None = None
    prediction_high: float | None = None
    between: float | None = None


def pooled(estimates: Sequence[Estimate]) -> Pooled:
    """The random-effects mean of one metric in [0, 1] over independent sites; refused ones are left out.

    Sites must not share patients. Below three sites with a number it is refused.

    >>> sites = [Estimate("auroc", v, v - 0.05, v + 0.04, 200, 200) for v in (0.85, 0.8, 0.9, 0.7)]
    >>> mean = pooled(sites)
    >>> round(mean.estimate.value, 3), round(mean.prediction_low, 2), mean.estimate.n_patients
    (0.819, 0.4, 800)
    """
    told = [e for e in estimates if not e.refused]
    name = estimates[0].name if estimates else ""
    n, owners = sum(e.n for e in told), sum(e.n_patients for e in told)
    if len(told) < MIN_SITES:
        reason = f"{len(told)} sites have a number: too few for a mean over sites ({MIN_SITES})"
        return Pooled(Estimate.refuse(name, reason, n=n, n_patients=owners))
    value = _logit([e.value for e in told])
    error = (_logit([e.high for e in told]) - _logit([e.low for e in told])) / (2 * critical_value())
    variance = np.maximum(error, 1e-6) ** 2
    between = _between(value, variance)
    weights = 1 / (variance + between)
    mean = float(weights @ value / weights.sum())
    scatter = float(weights @ (value - mean) ** 2) / (len(told) - 1)
    spread = math.sqrt(max(1.0, scatter) / weights.sum())
    critical = critical_value(dof=len(told) - 1)
    ends = [mean - critical * spread, mean + critical * spread]
    wide = critical * math.sqrt(between + spread**2)
    low, high, least, most = _expit([*ends, mean - wide, mean + wide])
    estimate = Estimate(
        name, _expit([mean])[0], low, high, n, owners, "random effects, Hartung-Knapp", group="pooled"
    )
    return Pooled(estimate, least, most, math.sqrt(between))


def _between(value: FloatArray, variance: FloatArray) -> float:
    """The variance between sites at which the weighted scatter is what its degrees of freedom say."""
    from scipy.optimize import brentq

    def excess(between: float) -> float:
        weights = 1 / (variance + between)
        mean = weights @ value / weights.sum()
        return float(weights @ (value - mean) ** 2) - (len(value) - 1)

    if excess(0.0) <= 0:
        return 0.0
    most = float(np.ptp(value)) ** 2 + 1.0
    return float(brentq(excess, 0.0, most * len(value)))


def _logit(shares: Sequence[float | None]) -> FloatArray:
    values = np.clip(np.array(shares, np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(values) - np.log1p(-values))


def _expit(values: Sequence[float]) -> list[float]:
    return [float(1 / (1 + math.exp(-x))) for x in values]
