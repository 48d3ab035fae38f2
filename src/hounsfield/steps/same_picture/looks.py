"""What is kept of an image to recognise it by: a small plane, and where its edges run.

The plane is 64×64, its values from the 0.5 to the 99.5 percentile brought to 0…1. The edges are a histogram
of oriented gradients (Dalal & Triggs, CVPR 2005) written as its Fourier series: per cell of an 8×8 grid the
strength of edges, evened out over the image, and the cosine and sine of twice and four times their direction.
That hardly changes with brightness, windowing, inversion, scale and recompression, bears a small crop, and
mirroring or turning an image only exchanges cells and signs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CELLS",
    "CROPS",
    "EDGES",
    "SIDE",
    "TURNS",
    "edges_of",
    "plane_of",
    "turned",
    "turned_edges",
    "views_of",
]

SIDE = 64
CELLS = 8
CHANNELS = 5
EDGES = CHANNELS * CELLS * CELLS
CROPS = (1.0, 0.9)
"""Edges are kept of the whole image and of its middle, so that a crop finds what it was cut from."""

TURNS = (
    "", "mirrored left to right", "mirrored up to down", "turned by 180°",
    "transposed", "turned by 90° anticlockwise", "turned by 90° clockwise", "transposed and turned by 180°",
)  # fmt: skip
"""The eight ways in which a square lies on itself, in the order of `turned`."""

Plane = NDArray[np.float32]
LARGEST = 256


def plane_of(picture: NDArray[Any]) -> Plane:
    """A 2D image (J, I) as 64×64 values from 0 to 1, whatever its size, depth and contrast.

    >>> plane_of(np.arange(100 * 80).reshape(100, 80)).shape
    (64, 64)
    """
    import cv2

    plane: NDArray[Any] = np.ascontiguousarray(picture, np.float32)
    shrink = max(plane.shape) / LARGEST
    if shrink > 1:
        size = (max(1, round(plane.shape[1] / shrink)), max(1, round(plane.shape[0] / shrink)))
        plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(plane, (0.5, 99.5))
    if high <= low:
        low, high = float(plane.min()), float(plane.max())
    plane = np.clip((plane - low) / max(float(high - low), 1e-9), 0, 1)
    how = cv2.INTER_AREA if min(plane.shape) > SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane, (SIDE, SIDE), interpolation=how), np.float32)


def views_of(plane: Plane) -> NDArray[np.float32]:
    """The edges of a plane and of its middle: (len(CROPS), EDGES)."""
    import cv2

    found = np.empty((len(CROPS), EDGES), np.float32)
    for row, share in enumerate(CROPS):
        margin = round(SIDE * (1 - share) / 2)
        middle: NDArray[Any] = plane[margin : SIDE - margin, margin : SIDE - margin]
        if margin:
            middle = cv2.resize(middle, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        found[row] = edges_of(middle)
    return found


def edges_of(plane: Plane) -> NDArray[np.float32]:
    """The edges of a plane (64, 64), flat: (EDGES,)."""
    import cv2

    even = cv2.GaussianBlur(np.ascontiguousarray(plane, np.float32), (0, 0), 1.0)
    slope = cv2.Scharr(even, -1, 1, 0) + 1j * cv2.Scharr(even, -1, 0, 1)
    strength = np.abs(slope).astype(np.float32)
    around = cv2.blur(strength, (17, 17))
    weight = np.sqrt(strength / (around + 0.1 * around.max() + 1e-6))
    twice = (slope / (strength + 1e-9)) ** 2
    fourth = twice * twice
    maps = np.stack(
        [weight, weight * twice.real, weight * twice.imag, weight * fourth.real, weight * fourth.imag]
    )
    found: NDArray[np.float32] = (_BINS @ maps.astype(np.float32) @ _BINS.T).reshape(-1)
    return found


def turned(planes: NDArray[Any], turn: int) -> NDArray[Any]:
    """Planes (..., J, I) as the number `turn` of TURNS says: mirrored, then transposed from 4 on.

    >>> turned(np.array([[1, 2], [3, 4]]), 1).tolist(), turned(np.array([[1, 2], [3, 4]]), 5).tolist()
    ([[2, 1], [4, 3]], [[2, 4], [1, 3]])
    """
    if turn & 1:
        planes = planes[..., :, ::-1]
    if turn & 2:
        planes = planes[..., ::-1, :]
    return planes.swapaxes(-1, -2) if turn & 4 else planes


def turned_edges(edges: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """The edges (N, EDGES) of the turned planes, without looking at these again."""
    grid: NDArray[Any] = edges.reshape(-1, CHANNELS, CELLS, CELLS)
    if turn & 3:
        grid = turned(grid, turn & 3) * (_MIRROR if turn & 3 in (1, 2) else 1)
    if turn & 4:
        grid = turned(grid, 4) * _TRANSPOSE
    return np.ascontiguousarray(grid).reshape(len(edges), EDGES)


def _bins() -> NDArray[np.float32]:
    """Soft cells: each row weighs the pixels of an axis by a Gaussian about the middle of its cell."""
    middles = (np.arange(CELLS) + 0.5) * SIDE / CELLS - 0.5
    weights: NDArray[np.float64] = np.exp(
        -0.5 * ((np.arange(SIDE) - middles[:, None]) / (0.55 * SIDE / CELLS)) ** 2
    )
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _signs(*signs: int) -> NDArray[np.float32]:
    return np.array(signs, np.float32)[:, None, None]


_BINS = _bins()
# A mirror turns the direction a to -a, a transposition a to 90° - a.
_MIRROR = _signs(1, 1, -1, 1, -1)
_TRANSPOSE = _signs(1, -1, 1, 1, -1)

Turn = Callable[[NDArray[Any], int], NDArray[Any]]
