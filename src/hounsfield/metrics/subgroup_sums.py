"""Sums from which a resample makes every metric of every subgroup at once: compiled loops.

One finding at a time. A cell is one group of one column ("site" = "A"); everyone is a cell too. `cells`
(P, N) names each case's cell in each of P columns, -1 for none. Every case adds a few numbers to its block
of patients in each of its cells; a resample then is a weighted sum over blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.compiled import compiled
from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray

__all__ = ["BINS", "COLUMNS", "OWNERS", "CellSums", "cell_sums"]

BINS = 15
COLUMNS = (
    "tp", "fn", "fp", "tn", "squared_error", "auroc_pull", "auprc_pull",
    "slope_gradient", "constant_gradient", "slope_hessian", "mixed_hessian", "constant_hessian",
    "intercept_gradient", "intercept_hessian", *(f"gap_{k}" for k in range(BINS)),
)  # fmt: skip
"""What is summed: calls, squared errors, pulls on areas, terms of two logistic fits, gaps by score bin."""
OWNERS = ("all", "found", "clear", "called", "passed", "found_or_called")
"""Whose patients are counted."""

_CLIP = 1e-6
_STEPS = 50


@dataclass(frozen=True, slots=True, eq=False)
class CellSums:
    """What one finding sums to: `by_block` (M, G, columns), and for each of G cells its rankings and fits.

    `owners` (G, 6) counts patients as `OWNERS` names them. `slope` and `intercept` are NaN where a fit did
    not end.
    """

    by_block: FloatArray
    owners: npt.NDArray[np.int64]
    auroc: FloatArray
    auprc: FloatArray
    slope: FloatArray
    intercept: FloatArray


def cell_sums(
    scores: FloatArray,
    positive: BoolArray,
    called: BoolArray,
    cells: npt.NDArray[np.int32],
    count: int,
    block: IntArray,
    blocks: int,
    patient: IntArray,
) -> CellSums:
    """Sum probabilities (N,), answers (N,) and calls (N,) over `count` cells and `blocks` blocks of patients.

    >>> scores, positive = np.array([0.1, 0.8, 0.3, 0.9]), np.array([False, False, True, True])
    >>> who = np.arange(4)
    >>> sums = cell_sums(scores, positive, scores > 0.5, np.zeros((1, 4), np.int32), 1, who, 4, who)
    >>> float(sums.auroc[0]), sums.by_block[:, 0, :4].sum(axis=0).tolist()
    (0.75, [1.0, 1.0, 1.0, 1.0])
    """
    found, said = positive.astype(np.int8), called.astype(np.int8)
    order = np.argsort(scores, kind="stable")
    clipped = scores.clip(_CLIP, 1 - _CLIP)
    logit = np.log(clipped) - np.log1p(-clipped)
    place = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], scores, side="left").astype(np.int8)
    by_patient = np.argsort(patient, kind="stable")
    owners = _count_owners(by_patient, patient, cells, count, found, said)
    by_block = np.zeros((blocks, count, len(COLUMNS)))
    fits = np.full((4, count), np.nan)
    for column in cells:
        pulls, areas = _ranked(order, scores, found, column, count)
        slope, intercept = _fitted(logit, found, column, count)
        mine = np.unique(column[column >= 0])
        for row, values in zip(fits, (areas[0], areas[1], slope[:, 0], intercept), strict=True):
            row[mine] = values[mine]
        _add(by_block, block, column, scores, logit, found, said, place, pulls, slope, intercept)
    return CellSums(by_block, owners, *fits)


@compiled
def _count_owners(by_patient, patient, cells, count, found, said):  # type: ignore[no-untyped-def]
    owners = np.zeros((count, 6), np.int64)
    latest = np.full((count, 6), -1, np.int64)
    for column in range(cells.shape[0]):
        for at in by_patient:
            cell = cells[column, at]
            if cell < 0:
                continue
            yes, call = np.int64(found[at]), np.int64(said[at])
            kinds = 1 + 2 * yes + 4 * (1 - yes) + 8 * call + 16 * (1 - call) + 32 * (yes | call)
            for kind in range(6):
                if (kinds >> kind) & 1 and latest[cell, kind] != patient[at]:
                    latest[cell, kind] = patient[at]
                    owners[cell, kind] += 1
    return owners


@compiled
def _ranked(order, scores, found, cell, count):  # type: ignore[no-untyped-def]
    """Areas (2, G): AUROC and average precision of each cell, and each case's pull (2, N) on its cell's.

    From the lowest score up, cases of one score together; the derivatives are those of `discrimination`.
    """
    n = len(order)
    size, below, tied = np.zeros((2, count)), np.zeros((2, count)), np.zeros((2, count))
    for at in range(n):
        if cell[at] >= 0:
            size[found[at], cell[at]] += 1
    fresh, precision = np.zeros(count, np.bool_), np.zeros(count)
    by_found, by_clear = np.zeros(count), np.zeros(count)
    areas, pulls = np.zeros((2, count)), np.zeros((2, n))
    start = 0
    while start < n:
        end = start
        while end < n and scores[order[end]] == scores[order[start]]:
            g = cell[order[end]]
            if g >= 0:
                tied[found[order[end]], g] += 1
                fresh[g] = True
            end += 1
        for q in range(start, end):
            at, g = order[q], cell[order[q]]
            if g < 0:
                continue
            if fresh[g]:
                fresh[g] = False
                true = size[1, g] - below[1, g]
                called = true + size[0, g] - below[0, g]
                precision[g] = true / called
                by_found[g] += tied[1, g] * (called - true) / (called * called)
                by_clear[g] -= tied[1, g] * true / (called * called)
                areas[0, g] += tied[1, g] * (below[0, g] + tied[0, g] / 2)
                areas[1, g] += tied[1, g] * precision[g]
            if found[at]:
                pulls[0, at] = below[0, g] + tied[0, g] / 2
                pulls[1, at] = precision[g] + by_found[g]
            else:
                pulls[0, at] = size[1, g] - below[1, g] - tied[1, g] / 2
                pulls[1, at] = by_clear[g]
        for q in range(start, end):
            g = cell[order[q]]
            if g >= 0:
                for kind in range(2):
                    below[kind, g] += tied[kind, g]
                    tied[kind, g] = 0
        start = end
    for g in range(count):
        areas[0, g] /= max(1.0, size[0, g] * size[1, g])
        areas[1, g] /= max(1.0, size[1, g])
    for at in range(n):
        g = cell[at]
        if g < 0 or size[0, g] == 0 or size[1, g] == 0:
            pulls[0, at] = pulls[1, at] = 0.0
            continue
        own, other = found[at], 1 - found[at]
        pulls[0, at] = (pulls[0, at] / size[other, g] - areas[0, g]) / size[own, g]
        pulls[1, at] = (pulls[1, at] - own * areas[1, g]) / size[1, g]
    return pulls, areas


@compiled
def _fitted(logit, found, cell, count):  # type: ignore[no-untyped-def]
    """Newton's fits in each cell: slope with its constant (G, 2), and intercept at slope 1 (G,)."""
    slope, intercept = np.zeros((count, 2)), np.zeros(count)
    open_cells = np.ones(count, np.bool_)
    for _ in range(_STEPS):
        sums = np.zeros((count, 7))
        for at in range(len(logit)):
            g = cell[at]
            if g < 0 or not open_cells[g]:
                continue
            x = logit[at]
            p = 1 / (1 + np.exp(-(slope[g, 0] * x + slope[g, 1])))
            gap, spread = p - found[at], p * (1 - p)
            row = sums[g]
            row[0] += gap * x
            row[1] += gap
            row[2] += spread * x * x
            row[3] += spread * x
            row[4] += spread
            p = 1 / (1 + np.exp(-(x + intercept[g])))
            row[5] += p - found[at]
            row[6] += p * (1 - p)
        for g in range(count):
            if not open_cells[g]:
                continue
            row = sums[g]
            determinant = row[2] * row[4] - row[3] * row[3]
            if determinant <= 1e-12 * row[2] * row[4] or row[6] <= 0:
                slope[g] = intercept[g] = np.nan
                open_cells[g] = False
                continue
            one = (row[0] * row[4] - row[1] * row[3]) / determinant
            two = (row[1] * row[2] - row[0] * row[3]) / determinant
            three = row[5] / row[6]
            furthest = max(abs(one), abs(two))
            shorter = max(1.0, furthest / 2)
            slope[g, 0] -= one / shorter
            slope[g, 1] -= two / shorter
            intercept[g] -= three / max(1.0, abs(three) / 2)
            if furthest < 1e-9 and abs(three) < 1e-9:
                open_cells[g] = False
    for g in range(count):
        if open_cells[g]:  # no end: the scores separate the classes
            slope[g] = np.nan
    return slope, intercept


@compiled
def _add(  # type: ignore[no-untyped-def]
    by_block, block, cell, scores, logit, found, said, place, pulls, slope, intercept
):
    for at in range(len(cell)):
        g = cell[at]
        if g < 0:
            continue
        row = by_block[block[at], g]
        row[(0 if said[at] else 1) if found[at] else (2 if said[at] else 3)] += 1
        gap = scores[at] - found[at]
        row[4] += gap * gap
        row[5] += pulls[0, at]
        row[6] += pulls[1, at]
        x = logit[at]
        p = 1 / (1 + np.exp(-(slope[g, 0] * x + slope[g, 1])))
        row[7] += (p - found[at]) * x
        row[8] += p - found[at]
        row[9] += p * (1 - p) * x * x
        row[10] += p * (1 - p) * x
        row[11] += p * (1 - p)
        p = 1 / (1 + np.exp(-(x + intercept[g])))
        row[12] += p - found[at]
        row[13] += p * (1 - p)
        row[14 + place[at]] += gap
