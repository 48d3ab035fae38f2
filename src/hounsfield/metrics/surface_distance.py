"""Exact distances between two surfaces, computed only where a surface is: compiled loops.

A pass along the rows of a volume finds how many voxels away each row's nearest mark is. A query then looks
at the rows around it, nearest first, until no farther row can be nearer. Where many queries find nothing
within that reach, one more pass in each plane (the lower envelope of parabolas: Felzenszwalb &
Huttenlocher, Theory Comput 2012;8:415) answers them all, again exactly.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hounsfield.core.compiled import compiled

__all__ = ["LONGEST_ROW", "Gaps", "distances_mm", "row_gaps"]

Gaps = npt.NDArray[np.int16]
Distances = npt.NDArray[np.float64]

LONGEST_ROW = 15_000
_NONE = 16_000  # a row without a mark: every gap lies above
_REACH = 1200  # rows looked at for every query
_FEW = 4000  # queries beyond that reach which are searched one by one


def distances_mm(
    points: npt.NDArray[np.int32], gaps: Gaps, spacing_mm: tuple[float, float, float]
) -> Distances:
    """The distance (P,) of each voxel in `points` (P, 3) to the nearest mark, known by its `row_gaps`.

    There must be at least one mark.

    >>> marks = np.zeros((1, 4, 4), np.uint8)
    >>> marks[0, 0, 0] = 1
    >>> distances_mm(np.array([[0, 3, 2]], np.int32), row_gaps(marks), (1.0, 2.0, 4.0)).tolist()
    [10.0]
    """
    sk, sj, si = (float(s) for s in spacing_mm)
    reach = math.sqrt(_REACH * sk * sj / math.pi)
    steps, lateral = _rows_around(sk, sj, gaps.shape, reach)
    squared = _near(points, gaps, steps, lateral, si)
    beyond = np.flatnonzero(squared < 0)
    if 0 < len(beyond) <= _FEW:
        steps, lateral = _rows_around(sk, sj, gaps.shape, math.sqrt(-squared[beyond].min()))
        squared[beyond] = np.abs(_near(points[beyond], gaps, steps, lateral, si))
    elif len(beyond):
        squared[beyond] = _along(points[beyond], _plane_squares(gaps, sj, si), sk)
    return np.asarray(np.sqrt(squared))


def _rows_around(
    sk: float, sj: float, shape: tuple[int, ...], reach: float
) -> tuple[npt.NDArray[np.int32], Distances]:
    """Steps (R, 2) to the rows not farther than `reach` mm, nearest first, and their squared distances."""
    most_k, most_j = (int(min(n - 1, reach / s)) for n, s in zip(shape, (sk, sj), strict=False))
    dk, dj = np.meshgrid(np.arange(-most_k, most_k + 1), np.arange(-most_j, most_j + 1), indexing="ij")
    squared = ((dk * sk) ** 2 + (dj * sj) ** 2).ravel()
    order = np.argsort(squared, kind="stable")
    order = order[squared[order] <= reach * reach]
    steps = np.stack([dk.ravel(), dj.ravel()], axis=1)[order].astype(np.int32)
    return steps, np.append(squared[order], reach * reach)


@compiled
def row_gaps(marks):  # type: ignore[no-untyped-def]
    """How many voxels away the nearest mark of each voxel's row is: (K, J, I), above 16,000 for none.

    >>> row_gaps(np.array([[[0, 1, 0, 0]]], np.uint8))[0, 0].tolist()
    [1, 0, 1, 2]
    """
    deep, high, wide = marks.shape
    gaps = np.empty((deep, high, wide), np.int16)
    for k in range(deep):
        for j in range(high):
            here, out = marks[k, j], gaps[k, j]
            gap = np.int16(_NONE)
            for i in range(wide):
                gap = np.int16(0) if here[i] else np.int16(gap + 1)
                out[i] = gap
            if gap >= _NONE:
                continue
            gap = np.int16(_NONE)
            for i in range(wide - 1, -1, -1):
                gap = np.int16(0) if here[i] else np.int16(gap + 1)
                out[i] = min(out[i], gap)
    return gaps


@compiled
def _near(points, gaps, steps, lateral, si):  # type: ignore[no-untyped-def]
    """Squared distances; less than 0, of the best that was seen, where a farther row could be nearer."""
    deep, high, _ = gaps.shape
    found = np.empty(len(points), np.float64)
    for p in range(len(points)):
        k, j, i = points[p, 0], points[p, 1], points[p, 2]
        best = np.inf
        for r in range(len(steps)):
            if lateral[r] >= best:
                break
            row, across = k + steps[r, 0], j + steps[r, 1]
            if row < 0 or row >= deep or across < 0 or across >= high:
                continue
            gap = gaps[row, across, i]
            along = gap * si if gap < _NONE else np.inf
            best = min(best, lateral[r] + along * along)
        found[p] = best if best <= lateral[-1] else -best
    return found


@compiled
def _plane_squares(gaps, sj, si):  # type: ignore[no-untyped-def]
    """Squared distances to the nearest mark of the same plane, infinite in a plane without one."""
    deep, high, wide = gaps.shape
    squares = np.full((deep, high, wide), np.inf)
    apex = np.empty(high, np.int64)
    until = np.empty(high + 1, np.float64)
    lift = np.empty(high, np.float64)
    for k in range(deep):
        for i in range(wide):
            last = -1
            for j in range(high):
                if gaps[k, j, i] >= _NONE:
                    continue
                along = gaps[k, j, i] * si
                lift[j] = along * along
                meets = -np.inf
                while last >= 0:
                    q = apex[last]
                    meets = (lift[j] - lift[q]) / (2 * sj * sj * (j - q)) + 0.5 * (j + q)
                    if meets > until[last]:
                        break
                    last -= 1
                last += 1
                apex[last] = j
                until[last] = meets if last else -np.inf
            if last < 0:
                continue
            until[last + 1] = np.inf
            at = 0
            for j in range(high):
                while until[at + 1] < j:
                    at += 1
                across = (j - apex[at]) * sj
                squares[k, j, i] = across * across + lift[apex[at]]
    return squares


@compiled
def _along(points, planes, sk):  # type: ignore[no-untyped-def]
    """Squared distances of the points from those within each plane."""
    deep = planes.shape[0]
    found = np.empty(len(points), np.float64)
    for p in range(len(points)):
        k, j, i = points[p, 0], points[p, 1], points[p, 2]
        best = planes[k, j, i]
        for step in range(1, deep):
            across = step * sk
            across *= across
            if across >= best:
                break
            if k >= step:
                best = min(best, across + planes[k - step, j, i])
            if k + step < deep:
                best = min(best, across + planes[k + step, j, i])
        found[p] = best
    return found
