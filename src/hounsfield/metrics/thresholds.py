"""Where to cut a score: six rules, each with the interval that patients' resampling gives.

A case is called when its score is at or above the threshold. Every threshold between two
neighbouring scores gives the same calls; the middle of the widest best stretch is taken, so that
a rounding of scores moves no call. The place of a maximum is a slow and skewed statistic, for
which the bootstrap is approximate: read the interval as how far the cut wanders, not as a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.inputs import check_binary_answers, check_same_length, check_scores
from hounsfield.metrics.intervals import MIN_CASES, shortage
from hounsfield.metrics.patients import BoolArray, FloatArray, Patients, Resampling, draw
from hounsfield.metrics.ranking import Ranking, rank

__all__ = ["Rule", "Threshold", "choose_threshold"]

Rule = Literal["youden", "accuracy", "f1", "sensitivity", "specificity", "cost"]
_RULES = ("youden", "accuracy", "f1", "sensitivity", "specificity", "cost")
_TIE = 1e-12


@dataclass(frozen=True, slots=True)
class Threshold:
    """The chosen cut, its 95 % interval, and what it gives on the cases that chose it.

    `sensitivity` and `specificity` are apparent: they flatter, and belong in no report. `low` and
    `high` are None, with a `reason`, when there are too few cases for an interval.
    """

    value: float
    rule: Rule
    low: float | None
    high: float | None
    sensitivity: float
    specificity: float
    n: int
    n_patients: int
    reason: str = ""


def choose_threshold(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    rule: Rule = "youden",
    target: float | None = None,
    patients: npt.ArrayLike | Patients | None = None,
    resamples: int = 1000,
    seed: int | np.random.Generator = 0,
) -> Threshold:
    """The threshold of scores (N,) that is best for the answers 0 or 1 (N,) by a rule.

    * youden: sensitivity + specificity - 1 (Youden, Cancer 1950;3:32);
    * accuracy, f1: that metric;
    * sensitivity, specificity: at least `target` of it, and the most of the other;
    * cost: the least false positives + `target` x false negatives.

    Raises BadInput for one class only, an unknown rule, or a target that is missing or misplaced.

    >>> cut = choose_threshold([0.1, 0.2, 0.3, 0.7, 0.8, 0.9] * 4, [0, 0, 0, 1, 1, 1] * 4)
    >>> cut.value, cut.sensitivity, cut.specificity
    (0.5, 1.0, 1.0)
    """
    values, positive = check_scores(scores), check_binary_answers(answers)
    check_same_length(values, positive)
    _check_rule(rule, target)
    if positive.all() or not positive.any():
        raise BadInput(
            f"all {len(positive)} answers are {int(positive[0])}; "
            "expected cases with and without the finding to choose a threshold."
        )
    owners = Patients.of(patients, cases=len(values))
    ranking = rank(values)
    edges = _edges(values[ranking.order[ranking.edges[:-1]]])
    found = ranking.counts(positive)[::-1]
    true = _from_none(found)[None]
    false = _from_none(np.diff(ranking.edges)[::-1] - found)[None]
    value, cut = _middle_of_widest(_merit(true, false, rule, target)[0], edges)
    low, high, reason = None, None, _shortage(positive, owners)
    if not reason:
        draws = draw(owners, cases=len(values), resamples=resamples, seed=seed)
        chosen = _resampled(ranking, positive, draws, edges, rule, target)
        low, high = (float(x) for x in np.percentile(chosen, [2.5, 97.5]))
        low, high = min(low, value), max(high, value)
    sensitivity = float(true[0, cut] / true[0, -1])
    specificity = float(1 - false[0, cut] / false[0, -1])
    return Threshold(value, rule, low, high, sensitivity, specificity, len(values), owners.count, reason)


def _check_rule(rule: str, target: float | None) -> None:
    if rule not in _RULES:
        raise BadInput(f'the rule is "{rule}"; expected one of {", ".join(_RULES)}.')
    if rule in ("sensitivity", "specificity"):
        if target is None or not 0 < target <= 1:
            raise BadInput(f"the target {rule} is {target}; expected a number above 0, at most 1.")
    elif rule == "cost":
        if target is None or not target > 0:
            raise BadInput(
                f"the target is {target}; expected how many false positives one false negative "
                "costs, a number above 0."
            )
    elif target is not None:
        raise BadInput(f'the rule "{rule}" takes no target; leave it out.')


def _edges(ascending: FloatArray) -> FloatArray:
    """Cut k calls the k highest of K distinct scores: thresholds in (edges[k + 1], edges[k]]."""
    above, below = np.nextafter(ascending[-1], np.inf), np.nextafter(ascending[0], -np.inf)
    return np.concatenate([[above], ascending[::-1], [below]])


def _from_none(counts: FloatArray) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum(counts)])


def _merit(true: FloatArray, false: FloatArray, rule: Rule, target: float | None) -> FloatArray:
    """How good each cut is, (B, K + 1), from running sums of called positives and negatives."""
    found, clear = true[:, -1:], false[:, -1:]
    goal = 0.0 if target is None else target
    with np.errstate(divide="ignore", invalid="ignore"):
        if rule == "youden":
            return np.asarray(true / found - false / clear)
        if rule == "accuracy":
            return np.asarray(true - false)
        if rule == "f1":
            return np.asarray(2 * true / (true + false + found))
        if rule == "cost":
            return np.asarray(goal * true - false)
        sensitivity, specificity = true / found, 1 - false / clear
        held, other = sensitivity, specificity
        if rule == "specificity":
            held, other = specificity, sensitivity
        return np.where(held >= goal - _TIE, other, -1.0)


def _middle_of_widest(merit: FloatArray, edges: FloatArray) -> tuple[float, int]:
    best = merit >= merit.max() - _TIE
    steps = np.diff(np.concatenate([[0], best.astype(np.int8), [0]]))
    first, last = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1
    widest = int(np.argmax(edges[first] - edges[last + 1]))
    low, high = edges[last[widest] + 1], edges[first[widest]]
    middle = low + (high - low) / 2
    # Between neighbouring floats the middle is the lower one, which would call one case more.
    value = float(middle if middle > low else high)
    return value, int(np.count_nonzero(edges[1:-1] >= value))


def _resampled(
    ranking: Ranking,
    positive: BoolArray,
    draws: Resampling,
    edges: FloatArray,
    rule: Rule,
    target: float | None,
) -> FloatArray:
    """The best cut's threshold in every resample: (B,), without those that lost a class."""
    order = ranking.order[::-1]
    block, is_found = draws.block[order], positive[order]
    last = np.cumsum(np.diff(ranking.edges)[::-1]) - 1
    middles = (edges[1:] + edges[:-1]) / 2
    chosen = []
    step = max(1, 1_000_000 // len(order))
    for start in range(0, len(draws.counts), step):
        weight = draws.counts[start : start + step][:, block]
        true = np.cumsum(weight * is_found, axis=1)[:, last]
        false = np.cumsum(weight, axis=1)[:, last] - true
        both = (true[:, -1] > 0) & (false[:, -1] > 0)
        nothing = np.zeros((int(both.sum()), 1))
        merit = _merit(np.hstack([nothing, true[both]]), np.hstack([nothing, false[both]]), rule, target)
        # A resample leaves cases out, so that cuts tie: the middle of the first and the last.
        high = merit.argmax(axis=1)
        low = merit.shape[1] - 1 - merit[:, ::-1].argmax(axis=1)
        chosen.append((middles[high] + middles[low]) / 2)
    return np.concatenate(chosen)


def _shortage(positive: BoolArray, patients: Patients) -> str:
    for mask in (positive, ~positive):
        n = int(np.count_nonzero(mask))
        reason = shortage(n=n, n_patients=patients.among(mask), least=MIN_CASES, what="of a class")
        if reason:
            return reason.replace("a number", "an interval")
    return ""
