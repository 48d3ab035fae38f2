"""The course of more than two visits: every pair has its say, and a line is laid through them by least
squares.

Each interval measured is a difference between the places of two visits; the places that fit all of them best,
weighted by how sure each is, are the course, and its slope is the change a year.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput

__all__ = ["Line", "line_through", "places_of"]

Doubles = NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Line:
    """The change a year of the logarithm of volume, its deviation, and how many visits it stands on."""

    per_year: float
    spread: float
    visits: int


def places_of(
    count: int, pairs: Sequence[Pair], changes: Sequence[float], spreads: Sequence[float]
) -> tuple[Doubles, Doubles]:
    """Each visit's place (the first is 0), and the covariance of those after the first.

    `changes` of the logarithm of volume from the first to the second visit of each pair, with their
    deviations.

    >>> places, _ = places_of(3, [(0, 1), (1, 2), (0, 2)], [-0.01, -0.01, -0.02], [0.001] * 3)
    >>> [round(float(p), 6) for p in places]
    [0.0, -0.01, -0.02]
    """
    design = np.zeros((len(pairs), count))
    for row, (a, b) in zip(design, pairs, strict=True):
        row[a], row[b] = -1.0, 1.0
    weight = 1.0 / np.maximum(np.array(spreads, float), 1e-6)
    left = design[:, 1:] * weight[:, None]
    if np.linalg.matrix_rank(left) < count - 1:
        raise BadInput(
            "the intervals between visits do not hang together; expected each visit in one of them"
        )
    found = np.linalg.lstsq(left, np.array(changes, float) * weight, rcond=None)[0]
    # Intervals share their visits, so that more pairs than visits - 1 add little that is new.
    covariance = np.linalg.inv(left.T @ left) * max(1.0, len(pairs) / max(count - 1, 1))
    return np.concatenate([[0.0], found]), covariance


def line_through(years: Sequence[float], places: Doubles, spread: float) -> Line | None:
    """The slope through the visits' places, each of which strays by `spread`; None where all are of one day.

    >>> line = line_through((0.0, 1.0, 2.0), np.array([0.0, -0.01, -0.02]), 0.001)
    >>> round(line.per_year, 6), round(line.spread, 6)
    (-0.01, 0.000707)
    """
    at = np.array(years, float)
    away = at - at.mean()
    size = float(away @ away)
    if size < 1e-4:
        return None
    slope = float(away @ (places - places.mean()) / size)
    return Line(slope, float(spread / np.sqrt(size)), len(at))
