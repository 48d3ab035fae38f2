"""Whether acting on a score does more good than acting on everyone or on no one: decision curves.

Net benefit at a threshold probability t is the share of true positives less the share of false positives
times t / (1 - t): how many needless actions one finding is worth (Vickers & Elkin, Med Decis Making
2006;26:565). At a stated prevalence the shares follow from sensitivity and specificity. Intervals are
MOVER's of the two rates' Wilson intervals; the band holds at all thresholds at once, its width taken from
the largest deviation of each resample of patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.inputs import (
    check_binary_answers,
    check_probabilities,
    check_same_length,
    check_scores,
)
from hounsfield.metrics.intervals import MIN_CASES, Estimate, critical_value, shortage
from hounsfield.metrics.measured import Measured, combine, proportion
from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray, Patients, Resampling, draw
from hounsfield.metrics.predictive import check_prevalence

__all__ = ["DecisionCurve", "decision_curve", "net_benefit"]


@dataclass(frozen=True, slots=True, eq=False)
class DecisionCurve:
    """Net benefit of the model at each threshold (K,), with 95 % intervals and a band; all arrays (K,).

    `low` and `high` hold at one threshold, `band_low` and `band_high` at all at once. `treat_all` is the
    net benefit of acting on everyone; acting on no one has 0. `gain` is the model's over the better of the
    two, `gain_low` and `gain_high` its interval. Where there are too few cases every array is empty, with
    a `reason`.
    """

    threshold: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray
    band_low: FloatArray
    band_high: FloatArray
    treat_all: FloatArray
    gain: FloatArray
    gain_low: FloatArray
    gain_high: FloatArray
    n: int
    n_patients: int
    prevalence: float | None
    reason: str = ""


def net_benefit(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    threshold: float,
    prevalence: float | None = None,
    patients: npt.ArrayLike | Patients | None = None,
) -> Estimate:
    """The net benefit of acting on probabilities (N,) at or above one threshold probability.

    `prevalence` is how common the finding is where the model will be used, if not as in these cases.

    >>> scores, answers = [0.1] * 40 + [0.8] * 60, [0] * 38 + [1] * 2 + [0] * 20 + [1] * 40
    >>> round(net_benefit(scores, answers, threshold=0.2).value, 3)
    0.35
    """
    values, positive, owners = _checked(scores, answers, patients, prevalence)
    _check_thresholds(np.array([threshold]))
    reason = _shortage(positive, owners)
    if reason:
        return Estimate.refuse("net_benefit", reason, n=len(values), n_patients=owners.count)
    return _model(values >= threshold, positive, owners, threshold, prevalence).estimate("net_benefit")


def decision_curve(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    thresholds: npt.ArrayLike | None = None,
    prevalence: float | None = None,
    patients: npt.ArrayLike | Patients | None = None,
    resampling: Resampling | None = None,
) -> DecisionCurve:
    """The decision curve of probabilities (N,) for answers 0 or 1 (N,), at rising thresholds (K,).

    Without `thresholds` they are .01, .02, … .99; a report should show those at which somebody would
    hesitate. Raises BadInput for thresholds outside (0, 1).

    >>> scores, answers = [0.1] * 40 + [0.8] * 60, [0] * 38 + [1] * 2 + [0] * 20 + [1] * 40
    >>> curve = decision_curve(scores, answers, thresholds=[0.1, 0.5])
    >>> curve.value.round(3).tolist(), curve.treat_all.round(3).tolist()
    ([0.356, 0.2], [0.356, -0.16])
    """
    values, positive, owners = _checked(scores, answers, patients, prevalence)
    cuts = np.linspace(0.01, 0.99, 99) if thresholds is None else np.asarray(thresholds, np.float64)
    _check_thresholds(cuts)
    reason = _shortage(positive, owners)
    if reason:
        none = np.empty(0)
        return DecisionCurve(
            none, none, none, none, none, none, none, none, none, none,
            len(values), owners.count, prevalence, reason,
        )  # fmt: skip
    draws = resampling or draw(owners, cases=len(values))
    blocks = _blocks(draws)
    model, gain, treat_all, pulls = [], [], [], []
    for cut in cuts:
        called = values >= cut
        part, everyone = (
            _model(called, positive, owners, cut, prevalence),
            _everyone(positive, cut, prevalence),
        )
        gain.append(_over_all(called, positive, owners, cut, prevalence) if everyone > 0 else part)
        treat_all.append(everyone)
        pulls.append(_standardised(part, blocks, draws))
        model.append(replace(part, influence=None))
    value, low, high = (
        np.array([getattr(part, side) for part in model]) for side in ("value", "low", "high")
    )
    wider = _simultaneous(np.stack(pulls, axis=1), draws) / critical_value()
    over, over_low, over_high = (
        np.array([getattr(part, side) for part in gain]) for side in ("value", "low", "high")
    )
    band = value - wider * (value - low), value + wider * (high - value)
    return DecisionCurve(
        cuts, value, low, high, *band, np.array(treat_all), over, over_low, over_high,
        len(values), owners.count, prevalence,
    )  # fmt: skip


def _model(
    called: BoolArray, positive: BoolArray, owners: Patients, cut: float, prevalence: float | None
) -> Measured:
    return _weighed(called & positive, called & ~positive, positive, owners, -cut / (1 - cut), prevalence)


def _over_all(
    called: BoolArray, positive: BoolArray, owners: Patients, cut: float, prevalence: float | None
) -> Measured:
    """The model less acting on everyone: needless actions spared, less findings missed."""
    missed, spared = ~called & positive, ~called & ~positive
    part = _weighed(missed, spared, positive, owners, -cut / (1 - cut), prevalence)
    pull = None if part.influence is None else -part.influence
    return Measured(-part.value, -part.high, -part.low, part.n, part.n_patients, part.method, pull)


def _weighed(
    of_found: BoolArray,
    of_clear: BoolArray,
    positive: BoolArray,
    owners: Patients,
    worth: float,
    prevalence: float | None,
) -> Measured:
    """One share of all cases plus `worth` times another, each within its class if the prevalence is given."""
    everyone = np.ones(len(positive), np.bool_)
    members = (everyone, everyone) if prevalence is None else (positive, ~positive)
    weights = (1.0, worth) if prevalence is None else (prevalence, (1 - prevalence) * worth)
    parts = [
        proportion(hits, among, owners) for hits, among in zip((of_found, of_clear), members, strict=True)
    ]
    return combine(parts, weights, n=len(positive), n_patients=owners.count)


def _everyone(positive: BoolArray, cut: float, prevalence: float | None) -> float:
    share = float(positive.mean()) if prevalence is None else prevalence
    return share - (1 - share) * cut / (1 - cut)


def _simultaneous(pulls: FloatArray, draws: Resampling) -> float:
    """The critical value of the largest standardised deviation over all thresholds."""
    off = np.abs((draws.counts - 1) @ pulls).max(axis=1)
    return max(critical_value(), float(np.percentile(off, 95)))


def _standardised(part: Measured, blocks: IntArray, draws: Resampling) -> FloatArray:
    """Patients' pulls over their size, summed within the blocks (M,) that are resampled."""
    pull = np.zeros(len(blocks)) if part.influence is None else part.influence
    size = float(np.sqrt(pull @ pull))
    return np.asarray(np.bincount(blocks, pull / size if size else pull, draws.counts.shape[1]), np.float64)


def _blocks(draws: Resampling) -> IntArray:
    """The block of each patient."""
    blocks = np.zeros(draws.patients.count, np.intp)
    blocks[draws.patients.code] = draws.block
    return blocks


def _checked(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    patients: npt.ArrayLike | Patients | None,
    prevalence: float | None,
) -> tuple[FloatArray, BoolArray, Patients]:
    if prevalence is not None:
        check_prevalence(prevalence)
    values, positive = check_probabilities(check_scores(scores)), check_binary_answers(answers)
    check_same_length(values, positive)
    return values, positive, Patients.of(patients, cases=len(values))


def _check_thresholds(cuts: FloatArray) -> None:
    if cuts.ndim != 1 or not len(cuts) or not ((cuts > 0) & (cuts < 1)).all():
        raise BadInput("a threshold probability is not above 0 and below 1; expected a list of such.")


def _shortage(positive: BoolArray, owners: Patients) -> str:
    for mask, what in ((positive, "with the finding"), (~positive, "without the finding")):
        n = int(np.count_nonzero(mask))
        reason = shortage(n=n, n_patients=owners.among(mask), least=MIN_CASES, what=what)
        if reason:
            return reason
    return ""
