"""Scores sorted once, with their ties: what every ranking metric starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray

__all__ = ["Ranking", "rank"]

_RADIX_FROM = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """N cases in ascending order of score, in G groups of equal score.

    `order` (N,) are case numbers; `edges` (G + 1,) are where the groups begin, and the end.
    """

    order: IntArray
    edges: IntArray

    @property
    def tied(self) -> bool:
        """Whether any two cases share a score."""
        return len(self.edges) <= len(self.order)

    def counts(self, member: BoolArray) -> FloatArray:
        """How many of the cases in the (N,) mask lie in each group: (G,).

        >>> rank(np.array([0.2, 0.9, 0.2])).counts(np.array([True, True, False])).tolist()
        [1.0, 1.0]
        """
        marked = member[self.order]
        if not self.tied:
            return marked.astype(np.float64)
        running = np.concatenate([[0], np.cumsum(marked)])
        return np.diff(running[self.edges]).astype(np.float64)

    def to_cases(self, of_group: FloatArray) -> FloatArray:
        """Spread one value per group over its cases, in the cases' own order: (N,).

        >>> rank(np.array([0.2, 0.9, 0.2])).to_cases(np.array([5.0, 7.0])).tolist()
        [5.0, 7.0, 5.0]
        """
        spread = np.repeat(of_group, np.diff(self.edges)) if self.tied else of_group
        cases = np.empty(len(self.order))
        cases[self.order] = spread
        return cases


def rank(scores: FloatArray) -> Ranking:
    """Sort finite scores (N,) once.

    >>> rank(np.array([0.5, 0.1, 0.5])).edges.tolist()
    [0, 1, 3]
    """
    order = _ascending(scores)
    ordered = scores[order]
    fresh = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    edges = np.concatenate([[0], fresh, [len(scores)]]).astype(np.intp, copy=False)
    return Ranking(order, edges)


def _ascending(scores: FloatArray) -> IntArray:
    if len(scores) < _RADIX_FROM:
        return np.argsort(scores, kind="stable")
    single = scores.astype(np.float32)
    if not np.array_equal(single, scores):
        return np.argsort(scores)
    # Networks score in single precision: two radix passes over 16 bits are three times quicker.
    # Adding zero turns -0.0 into 0.0; the mask makes the bits of negative numbers ascend.
    bits = (single + np.float32(0)).view(np.uint32)
    keys: npt.NDArray[np.uint32] = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    first = np.argsort((keys & np.uint32(0xFFFF)).astype(np.uint16), kind="stable")
    then = np.argsort((keys >> np.uint32(16)).astype(np.uint16)[first], kind="stable")
    return np.asarray(first[then], dtype=np.intp)
