"""Which of the pairs that were worth a close look are one picture."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hounsfield.steps.compute import available_cores
from hounsfield.steps.same_picture.candidates import Candidates
from hounsfield.steps.same_picture.looks import CROPS, turned
from hounsfield.steps.same_picture.registration import Reduced, laid_over, near, reduced, seen_alike
from hounsfield.steps.same_picture.structure import Common, correlation, telling

__all__ = ["LAID_LIMIT", "LIMIT", "Confirmed", "confirmed"]

LIMIT = 0.8
"""Agreement of the fine structure from which images that lie on each other as they are, are one picture."""
LAID_LIMIT = 0.88
"""The same after one was laid over the other, which brings strangers nearer too."""
SURE, ALLOWANCE = 0.85, 0.1
"""Beyond this likeness of the edges both limits are lower by what it is beyond it, at most by the second
number.
"""
FEW_LIMIT = 0.95
"""Both, where too few images are there to say what they have in common."""
NEAR_LIMIT = 0.8
"""Agreement at half size from which a pair is laid over each other in full."""
LEAST_SHOWN = 0.3
"""Share of the plane that must tell something."""
FIRST_LIMIT = 0.25
"""Agreement of the fine structure as it was laid at half size, from which a pair is laid with care,
where there are many."""
MANY = 1000
CHUNK = 256

Planes = NDArray[np.float32]


class Confirmed(NamedTuple):
    """A candidate by its place: the agreement (negative: inverted), whether it was laid, whether it is
    cropped.
    """

    row: int
    agreement: float
    laid: bool
    cropped: bool

    @property
    def words(self) -> list[str]:
        """What was done to the copy beside turning."""
        return ["cropped"] * self.cropped + ["inverted"] * (self.agreement < 0)


class _Limits(NamedTuple):
    direct: float
    laid: float
    allowance: float


class _Set:
    """The planes (N, SIDE, SIDE) of a set, and their structure, of which only the rows that are asked for are
    made.
    """

    def __init__(self, planes: NDArray[Any], rows: NDArray[np.intp], common: Common) -> None:
        self._rows, self._planes = np.unique(rows), planes
        count, side = len(self._rows), planes.shape[1]
        self._structure = np.empty((count, side, side), np.float16)
        self._telling = np.empty((count, side, side), np.bool_)
        self._reduced = np.empty((2, count, side // 2, side // 2), np.float16)
        for start in range(0, count, CHUNK):
            part = slice(start, start + CHUNK)
            chosen = self.planes(self._rows[part])
            self._structure[part] = common.without(chosen)
            self._telling[part] = telling(chosen)
            small = reduced(chosen)
            self._reduced[0, part], self._reduced[1, part] = small.soft, small.fine

    def planes(self, rows: NDArray[np.intp]) -> Planes:
        return self._planes[rows].astype(np.float32)

    def structure(self, rows: NDArray[np.intp], turns: NDArray[np.intp]) -> tuple[Planes, NDArray[np.bool_]]:
        """The fine structure and where it tells anything."""
        places = np.searchsorted(self._rows, rows)
        structure, tells = _turned(self._structure[places], turns), _turned(self._telling[places], turns)
        return structure.astype(np.float32), tells

    def reduced(self, rows: NDArray[np.intp], turns: NDArray[np.intp]) -> Reduced:
        soft, fine = self._reduced[:, np.searchsorted(self._rows, rows)].astype(np.float32)
        return Reduced(_turned(soft, turns), _turned(fine, turns))


def confirmed(
    a: NDArray[Any], b: NDArray[Any], likely: Candidates, common: Common, *, slack: float = 0.0
) -> list[Confirmed]:
    """The candidates between planes `a` and `b` (N, SIDE, SIDE) that are one picture.

    `slack` lowers the limits, to see how near strangers come.
    """
    left, right = _Set(a, likely.first, common), _Set(b, likely.second, common)
    limits = _Limits(LIMIT, LAID_LIMIT, ALLOWANCE) if common.is_known else _Limits(FEW_LIMIT, FEW_LIMIT, 0.0)
    limits = _Limits(limits.direct - slack, limits.laid - slack, limits.allowance)
    first_look = len(likely) > MANY

    def judged(start: int) -> list[Confirmed]:
        rows = np.arange(start, min(start + CHUNK, len(likely)))
        some = likely.some(rows)
        score = _agreement(left.structure(some.first, some.turn * 0), right.structure(some.second, some.turn))
        direct = np.abs(score) >= limits.direct - _allowance(some, limits)
        found = [Confirmed(start + int(k), float(score[k]), False, False) for k in np.flatnonzero(direct)]
        rest = np.flatnonzero(~direct)
        laid = _laid(left, right, some.some(rest), common, limits, first_look=first_look)
        return found + [c._replace(row=start + int(rest[c.row])) for c in laid]

    with ThreadPoolExecutor(available_cores()) as pool:
        return [c for chunk in pool.map(judged, range(0, len(likely), CHUNK)) for c in chunk]


def _laid(
    left: _Set, right: _Set, some: Candidates, common: Common, limits: _Limits, *, first_look: bool
) -> list[Confirmed]:
    """Of pairs that do not agree as they are, those that do when one is laid over the other."""
    if not len(some):
        return []
    scale = np.array([1.0, CROPS[1], 1 / CROPS[1]], np.float32)[some.crop]
    none = np.zeros(len(some), np.intp)
    score, place = near(left.reduced(some.first, none), right.reduced(some.second, some.turn), scale=scale)
    rest = np.flatnonzero(np.abs(score) >= NEAR_LIMIT)
    if first_look:
        rest = rest[_first_sight(left, right, some.some(rest), place[rest]) >= FIRST_LIMIT]
    if not len(rest):
        return []
    few = some.some(rest)
    structure = left.structure(few.first, few.turn * 0)[0], right.structure(few.second, few.turn)[0]
    sign = np.sign(score[rest]).astype(np.float32)
    planes = left.planes(few.first), _turned(right.planes(few.second), few.turn)
    score, place = seen_alike(*planes, structure, place[rest], common, sign=sign)
    moved = (np.abs(place[:, [0, 2]] - 1).max(1) > 0.02) | (np.abs(place[:, [1, 3]]).max(1) > 1)
    good = np.flatnonzero(np.abs(score) >= limits.laid - _allowance(few, limits))
    return [Confirmed(int(rest[k]), float(score[k]), True, bool(moved[k])) for k in good]


def _first_sight(
    left: _Set, right: _Set, some: Candidates, place: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The agreement of the fine structure as it is, one laid over the other."""
    if not len(some):
        return np.zeros(0, np.float32)
    second, inside = laid_over(right.structure(some.second, some.turn)[0], place)
    return np.abs(correlation(left.structure(some.first, some.turn * 0)[0], second, inside))


def _allowance(some: Candidates, limits: _Limits) -> NDArray[np.float64]:
    return np.clip(some.alike.astype(np.float64) - SURE, 0, limits.allowance)


def _agreement(
    a: tuple[Planes, NDArray[np.bool_]], b: tuple[Planes, NDArray[np.bool_]]
) -> NDArray[np.float32]:
    mask = (a[1] & b[1]).astype(np.float32)
    return np.where(mask.mean((1, 2)) < LEAST_SHOWN, 0, correlation(a[0], b[0], mask))


def _turned(planes: NDArray[Any], turns: NDArray[np.intp]) -> NDArray[Any]:
    return np.stack([turned(p, int(t)) for p, t in zip(planes, turns, strict=True)])
