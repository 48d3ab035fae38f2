"""Segmentation metrics over cases: mean Dice and surface distances with intervals, and absent structures.

A case whose metric is not defined (both masks empty, or one for a distance) is left out of that mean, and
the estimate's n says how many remain; whether an absent structure was left alone, and a present one found
at all, is counted on its own (`absent_left_alone`, `present_found`), so that no empty mask hides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.intervals import (
    MIN_DENOMINATOR,
    Estimate,
    critical_value,
    logit_interval,
    perfect_bound,
    shortage,
)
from hounsfield.metrics.measured import cluster_variance, mean_interval, proportion
from hounsfield.metrics.overlap import Overlap
from hounsfield.metrics.patients import FloatArray, Patients
from hounsfield.metrics.surface import SurfaceAgreement

__all__ = ["SegmentedCase", "case_mean", "case_median", "segmentation_report"]


@dataclass(frozen=True, slots=True)
class SegmentedCase:
    """One structure in one case: how the masks overlap and how far their surfaces lie apart."""

    overlap: Overlap
    surface: SurfaceAgreement | None = None


def segmentation_report(
    cases: Sequence[SegmentedCase], *, patients: npt.ArrayLike | None = None
) -> list[Estimate]:
    """Means over cases of dice, iou, nsd, hd95, assd and volume errors, medians, and the empty masks.

    Distances are in mm, volumes in ml. The median of hd95 is given too, since one lost piece moves the
    mean. Raises BadInput without a case.

    >>> from hounsfield.metrics.overlap import overlap
    >>> masks = np.zeros((12, 4, 4), bool)
    >>> masks[:, 1:3, 1:3] = True
    >>> cases = [SegmentedCase(overlap(mask, mask, spacing_mm=(1, 1))) for mask in masks]
    >>> row = segmentation_report(cases)[0]
    >>> row.name, row.value, round(row.low, 3), row.n
    ('dice', 1.0, 0.735, 12)
    """
    if not cases:
        raise BadInput("no case was given; expected at least one.")
    overlaps = [case.overlap for case in cases]
    surfaces = [case.surface for case in cases if case.surface is not None]
    rows = [
        case_mean("dice", [one.dice for one in overlaps], patients=patients, share=True),
        case_mean("iou", [one.iou for one in overlaps], patients=patients, share=True),
        case_mean("volume_error_ml", [one.volume_error_ml for one in overlaps], patients=patients),
        case_mean(
            "relative_volume_error", [one.relative_volume_error for one in overlaps], patients=patients
        ),
    ]
    if len(surfaces) == len(cases):
        hd95 = [one.hd95_mm for one in surfaces]
        rows += [
            case_mean("nsd", [one.nsd for one in surfaces], patients=patients, share=True),
            case_mean("hd95", hd95, patients=patients, least=0.0),
            case_median("hd95_median", hd95, patients=patients),
            case_mean("assd", [one.assd_mm for one in surfaces], patients=patients, least=0.0),
        ]
    return rows + _presence(overlaps, patients)


def case_mean(
    name: str,
    values: Sequence[float | None],
    *,
    patients: npt.ArrayLike | None = None,
    share: bool = False,
    least: float = -np.inf,
) -> Estimate:
    """The mean of what is defined, with a t interval between patients that follows their skewness.

    A `share` takes it on the logit scale.
    A mean share of exactly 1 takes the lower bound of "no failure in any patient", and 0 its mirror image.

    >>> case_mean("dice", [0.8, 0.9, None, 0.7, 0.8, 0.85], share=True).n
    5
    """
    numbers, owners, reason = _told(values, patients)
    if reason:
        return Estimate.refuse(name, reason, n=len(numbers), n_patients=owners.count)
    value = float(numbers.mean())
    influence = owners.sums((numbers - value) / len(numbers))
    if not share:
        low, high = mean_interval(value, influence)
        method = "t between patients, skewness"
        return Estimate(name, value, max(least, low), high, len(numbers), owners.count, method)
    error, critical = math.sqrt(cluster_variance(influence)), critical_value(dof=owners.count - 1)
    low, high = logit_interval(value, error, critical=critical)
    if value in (0.0, 1.0):
        bound = perfect_bound(owners.count)
        low, high = (bound, 1.0) if value else (0.0, 1 - bound)
    return Estimate(name, value, low, high, len(numbers), owners.count, "t between patients, logit")


def case_median(
    name: str, values: Sequence[float | None], *, patients: npt.ArrayLike | None = None
) -> Estimate:
    """The median of what is defined, between order statistics of the patients' own medians.

    Each patient counts once; between two order statistics the bound is interpolated, so that it covers 95 %
    and not up to 98 % (Hettmansperger & Sheather, Stat Probab Lett 1986;4:75).

    >>> row = case_median("hd95_median", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    >>> row.value, round(row.low, 2), round(row.high, 2)
    (4.5, 1.94, 7.06)
    """
    numbers, owners, reason = _told(values, patients)
    if not reason and owners.count < 6:
        reason = f"n = {owners.count} patients: too few to bound a median"
    if reason:
        return Estimate.refuse(name, reason, n=len(numbers), n_patients=owners.count)
    each = np.sort([float(np.median(numbers[owners.code == k])) for k in range(owners.count)])
    from scipy.special import bdtr

    # The largest rank below which the true median lies with a chance of at most 2.5 %, and part of the next.
    n = owners.count
    tails = bdtr(np.arange(n), n, 0.5)
    rank = int(np.count_nonzero(tails <= 0.025))
    beyond = float((0.025 - tails[rank - 1]) / (tails[rank] - tails[rank - 1]))
    part = (n - rank) * beyond / (rank + (n - 2 * rank) * beyond)
    low = float(each[rank - 1] + part * (each[rank] - each[rank - 1]))
    high = float(each[n - rank] - part * (each[n - rank] - each[n - rank - 1]))
    value = float(np.median(each))
    return Estimate(name, value, low, high, len(numbers), owners.count, "order statistics of patients")


def _told(values: Sequence[float | None], patients: npt.ArrayLike | None) -> tuple[FloatArray, Patients, str]:
    """The values that are defined, their patients, and why there are too few."""
    known = np.array([value is not None for value in values], np.bool_)
    numbers = np.array([value for value in values if value is not None], np.float64)
    everyone = Patients.of(patients, cases=len(known))
    owners = Patients.of(everyone.code[known], cases=len(numbers))
    return numbers, owners, shortage(n=len(numbers), n_patients=owners.count, least=MIN_DENOMINATOR)


def _presence(overlaps: Sequence[Overlap], patients: npt.ArrayLike | None) -> list[Estimate]:
    owners = Patients.of(patients, cases=len(overlaps))
    present = np.array([one.reference_ml > 0 for one in overlaps])
    marked = np.array([one.volume_ml > 0 for one in overlaps])
    touched = np.array([bool(one.dice) for one in overlaps])
    return [
        proportion(~marked, ~present, owners).estimate("absent_left_alone"),
        proportion(touched, present, owners).estimate("present_found"),
    ]
