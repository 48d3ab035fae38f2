"""How likely chance makes an association: tests by patient, effect sizes, and Holm's correction.

The unit is a patient within a class: each patient enters once for each class that it has, so that many images
of a patient do not count as many, and a patient with images of both classes still says something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.metrics.discrimination import area

__all__ = [
    "SMALL",
    "Ranked",
    "Tabled",
    "counts_differ",
    "holm",
    "ranks_differ",
    "tabled",
    "unit_table",
    "units",
]

TABLES = 20_000
SMALL = 5


@dataclass(frozen=True, slots=True)
class Tabled:
    """A two-way table's bias-corrected Cramér's V (Bergsma, J Korean Stat Soc 2013;42:323), its p and its
    units.
    """

    v: float
    p: float
    n: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """How a number differs between classes: the largest area under the ROC curve of one against the rest, p,
    units.

    `best` is the class that differs most and `higher` whether its values are the higher ones.
    """

    auroc: float
    p: float
    n: int
    best: int = 0
    higher: bool = True


def units(patients: NDArray[np.intp], classes: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The unit of each case (N,), -1 where its class is unknown (-1), and the class of each unit.

    >>> unit, of = units(np.array([0, 0, 0, 1]), np.array([1, 1, 0, -1]))
    >>> unit.tolist(), of.tolist()
    ([1, 1, 0, -1], [0, 1])
    """
    known = np.flatnonzero(classes >= 0)
    pairs = np.stack([patients[known], classes[known]], 1)
    rows, inverse = np.unique(pairs, axis=0, return_inverse=True)
    found = np.full(len(classes), -1, np.intp)
    found[known] = inverse.reshape(-1)
    return found, rows[:, 1].astype(np.intp) if len(rows) else np.zeros(0, np.intp)


def unit_table(
    values: Sequence[str], patients: NDArray[np.intp], classes: NDArray[np.intp]
) -> tuple[list[str], list[int], NDArray[np.int64]]:
    """Known values, classes, and how many units have both; a unit counts with its most frequent value.

    Where two are as frequent, as the sides are in a patient of whom both are imaged, a seeded draw decides:
    the first by name would make all who are healthy on both sides left-sided.

    >>> unit_table(["A", "A", "B", ""], np.array([0, 0, 1, 2]), np.array([1, 1, 0, 0]))[2].tolist()
    [[0, 1], [1, 0]]
    """
    named = np.array(values, str)
    unit, of = units(patients, np.where(named != "", classes, -1))
    known = unit >= 0
    names, codes = np.unique(named[known], return_inverse=True)
    tally = np.zeros((len(of), len(names)), np.int64)
    np.add.at(tally, (unit[known], codes), 1)
    kinds = sorted(set(of.tolist()))
    table = np.zeros((len(names), len(kinds)), np.int64)
    if len(of):
        usual = (tally + 0.5 * np.random.default_rng(0).random(tally.shape)).argmax(1)
        np.add.at(table, (usual, np.searchsorted(kinds, of)), 1)
    kept = table.sum(1) > 0
    return [str(n) for n, k in zip(names, kept, strict=True) if k], kinds, table[kept]


def tabled(table: NDArray[np.int64], *, seed: int = 0) -> Tabled:
    """Whether rows and columns of a table (R, C) of units belong together.

    Pearson's chi-square; where a cell expects fewer than 5, its distribution over 20,000 tables with the same
    margins, which is what permuting patients gives (Patefield, Appl Stat 1981;30:91). A p below what so many
    tables can show is the chi-square distribution's.

    >>> found = tabled(np.array([[50, 0], [0, 50]]))
    >>> round(found.v, 2), found.p < 1e-10, tabled(np.array([[5, 5], [5, 5]])).v
    (1.0, True, 0.0)
    """
    from scipy.stats import chi2

    n = int(table.sum())
    if min(table.shape) < 2 or n < 2:
        return Tabled(0.0, 1.0, n)
    expected = np.outer(table.sum(1), table.sum(0)) / n
    statistic = float(((table - expected) ** 2 / expected).sum())
    r, c = table.shape
    p = float(chi2.sf(statistic, (r - 1) * (c - 1)))
    if expected.min() < SMALL and p < 0.1:
        p = _by_tables(table, expected, statistic, p, seed)
    phi = max(0.0, statistic / n - (r - 1) * (c - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return Tabled(float(np.sqrt(min(1.0, phi / max(least, 1e-12)))), p, n)


def _by_tables(
    table: NDArray[np.int64], expected: NDArray[np.float64], statistic: float, p: float, seed: int
) -> float:
    from scipy.stats import random_table

    rng = np.random.default_rng(seed)
    reached, step = 0, max(1, 4_000_000 // table.size)
    for start in range(0, TABLES, step):
        drawn = random_table(table.sum(1), table.sum(0)).rvs(min(step, TABLES - start), random_state=rng)
        statistics = ((drawn - expected) ** 2 / expected).sum((1, 2))
        reached += int(np.count_nonzero(statistics >= statistic * (1 - 1e-9)))
    return min(p, 1 / TABLES) if not reached else (1 + reached) / (1 + TABLES)


def ranks_differ(
    values: NDArray[np.float64], patients: NDArray[np.intp], classes: NDArray[np.intp]
) -> Ranked:
    """Whether a number (N,), NaN where unknown, ranks differently in the classes (Kruskal & Wallis 1952), by
    unit.

    >>> found = ranks_differ(np.arange(40.0), np.arange(40), np.repeat([0, 1], 20))
    >>> found.auroc, found.p < 1e-6, found.best, found.higher
    (1.0, True, 1, True)
    """
    from scipy.stats import kruskal

    unit, of = units(patients, np.where(np.isfinite(values), classes, -1))
    known = unit >= 0
    count = np.bincount(unit[known], minlength=len(of))
    means = np.bincount(unit[known], weights=values[known], minlength=len(of)) / np.maximum(count, 1)
    kinds = [k for k in np.unique(of).tolist() if np.count_nonzero(of == k) >= SMALL]
    chosen = np.isin(of, kinds)
    means, of = means[chosen], of[chosen]
    if len(kinds) < 2 or np.ptp(means) == 0:
        return Ranked(0.5, 1.0, len(of))
    p = float(kruskal(*(means[of == k] for k in kinds)).pvalue)
    areas = {k: area(means, of == k) or 0.5 for k in kinds}
    best = max(areas, key=lambda k: (abs(areas[k] - 0.5), k))
    return Ranked(max(areas[best], 1 - areas[best]), p, len(of), int(best), areas[best] >= 0.5)


def counts_differ(counts: NDArray[np.int64], shares: NDArray[np.float64], *, seed: int = 0) -> float:
    """The chance (p) that patients drawn by these shares are further from them than these counts (K,).

    Pearson's chi-square; exact by simulation where fewer than 5 are expected of a group.

    >>> half = np.array([0.5, 0.5])
    >>> counts_differ(np.array([50, 50]), half), counts_differ(np.array([90, 10]), half) < 1e-9
    (1.0, True)
    """
    from scipy.stats import chi2

    n, expected = int(counts.sum()), counts.sum() * shares
    if n == 0 or (counts[shares == 0] > 0).any():
        return 1.0 if n == 0 else 0.0
    kept = shares > 0
    counts, expected, shares = counts[kept], expected[kept], shares[kept]
    statistic = float(((counts - expected) ** 2 / expected).sum())
    p = float(chi2.sf(statistic, max(1, len(counts) - 1)))
    if expected.min() < SMALL:
        drawn = np.random.default_rng(seed).multinomial(n, shares / shares.sum(), size=TABLES)
        reached = int(np.count_nonzero(((drawn - expected) ** 2 / expected).sum(1) >= statistic * (1 - 1e-9)))
        p = (1 + reached) / (1 + TABLES) if reached else min(p, 1 / TABLES)
    return p


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values that hold together (Holm, Scand J Stat 1979;6:65).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p)), key=lambda k: p[k])
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, k in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[k]))
        adjusted[k] = highest
    return adjusted
