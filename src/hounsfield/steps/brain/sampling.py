"""Images looked up along a matrix: cubic splines for what is measured, linear with its slope for the search.

Arrays run (K, J, I); a matrix (3, 4) takes a voxel (i, j, k) of the result to one of the source. Beyond the
source lies `beyond`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import arithmetic

__all__ = ["between", "cubic", "inside_of", "linear", "spline_of"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Shape = tuple[int, int, int]


def between(target: Doubles, source: Doubles, move: Doubles | None = None) -> Doubles:
    """The matrix (3, 4) from voxels of one grid to those of another; `move` (4, 4) takes mm of the first
    there.

    >>> between(np.diag([2.0, 2, 2, 1]), np.eye(4))[0].tolist()
    [2.0, 0.0, 0.0, 0.0]
    """
    moved = target if move is None else move @ target
    matrix: Doubles = np.ascontiguousarray((np.linalg.inv(source) @ moved)[:3])
    return matrix


def spline_of(data: NDArray[Any]) -> Floats:
    """The coefficients of the cubic B-spline through the voxels (K, J, I), mirrored at the ends."""
    from scipy.ndimage import spline_filter1d

    made: Floats = np.array(data, np.float32)
    for axis in range(3):
        if made.shape[axis] > 1:
            made = spline_filter1d(made, 3, axis=axis, output=np.float32, mode="mirror")
    return made


def cubic(spline: Floats, matrix: Doubles, shape: Shape, *, beyond: float = 0.0) -> Floats:
    """An image of that shape from a spline.

    >>> image = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    >>> found = cubic(spline_of(image), np.eye(3, 4), (3, 4, 5))
    >>> bool(np.allclose(found, image, atol=1e-4))
    True
    """
    out = np.empty(shape, np.float32)
    _cubic(spline, matrix, np.float32(beyond), out)
    return out


def linear(data: Floats, matrix: Doubles, shape: Shape, *, beyond: float = 0.0) -> Floats:
    """An image of that shape, linear between the voxels of another."""
    out = np.empty(shape, np.float32)
    _linear(np.ascontiguousarray(data, np.float32), matrix, np.float32(beyond), out)
    return out


def inside_of(source: Shape, matrix: Doubles, shape: Shape) -> NDArray[np.bool_]:
    """Which voxels of the result lie in the source's field of view."""
    k, j, i = (np.arange(n, dtype=np.float32).reshape([-1 if a == x else 1 for x in range(3)])
               for a, n in enumerate(shape))  # fmt: skip
    held = np.ones(shape, bool)
    for row, size in zip(matrix.astype(np.float32), source[::-1], strict=True):
        at = row[0] * i + row[1] * j + row[2] * k + row[3]
        held &= (at > -0.5) & (at < size - 0.5)
    return held


@arithmetic
def _weights(t, w):  # type: ignore[no-untyped-def]
    s = np.float32(1.0) - t
    sixth = np.float32(1.0 / 6.0)
    w[0] = s * s * s * sixth
    w[1] = (np.float32(3.0) * t * t * (t - np.float32(2.0)) + np.float32(4.0)) * sixth
    w[2] = (np.float32(3.0) * s * s * (s - np.float32(2.0)) + np.float32(4.0)) * sixth
    w[3] = t * t * t * sixth


@arithmetic
def _mirrored(n, size):  # type: ignore[no-untyped-def]
    if size == 1:
        return 0
    if n < 0:
        n = -n
    if n > size - 1:
        n = 2 * (size - 1) - n
    return min(max(n, 0), size - 1)


@arithmetic
def _cubic(spline, matrix, beyond, out):  # type: ignore[no-untyped-def]
    depth, height, width = spline.shape
    wx, wy, wz = np.empty(4, np.float32), np.empty(4, np.float32), np.empty(4, np.float32)
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                if x < -0.5 or y < -0.5 or z < -0.5:
                    out[k, j, i] = beyond
                    continue
                if x >= width - 0.5 or y >= height - 0.5 or z >= depth - 0.5:
                    out[k, j, i] = beyond
                    continue
                a, b, c = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
                _weights(np.float32(x - a), wx)
                _weights(np.float32(y - b), wy)
                _weights(np.float32(z - c), wz)
                total = np.float32(0.0)
                if 1 <= a < width - 2 and 1 <= b < height - 2 and 1 <= c < depth - 2:
                    for p in range(4):
                        for q in range(4):
                            row = spline[c - 1 + p, b - 1 + q]
                            part = (
                                row[a - 1] * wx[0] + row[a] * wx[1] + row[a + 1] * wx[2] + row[a + 2] * wx[3]
                            )
                            total += wz[p] * wy[q] * part
                else:
                    for p in range(4):
                        for q in range(4):
                            for r in range(4):
                                total += (
                                    wz[p] * wy[q] * wx[r]
                                    * spline[_mirrored(c - 1 + p, depth), _mirrored(b - 1 + q, height),
                                             _mirrored(a - 1 + r, width)]
                                )  # fmt: skip
                out[k, j, i] = total


@arithmetic
def _linear(data, matrix, beyond, out):  # type: ignore[no-untyped-def]
    depth, height, width = data.shape
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                if x < -0.5 or y < -0.5 or z < -0.5:
                    out[k, j, i] = beyond
                    continue
                if x >= width - 0.5 or y >= height - 0.5 or z >= depth - 0.5:
                    out[k, j, i] = beyond
                    continue
                x, y, z = (
                    min(max(x, 0.0), width - 1.0),
                    min(max(y, 0.0), height - 1.0),
                    min(max(z, 0.0), depth - 1.0),
                )
                a, b, c = int(x), int(y), int(z)
                a1, b1, c1 = min(a + 1, width - 1), min(b + 1, height - 1), min(c + 1, depth - 1)
                u, v, w = np.float32(x - a), np.float32(y - b), np.float32(z - c)
                one = np.float32(1.0)
                low = (data[c, b, a] * (one - u) + data[c, b, a1] * u) * (one - v)
                low += (data[c, b1, a] * (one - u) + data[c, b1, a1] * u) * v
                high = (data[c1, b, a] * (one - u) + data[c1, b, a1] * u) * (one - v)
                high += (data[c1, b1, a] * (one - u) + data[c1, b1, a1] * u) * v
                out[k, j, i] = low * (one - w) + high * w
