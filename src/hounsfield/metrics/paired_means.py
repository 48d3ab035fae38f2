"""Whether a mean over cases differs between two models: Dice, a distance, an error of volume.

The difference of each case is taken first, so that how hard the case is falls out; patients are clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.intervals import MIN_DENOMINATOR, Estimate, critical_value, shortage
from hounsfield.metrics.measured import cluster_variance
from hounsfield.metrics.paired import PairedDifference
from hounsfield.metrics.patients import FloatArray, Patients

__all__ = ["mean_difference"]


def mean_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    name: str,
    strata: Sequence[str] | None = None,
    patients: npt.ArrayLike | Patients | None = None,
) -> PairedDifference:
    """Compare the means of two numbers (N,) of the same cases by Student's t between patients.

    `strata` name what each number is of (a structure): the difference is then the mean over strata of their
    own differences, whatever the number of cases of each, and one patient's numbers of all strata are one
    cluster. `n` counts the numbers. A stratum of fewer than `MIN_DENOMINATOR` cases, or too few patients,
    refuse the difference. The name gets "_difference" at its end. Raises BadInput for numbers that are not
    finite, and for lengths that differ.

    >>> first, second = [0.82, 0.91, 0.88, 0.79, 0.90, 0.86], [0.80, 0.90, 0.85, 0.80, 0.86, 0.83]
    >>> result = mean_difference(first, second, name="dice")
    >>> round(result.difference.value, 3), round(result.difference.low, 3), round(result.p_value, 3)
    (0.02, 0.001, 0.041)
    """
    gap = _gap(first, second)
    owners = Patients.of(patients, cases=len(gap))
    held = np.asarray(strata if strata is not None else [""] * len(gap), str)
    if len(held) != len(gap):
        raise BadInput(f"{len(held)} strata were given for {len(gap)} numbers; expected one a number.")
    names, of, sizes = np.unique(held, return_inverse=True, return_counts=True)
    reason = shortage(n=int(sizes.min(initial=len(gap))), n_patients=owners.count, least=MIN_DENOMINATOR)
    if reason:
        refused = Estimate.refuse(f"{name}_difference", reason, n=len(gap), n_patients=owners.count)
        return PairedDifference(refused, None)
    means = np.bincount(of, weights=gap) / sizes
    value = float(means.mean())
    error = math.sqrt(cluster_variance(owners.sums((gap - means[of]) / sizes[of] / len(names))))
    dof = owners.count - 1
    half = critical_value(dof=dof) * error
    estimate = Estimate(
        f"{name}_difference", value, value - half, value + half, len(gap), owners.count,
        "paired t between patients",
    )  # fmt: skip
    return PairedDifference(estimate, _two_sided(value, error, dof))


def _gap(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    one, two = (np.asarray(values, np.float64) for values in (first, second))
    if one.ndim != 1 or one.shape != two.shape:
        raise BadInput(
            f"the numbers have shapes {one.shape} and {two.shape}; expected (N,) of the same cases."
        )
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise BadInput("some numbers are not finite; expected only cases in which both are defined.")
    return one - two


def _two_sided(value: float, error: float, dof: int) -> float:
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(dof, -abs(value) / error))
