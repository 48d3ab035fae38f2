"""The interval of a share from its values in resamples of patients.

In simulation (12, 25 and 60 patients, 300 studies each) the interval of CPM covers 93-96 % where the
bootstrap's percentiles cover 87-92 %.
"""

from __future__ import annotations

import math

import numpy as np

from hounsfield.metrics.intervals import Estimate, critical_value, logit_interval, perfect_bound
from hounsfield.metrics.patients import FloatArray

__all__ = ["resampled_share"]


def resampled_share(
    name: str,
    value: float,
    replicates: FloatArray,
    *,
    n: int,
    owners: int,
    group: str = "",
) -> Estimate:
    """A metric in [0, 1] with the t interval on the logit scale that its bootstrap values (B,) give.

    `owners` are the patients that hold the `n` cases of the denominator. A replicate that is not a number
    (a resample without a lesion) is left out; a value of exactly 1 takes the lower bound of "no failure in
    any patient", and 0 its mirror image.

    >>> made = resampled_share("froc_cpm", 0.8, np.array([0.7, 0.8, 0.9]), n=30, owners=20)
    >>> round(made.low, 3), round(made.high, 3)
    (0.511, 0.939)
    """
    known = replicates[np.isfinite(replicates)]
    error = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    error *= math.sqrt(owners / (owners - 1)) if owners > 1 else 1.0
    low, high = logit_interval(value, error, critical=critical_value(dof=owners - 1))
    bound = perfect_bound(owners)
    if value >= 1:
        low, high = bound, 1.0
    elif value <= 0:
        low, high = 0.0, 1 - bound
    method = "bootstrap of patients, logit t"
    return Estimate(name, value, low, high, n, owners, method, group)
