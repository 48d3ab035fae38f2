"""Whether two volumes that look alike from above look alike from the side too.

A volume is first seen through its mean along k, which of two chests of one build, as of two heads, may agree.
A copy agrees from every side: its mean along j, and along i, is looked at in the frame in which the pair was
found (a transposed copy's j is the other's i), upside down or not, cropped or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.steps.same_picture.candidates import Candidates
from hounsfield.steps.same_picture.confirmation import confirmed
from hounsfield.steps.same_picture.looks import SIDE, plane_of
from hounsfield.steps.same_picture.structure import common_of

__all__ = ["LEAST_SLICES", "SIDES", "alike_from_the_sides", "sides_of"]

SIDES = 2
LEAST_SLICES = 16
"""A volume of fewer slices is not looked at across them: its reformatted planes are no pictures."""
TRANSPOSED = 4
"""From this number on, a turn of TURNS exchanges j and i."""
SLACK = 0.1
"""By what the limits are lower than for a picture alone: the pair agrees from above already."""


def sides_of(data: NDArray[Any]) -> NDArray[np.float32]:
    """The mean of a volume (K, J, I) along j and along i, as planes (SIDES, SIDE, SIDE); noughts where it has
    too few slices.
    """
    if len(data) < LEAST_SLICES:
        return np.zeros((SIDES, SIDE, SIDE), np.float32)
    return np.stack([plane_of(data.mean(1)), plane_of(data.mean(2))])


def alike_from_the_sides(a: NDArray[Any], b: NDArray[Any], pairs: Candidates) -> NDArray[np.bool_]:
    """Of pairs of rows of `a` and `b` (N, SIDES, SIDE, SIDE), which agree from both sides.

    A pair's turn says how the second lies on the first seen from above. One without sides agrees.
    """
    agree = np.ones(len(pairs), np.bool_)
    shown = [_shown(x) for x in (a, b)]
    known = np.flatnonzero(shown[0][pairs.first] & shown[1][pairs.second])
    if not len(known):
        return agree
    every = np.concatenate([x[has] for x, has in zip((a, b), shown, strict=True)])
    for side in range(SIDES):
        found = np.zeros(len(pairs), np.bool_)
        common = common_of(every[:, side])
        for over in range(SIDES):
            rows = known[(pairs.turn[known] >= TRANSPOSED) == (over != side)]
            if len(rows):
                likely = _ways(pairs.some(rows), over)
                near = confirmed(a[:, side], b[:, over], likely, common, slack=SLACK)
                found[rows[[one.row % len(rows) for one in near]]] = True
        agree[known] &= found[known]
    return agree


def _shown(sides: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(sides.reshape(len(sides), -1).any(1), np.bool_)


def _ways(pairs: Candidates, over: int) -> Candidates:
    """Each pair as it lies, and with the slices in the other order.

    The columns of a mean along j are i, which a turn mirrors by its first bit; those of one along i are j.
    """
    mirrored = (pairs.turn >> over) & 1
    nought = np.zeros(2 * len(pairs), np.intp)
    first, second = np.tile(pairs.first, 2), np.tile(pairs.second, 2)
    turns = np.concatenate([mirrored, mirrored + 2])
    return Candidates(first, second, turns, nought, nought.astype(np.float32))
