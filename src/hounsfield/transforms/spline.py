"""Uniform cubic B-splines over an image: a few control points give a smooth field (Unser 1999)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["spline_field", "spline_weights"]


@lru_cache(maxsize=64)
def spline_weights(size: int, points: int) -> NDArray[np.float64]:
    """Weights (size, points) of each control point at each voxel of an axis.

    The first and the last voxel are the ends of the spline, points - 3 cubic pieces apart; the control points
    before and behind them shape the ends. Weights are 0 to 1 and sum to 1.

    >>> (6 * spline_weights(3, 5)).round(2).tolist()
    [[1.0, 4.0, 1.0, 0.0, 0.0], [0.0, 1.0, 4.0, 1.0, 0.0], [0.0, 0.0, 1.0, 4.0, 1.0]]
    """
    pieces = points - 3
    at = np.linspace(0, pieces, size) if size > 1 else np.zeros(1)
    piece = np.minimum(at.astype(np.int64), pieces - 1)
    made = np.zeros((size, points))
    for tap, weight in enumerate(_basis(at - piece)):
        made[np.arange(size), piece + tap] = weight
    made.setflags(write=False)
    return made


def spline_field(
    points: NDArray[np.floating], places: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """The field (m, n) of control points (m, p[, p], p) at places (n, d) in voxels of an image of `shape`.

    Outside the image it goes on as at the nearest voxel.

    >>> spline_field(np.full((1, 4, 4), 2.0), np.array([[0.0, 3.5]]), (8, 8)).round(9).tolist()
    [[2.0]]
    """
    d, p = places.shape[1], points.shape[-1]
    field = np.zeros((len(points), len(places)))
    taps, pieces = [], []
    for axis in range(d):
        scale = (p - 3) / max(shape[axis] - 1, 1)
        at = np.clip(places[:, axis], 0, shape[axis] - 1) * scale
        piece = np.minimum(at.astype(np.int64), p - 4)
        taps.append(_basis(at - piece))
        pieces.append(piece)
    for tap in np.ndindex(*[4] * d):
        weight = np.prod([taps[axis][tap[axis]] for axis in range(d)], axis=0)
        index = tuple(pieces[axis] + tap[axis] for axis in range(d))
        field += weight * points[(slice(None), *index)]
    return field


def _basis(t: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The four weights at a share t of a piece."""
    return (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
