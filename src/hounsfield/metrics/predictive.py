"""What a positive or a negative call means where the finding is as common as stated.

The predictive values of a test set hold only at its own mix of cases. At another prevalence they follow
from sensitivity and specificity by Bayes; their intervals here are those of the ratio of two rates, by
MOVER-R on Wilson's bounds (Donner & Zou, Stat Methods Med Res 2012;21:347), which keeps the asymmetry that
logit intervals (Mercaldo, Stat Med 2007;26:2170) lose near 0 and 1, and needs no case added.
"""

from __future__ import annotations

import math

import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.inputs import check_binary_answers, check_same_length
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.measured import Measured, correlation_of, proportion
from hounsfield.metrics.patients import Patients

__all__ = ["check_prevalence", "predictive_values"]


def predictive_values(
    answers: npt.ArrayLike,
    called: npt.ArrayLike,
    *,
    prevalence: float,
    patients: npt.ArrayLike | Patients | None = None,
) -> tuple[Estimate, Estimate]:
    """The positive and negative predictive value of calls (N,) for answers 0 or 1 (N,) at a prevalence.

    `prevalence` is a known share; its own uncertainty is not counted. Named ppv and npv. Raises BadInput
    for a prevalence outside (0, 1).

    >>> answers, called = [1] * 50 + [0] * 50, [1] * 45 + [0] * 5 + [1] * 10 + [0] * 40
    >>> ppv, npv = predictive_values(answers, called, prevalence=0.05)
    >>> round(ppv.value, 3), round(ppv.low, 3), round(npv.value, 3)
    (0.191, 0.123, 0.993)
    """
    check_prevalence(prevalence)
    truth, said = check_binary_answers(answers), check_binary_answers(called)
    check_same_length(said, truth)
    owners = Patients.of(patients, cases=len(truth))
    odds = prevalence / (1 - prevalence)
    found, false = proportion(said, truth, owners), proportion(said, ~truth, owners)
    missed, clear = proportion(~said, truth, owners), proportion(~said, ~truth, owners)
    return (
        _predictive("ppv", found, false, odds, "called", owners, len(truth)),
        _predictive("npv", clear, missed, 1 / odds, "passed", owners, len(truth)),
    )


def check_prevalence(prevalence: float) -> None:
    """Raise BadInput unless the prevalence is a share above 0 and below 1.

    >>> check_prevalence(0.1)
    """
    if not 0 < prevalence < 1:
        raise BadInput(f"the prevalence is {prevalence}; expected a share above 0 and below 1.")


def _predictive(
    name: str, right: Measured, wrong: Measured, odds: float, what: str, owners: Patients, n: int
) -> Estimate:
    """The share odds x right / (odds x right + wrong) of two rates."""
    reason = right.reason or wrong.reason
    if not reason and right.value == 0 and wrong.value == 0:
        reason = f"no case was {what}: the {name} is not defined"
    if reason:
        return Estimate.refuse(name, reason, n=n, n_patients=owners.count)
    together = correlation_of([right, wrong])[0, 1]
    least, most = _ratio_bounds(wrong, right, together)
    value, low, high = (1 / (1 + x / odds) for x in (_ratio(wrong.value, right.value), most, least))
    return Estimate(name, value, low, high, n, owners.count, "MOVER-R of Wilson")


def _ratio(one: float, two: float) -> float:
    return one / two if two > 0 else math.inf


def _ratio_bounds(top: Measured, bottom: Measured, together: float) -> tuple[float, float]:
    """MOVER-R: the interval of top / bottom, infinite where the bottom may be 0."""
    product = top.value * bottom.value

    def bound(of_top: float, of_bottom: float, sign: float) -> float:
        shared = together * abs(top.value - of_top) * abs(of_bottom - bottom.value)
        centre = product - shared
        a, b = of_top * (2 * top.value - of_top), of_bottom * (2 * bottom.value - of_bottom)
        if abs(b) < 1e-15:
            return math.inf if sign > 0 else (a / (2 * centre) if centre > 0 else 0.0)
        root = math.sqrt(max(0.0, centre * centre - a * b))
        return float((centre + sign * root) / b)

    low = bound(top.low, bottom.high, -1.0)
    high = bound(top.high, bottom.low, 1.0)
    return max(0.0, low), high if high > 0 else math.inf
