"""Every cut of a score and its merit under a rule: on cases as they are, and in resamples of patients.

Cut k calls the k cases of highest score, where equal scores go together: from no one (0) to everyone (K).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray, Resampling
from hounsfield.metrics.ranking import Ranking, rank

__all__ = ["Aim", "BestCuts", "Cuts", "Rule"]

Rule = Literal["youden", "accuracy", "f1", "sensitivity", "specificity", "cost"]

BestCuts = tuple[IntArray, IntArray, FloatArray]
"""In every resample the first and the last best cut (B,), and the rates (B, 2) of the one in the middle."""

_TIE = 1e-12
_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Aim:
    """What a cut is to be best for: a rule, its target, and the prevalence where it will be used."""

    rule: Rule
    target: float | None = None
    prevalence: float | None = None

    def merit(self, true: FloatArray, false: FloatArray) -> FloatArray:
        """How good each cut is, (B, K + 1), from running sums of called positives and negatives.

        >>> true, false = np.array([[0.0, 2.0, 2.0]]), np.array([[0.0, 0.0, 2.0]])
        >>> Aim("youden").merit(true, false).tolist()
        [[0.0, 1.0, 0.0]]
        """
        goal = self.target or 0.0
        if self.prevalence is not None:
            odds = self.prevalence / (1 - self.prevalence)
            true = true * (odds * false[:, -1:] / true[:, -1:])
        found, clear = true[:, -1:], false[:, -1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.rule == "youden":
                return np.asarray(true / found - false / clear)
            if self.rule == "accuracy":
                return np.asarray(true - false)
            if self.rule == "f1":
                return np.asarray(2 * true / (true + false + found))
            if self.rule == "cost":
                return np.asarray(goal * true - false)
            sensitivity, specificity = true / found, 1 - false / clear
            held, other = sensitivity, specificity
            if self.rule == "specificity":
                held, other = specificity, sensitivity
            return np.where(held >= goal - _TIE, other, -1.0)


class Cuts:
    """The cuts of scores (N,) with answers of both classes.

    >>> cuts = Cuts(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    >>> cuts.best(Aim("youden"))
    (0.5, 1.0, 1.0)
    """

    def __init__(self, scores: FloatArray, positive: BoolArray) -> None:
        ranking: Ranking = rank(scores)
        found = ranking.counts(positive)[::-1]
        size = np.diff(ranking.edges)[::-1]
        self.true, self.false = _from_none(found), _from_none(size - found)
        self.edges = _edges(scores[ranking.order[ranking.edges[:-1]]])
        self._order: IntArray = ranking.order[::-1]
        self._last = np.cumsum(size) - 1
        self._found = positive[self._order]

    def best(self, aim: Aim) -> tuple[float, float, float]:
        """The middle of the widest best stretch, and the sensitivity and specificity that it gives here."""
        value, cut = _middle_of_widest(aim.merit(self.true[None], self.false[None])[0], self.edges)
        sensitivity, specificity = (float(rate) for rate in self.rates(np.array([cut]))[0])
        return value, sensitivity, specificity

    def rates(self, cut: IntArray) -> FloatArray:
        """Sensitivity and specificity (B, 2) of cuts (B,) on the cases as they are."""
        return np.stack([self.true[cut] / self.true[-1], 1 - self.false[cut] / self.false[-1]], axis=1)

    def best_merits(self, aim: Aim, draws: Resampling) -> tuple[float, FloatArray]:
        """The merit of the best cut, here and in every resample (B,)."""
        here = float(aim.merit(self.true[None], self.false[None]).max())
        resampled = [merit.max(axis=1) for _, _, merit in self._resampled(aim, draws)]
        return here, np.concatenate(resampled)

    def best_cuts(self, aim: Aim, draws: Resampling) -> BestCuts:
        """In every resample the first and the last of the best cuts (B,), and the rates (B, 2) of the middle.

        A resample leaves cases out, so that cuts tie. Resamples that lost a class are left out.
        """
        first, last, rates = [], [], []
        for true, false, merit in self._resampled(aim, draws):
            high = merit.argmax(axis=1)
            low = merit.shape[1] - 1 - merit[:, ::-1].argmax(axis=1)
            row, middle = np.arange(len(merit)), (high + low) // 2
            rates.append(
                np.stack([true[row, middle] / true[:, -1], 1 - false[row, middle] / false[:, -1]], axis=1)
            )
            first.append(high)
            last.append(low)
        return np.concatenate(first), np.concatenate(last), np.concatenate(rates)

    def _resampled(self, aim: Aim, draws: Resampling) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        """Called positives, called negatives and merit (b, K + 1) of every cut, some resamples at a time."""
        block = draws.block[self._order]
        step = max(1, _AT_ONCE // len(block))
        for start in range(0, len(draws.counts), step):
            weight = draws.counts[start : start + step][:, block]
            true = np.cumsum(weight * self._found, axis=1)[:, self._last]
            false = np.cumsum(weight, axis=1)[:, self._last] - true
            both = (true[:, -1] > 0) & (false[:, -1] > 0)
            nothing = np.zeros((int(both.sum()), 1))
            true, false = np.hstack([nothing, true[both]]), np.hstack([nothing, false[both]])
            yield true, false, aim.merit(true, false)


def _edges(ascending: FloatArray) -> FloatArray:
    """Cut k of K distinct scores has the thresholds in (edges[k + 1], edges[k]]."""
    above, below = np.nextafter(ascending[-1], np.inf), np.nextafter(ascending[0], -np.inf)
    return np.concatenate([[above], ascending[::-1], [below]])


def _from_none(counts: FloatArray) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum(counts)])


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
