"""Whether one model ranks better than another on the same cases: the paired DeLong test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.metrics.discrimination import measure_auroc, placement_covariance, placements
from hounsfield.metrics.inputs import check_binary_answers, check_same_length, check_scores
from hounsfield.metrics.intervals import Estimate, critical_value
from hounsfield.metrics.patients import Patients
from hounsfield.metrics.ranking import rank

__all__ = ["PairedDifference", "auroc_difference"]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The first area less the second, and the two-sided p value of no difference (or None)."""

    difference: Estimate
    p_value: float | None


def auroc_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    patients: npt.ArrayLike | Patients | None = None,
) -> PairedDifference:
    """Compare the areas of two scores (N,) of the same cases: DeLong, Biometrics 1988;44:837.

    Where patients have several cases the covariance is Obuchowski's, with Student's t.

    >>> answers = [0] * 10 + [1] * 10
    >>> result = auroc_difference([*range(10), *range(5, 15)], [*range(10), *range(2, 12)], answers)
    >>> round(result.difference.value, 4), round(result.p_value, 4)
    (0.195, 0.001)
    """
    one, two, positive = check_scores(first), check_scores(second), check_binary_answers(answers)
    check_same_length(one, positive)
    check_same_length(two, positive)
    owners = Patients.of(patients, cases=len(positive))
    rankings = [rank(one), rank(two)]
    area, other = (measure_auroc(ranking, positive, owners) for ranking in rankings)
    n, count = len(positive), owners.count
    if area.reason:
        refused = Estimate.refuse("auroc_difference", area.reason, n=n, n_patients=count)
        return PairedDifference(refused, None)
    placed = np.stack([placements(ranking, positive) for ranking in rankings])
    covariance = placement_covariance(placed, positive, owners)
    error = math.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    value = area.value - other.value
    dof = None if owners.distinct else count - 1
    half = critical_value(dof=dof) * error
    low, high = max(-1.0, value - half), min(1.0, value + half)
    method = "paired DeLong" if owners.distinct else "paired Obuchowski, t"
    estimate = Estimate("auroc_difference", value, low, high, n, count, method)
    return PairedDifference(estimate, _two_sided(value, error, dof))


def _two_sided(value: float, error: float, dof: int | None) -> float:
    from scipy.special import ndtr, stdtr

    if error == 0:
        return 1.0 if value == 0 else 0.0
    z = -abs(value) / error
    return float(2 * (ndtr(z) if dof is None else stdtr(dof, z)))
