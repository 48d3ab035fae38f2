"""Nodules of two scans of a patient matched one to one after registration, and how each has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.steps.nodules.growth import Category, Growth, growth_between
from hounsfield.steps.nodules.lungs import Lungs
from hounsfield.steps.nodules.measure import NoduleMeasures
from hounsfield.steps.nodules.register import Alignment, aligned

__all__ = ["GATE_MM", "Examined", "FollowUp", "Followed", "follow_up", "matched"]

Doubles = NDArray[np.float64]
GATE_MM = 15.0
"""Two nodules farther apart than this after registration are not one: about what breath bends."""


@dataclass(frozen=True)
class Examined:
    """One scan: image in HU, lungs, measured nodules, day, and whose it is (compared, never printed)."""

    volume: Volume
    lungs: Lungs
    nodules: Sequence[NoduleMeasures]
    day: date
    patient: str = ""


@dataclass(frozen=True, slots=True)
class Followed:
    """A nodule's place among those of the first and of the second scan (None: not there), and its growth.

    `apart_mm` is how far the two lie from each other after registration.
    """

    first: int | None
    second: int | None
    category: Category
    apart_mm: float | None = None
    growth: Growth | None = None


@dataclass(frozen=True)
class FollowUp:
    """All nodules of both scans, those of the second scan first and in its order, and the days between."""

    nodules: tuple[Followed, ...]
    days: int
    alignment: Alignment


def follow_up(first: Examined, second: Examined, *, gate_mm: float = GATE_MM) -> FollowUp:
    """What became of every nodule between two scans of a patient.

    Raises BadInput for two patients, for scans of one day or in swapped order, and where the registered lungs
    do not agree.
    """
    if first.patient and second.patient and first.patient != second.patient:
        raise BadInput(
            "the two scans bear different patient identifiers; expected two scans of one patient. Choose the"
            " earlier scan of the same patient"
        )
    days = (second.day - first.day).days
    if days < 1:
        raise BadInput(
            f"the second scan was made {days} days after the first; expected a later day. Swap the two"
            " scans, or"
            " correct their dates"
        )
    alignment = aligned(first.volume, first.lungs, second.volume, second.lungs)
    before = alignment.to_second(np.array([n.centre_mm for n in first.nodules]))
    after = np.array([n.centre_mm for n in second.nodules]).reshape(-1, 3)
    pairs = matched(before, after, gate_mm=gate_mm)
    found = [_followed(first, second, pairs.get(n), n, before, after, days) for n in range(len(after))]
    gone = [Followed(n, None, "gone") for n in range(len(before)) if n not in pairs.values()]
    return FollowUp((*found, *gone), days, alignment)


def matched(before_mm: Doubles, after_mm: Doubles, *, gate_mm: float) -> dict[int, int]:
    """Of each place after that is matched, the place before: one to one, as many as the gate lets, the
    nearest.

    >>> before = np.array([[0.0, 0, 0], [50, 0, 0], [90, 0, 0]])
    >>> matched(before, np.array([[48.0, 0, 0], [3, 0, 0], [150, 0, 0]]), gate_mm=10.0)
    {0: 1, 1: 0}
    """
    from scipy.optimize import linear_sum_assignment

    if not len(before_mm) or not len(after_mm):
        return {}
    gaps = np.linalg.norm(after_mm[:, None] - before_mm, axis=2)
    # A match beyond the gate costs more than any set of matches within it.
    barred = gate_mm * (1 + min(gaps.shape))
    rows, columns = linear_sum_assignment(np.where(gaps <= gate_mm, gaps, barred))
    return {int(a): int(b) for a, b in zip(rows, columns, strict=True) if gaps[a, b] <= gate_mm}


def _followed(
    first: Examined,
    second: Examined,
    before: int | None,
    after: int,
    before_mm: Doubles,
    after_mm: Doubles,
    days: int,
) -> Followed:
    if before is None:
        return Followed(None, after, "new")
    growth = growth_between(first.nodules[before], second.nodules[after], days=days)
    apart = float(np.linalg.norm(before_mm[before] - after_mm[after]))
    return Followed(before, after, growth.category, apart, growth)
