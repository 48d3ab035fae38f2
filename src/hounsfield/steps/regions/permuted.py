"""Whether the mean of a number differs between groups of patients, tested by permuting the patients.

The statistic is Welch's: the squared distances of the groups' means from their weighted mean, each over its
own variance between patients, with a little of the common variance so that a group without scatter weighs no
more than it knows. Its law is not assumed but taken from the patients dealt to the groups at random, so that
the level holds for a handful of patients and for numbers as lopsided as Dice (Pauly, Brunner & Konietschke,
JRSS B 2015;77:461). A patient with cases in several groups counts once in each, which errs to the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.metrics.heterogeneity import Heterogeneity
from hounsfield.metrics.intervals import MIN_PATIENTS

__all__ = ["permutation_test"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
FIRST = 999
"""Permutations before a difference that is plainly none is left alone."""
LEAST, MOST = 4_999, 40_000
_SHARED = 2.0
_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """The cases of one patient in one group: its group (U,), and the five sums that a statistic needs."""

    group: Whole
    sums: Floats
    groups: int


def permutation_test(
    total: Floats, weight: Floats, patients: Whole, groups: Whole, *, tests: int = 1, seed: int = 0
) -> Heterogeneity:
    """Test whether the groups' means, sums of `total` (N,) over sums of `weight` (N,), are the same.

    A case counts where its weight is above 0 and its group (N,) is not -1; `patients` (N,) and groups are
    whole numbers. Groups of fewer than `MIN_PATIENTS` patients are left out. There are enough permutations
    for a p value that stays small after a correction for so many `tests`. I² is not told.

    >>> values = np.array([0.9, 0.8, 0.85, 0.9, 0.8, 0.5, 0.55, 0.45, 0.5, 0.6])
    >>> found = permutation_test(values, np.ones(10), np.arange(10), np.repeat([0, 1], 5))
    >>> found.groups, 0.005 < found.p_value < 0.015
    (2, True)
    """
    units = _units(total, weight, patients, groups)
    if units.groups < 2:
        reason = f"{units.groups} groups have at least {MIN_PATIENTS} patients; a comparison needs two"
        return Heterogeneity(None, None, None, None, units.groups, reason)
    observed, common = (float(x[0]) for x in _statistics(units.group[None], units))
    rng = np.random.default_rng(seed)
    wanted = min(max(LEAST, 200 * tests), MOST)
    beyond, drawn = 0, 0
    while drawn < wanted:
        count = FIRST if not drawn else min(wanted - drawn, max(1, _AT_ONCE // len(units.group)))
        dealt = rng.permuted(np.tile(units.group, (count, 1)), axis=1)
        beyond += int(np.count_nonzero(_statistics(dealt, units)[0] >= observed * (1 - 1e-9)))
        drawn += count
        if drawn == FIRST and beyond > FIRST // 10:
            break
    return Heterogeneity(observed, (1 + beyond) / (1 + drawn), None, common, units.groups)


def _units(total: Floats, weight: Floats, patients: Whole, groups: Whole) -> _Units:
    known = (groups >= 0) & (weight > 0)
    pairs, place = np.unique(np.column_stack([groups[known], patients[known]]), axis=0, return_inverse=True)
    owners = np.bincount(pairs[:, 0]) if len(pairs) else np.zeros(0, np.int64)
    stays = owners[pairs[:, 0]] >= MIN_PATIENTS if len(pairs) else np.zeros(0, bool)
    t, w = (
        np.bincount(place.ravel(), weights=v[known], minlength=len(pairs))[stays] for v in (total, weight)
    )
    names, group = np.unique(pairs[stays, 0], return_inverse=True)
    sums = np.column_stack([np.ones(len(t)), t, w, t * t, t * w, w * w])
    return _Units(group.astype(np.int64), sums, len(names))


def _statistics(dealt: Whole, units: _Units) -> tuple[Floats, Floats]:
    """Welch's statistic and the common mean (B,) of patients dealt (B, U) to groups."""
    sums = np.stack([(dealt == g).astype(np.float64) @ units.sums for g in range(units.groups)], axis=1)
    n, t, w, tt, tw, ww = np.moveaxis(sums, 2, 0)
    mean = t / w
    scatter = np.maximum(tt - 2 * mean * tw + mean**2 * ww, 0.0)
    shared = scatter.sum(axis=1, keepdims=True) / max(len(units.group) - units.groups, 1)
    variance = n * (scatter + _SHARED * shared) / (n - 1 + _SHARED) / w**2
    inverse = 1 / np.maximum(variance, 1e-18)
    common = (inverse * mean).sum(axis=1) / inverse.sum(axis=1)
    return np.asarray((inverse * (mean - common[:, None]) ** 2).sum(axis=1)), np.asarray(common)
