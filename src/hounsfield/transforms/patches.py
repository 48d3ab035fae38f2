"""Patches cut from a volume along any matrix, numbers and labels in one pass: what training sees of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import arithmetic

__all__ = ["cut_patch"]

_REACH = 1
_STILL = np.zeros((3, 0, 0, 0), np.float32)


def cut_patch(
    image: NDArray[Any],
    levels: NDArray[np.float32],
    labels: NDArray[np.uint8] | None,
    matrix: NDArray[np.float64],
    out: NDArray[np.float32],
    out_labels: NDArray[np.uint8] | None = None,
    *,
    displacement: NDArray[np.float32] | None = None,
    outside: int = 255,
) -> None:
    """Fill `out` (C, k, j, i) from an image (C, K, J, I): voxel v shows the image at `matrix` (3, 4) of v.

    `displacement` (3, k, j, i), in voxels of the image, is added there. Numbers are linear between voxels and
    go on beyond the edge as they are there; they are normalised by `levels` (C, 4). `out_labels` (k, j, i)
    take the nearest label, beyond the edge `outside`. Only the box that is needed is read from the image,
    which may be a mapped file.

    >>> image = np.arange(16, dtype=np.int16).reshape(1, 1, 4, 4)
    >>> out, levels = np.empty((1, 1, 2, 2), np.float32), np.array([[1, 0, -np.inf, np.inf]], np.float32)
    >>> cut_patch(image, levels, None, np.hstack([np.eye(3), [[0], [1], [1]]]), out)
    >>> out[0, 0].tolist()
    [[5.0, 6.0], [9.0, 10.0]]
    """
    reach = 0.0 if displacement is None else float(np.abs(displacement).max())
    low, high = _needed(matrix, out.shape[1:], image.shape[1:], reach)
    cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    held = image[(slice(None), *cut)].astype(np.float32)
    held *= levels[:, 0, None, None, None]
    held += levels[:, 1, None, None, None]
    np.clip(held, levels[:, 2, None, None, None], levels[:, 3, None, None, None], out=held)
    moved = matrix.copy()
    moved[:, 3] -= low
    field = _STILL if displacement is None else displacement
    if displacement is None and _is_shift(moved):
        _copy(held, np.rint(moved[:, 3]).astype(np.int64), out)
    else:
        _sample(held, moved, field, out)
    if labels is not None and out_labels is not None:
        ends = _open_ends(low, high, image.shape[1:])
        _nearest(np.ascontiguousarray(labels[cut]), moved, field, ends, outside, out_labels)


def _needed(
    matrix: NDArray[np.float64], shape: tuple[int, ...], full: tuple[int, ...], reach: float
) -> tuple[list[int], list[int]]:
    """The box of the image that a patch shows, at least one voxel in it."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    places = matrix[:, :3] @ corners + matrix[:, 3:]
    low, high = [], []
    for axis in range(3):
        first = int(np.floor(places[axis].min() - reach)) - _REACH
        last = int(np.ceil(places[axis].max() + reach)) + _REACH + 1
        a = min(max(0, first), full[axis] - 1)
        low.append(a)
        high.append(max(a + 1, min(full[axis], last)))
    return low, high


def _open_ends(low: list[int], high: list[int], full: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether the box ends where the image does, (3, 2): beyond such an end nothing is known."""
    return np.array([[a == 0, b == n] for a, b, n in zip(low, high, full, strict=True)])


def _is_shift(matrix: NDArray[np.float64]) -> bool:
    whole = np.abs(matrix[:, 3] - np.rint(matrix[:, 3])).max() < 1e-6
    return bool(whole and np.array_equal(matrix[:, :3], np.eye(3)))


@arithmetic
def _copy(held, start, out):  # type: ignore[no-untyped-def]
    channels, depth, height, width = out.shape
    for c in range(channels):
        for k in range(depth):
            z = min(max(k + start[0], 0), held.shape[1] - 1)
            for j in range(height):
                y = min(max(j + start[1], 0), held.shape[2] - 1)
                for i in range(width):
                    out[c, k, j, i] = held[c, z, y, min(max(i + start[2], 0), held.shape[3] - 1)]


@arithmetic
def _sample(held, m, field, out):  # type: ignore[no-untyped-def]
    channels, depth, height, width = out.shape
    d, h, w = held.shape[1:]
    bent = field.size > 0
    for k in range(depth):
        for j in range(height):
            for i in range(width):
                z = m[0, 0] * k + m[0, 1] * j + m[0, 2] * i + m[0, 3]
                y = m[1, 0] * k + m[1, 1] * j + m[1, 2] * i + m[1, 3]
                x = m[2, 0] * k + m[2, 1] * j + m[2, 2] * i + m[2, 3]
                if bent:
                    z, y, x = z + field[0, k, j, i], y + field[1, k, j, i], x + field[2, k, j, i]
                z = min(max(z, 0.0), d - 1.0)
                y = min(max(y, 0.0), h - 1.0)
                x = min(max(x, 0.0), w - 1.0)
                z0, y0, x0 = int(z), int(y), int(x)
                z1, y1, x1 = min(z0 + 1, d - 1), min(y0 + 1, h - 1), min(x0 + 1, w - 1)
                a, b, e = np.float32(z - z0), np.float32(y - y0), np.float32(x - x0)
                for c in range(channels):
                    v00 = held[c, z0, y0, x0] * (1 - e) + held[c, z0, y0, x1] * e
                    v01 = held[c, z0, y1, x0] * (1 - e) + held[c, z0, y1, x1] * e
                    v0 = v00 * (1 - b) + v01 * b
                    if z1 != z0:
                        v10 = held[c, z1, y0, x0] * (1 - e) + held[c, z1, y0, x1] * e
                        v11 = held[c, z1, y1, x0] * (1 - e) + held[c, z1, y1, x1] * e
                        v0 = v0 * (1 - a) + (v10 * (1 - b) + v11 * b) * a
                    out[c, k, j, i] = v0


@arithmetic
def _nearest(labels, m, field, ends, outside, out):  # type: ignore[no-untyped-def]
    depth, height, width = out.shape
    d, h, w = labels.shape
    bent = field.size > 0
    for k in range(depth):
        for j in range(height):
            for i in range(width):
                z = m[0, 0] * k + m[0, 1] * j + m[0, 2] * i + m[0, 3] + 0.5
                y = m[1, 0] * k + m[1, 1] * j + m[1, 2] * i + m[1, 3] + 0.5
                x = m[2, 0] * k + m[2, 1] * j + m[2, 2] * i + m[2, 3] + 0.5
                if bent:
                    z, y, x = z + field[0, k, j, i], y + field[1, k, j, i], x + field[2, k, j, i]
                at_k, at_j, at_i = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
                beyond = (
                    (at_k < 0 and ends[0, 0]) or (at_k >= d and ends[0, 1])
                    or (at_j < 0 and ends[1, 0]) or (at_j >= h and ends[1, 1])
                    or (at_i < 0 and ends[2, 0]) or (at_i >= w and ends[2, 1])
                )  # fmt: skip
                if beyond:
                    out[k, j, i] = outside
                else:
                    out[k, j, i] = labels[
                        min(max(at_k, 0), d - 1), min(max(at_j, 0), h - 1), min(max(at_i, 0), w - 1)
                    ]
