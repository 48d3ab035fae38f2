"""Resampling along one axis after another; the kernel widens where an axis shrinks, so that nothing aliases.

Each axis is a table of weights (as in Pillow's and torch's anti-aliased resize) applied by a compiled loop
without the GIL. Beside the image's edge the weights that remain are brought to the sum 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import arithmetic

__all__ = ["resampled", "weights"]

_SUPPORT = {"linear": 1.0, "cubic": 2.0}
_STRIP = 4096  # columns at once: a strip of the result stays in the processor's cache


def resampled(
    data: NDArray[np.float32], size: tuple[int, int, int], *, interpolation: str
) -> NDArray[np.float32]:
    """Bring (C, K, J, I) to (C, *size) by "linear" or "cubic" interpolation, anti-aliased along each axis.

    >>> x = np.indices((8, 8)).sum(0)[None, None] % 2 * np.float32(10)
    >>> resampled(x, (1, 2, 2), interpolation="linear").round(1).tolist()
    [[[[5.0, 5.0], [5.0, 5.0]]]]
    """
    axes = sorted((1, 2, 3), key=lambda axis: size[axis - 1] / data.shape[axis])
    for axis in axes:
        if size[axis - 1] != data.shape[axis]:
            data = _along(data, axis, size[axis - 1], interpolation)
    return data


@lru_cache(maxsize=256)
def weights(before: int, after: int, interpolation: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """First sample (after,) and weights (after, taps) of each new sample among `before` old ones.

    The kernels are the triangle and the cubic convolution of Keys (1981, a = -1/2).

    >>> (7 * weights(4, 2, "linear")[1]).round(3).tolist()
    [[3.0, 3.0, 1.0], [1.0, 3.0, 3.0]]
    """
    ratio = before / after
    widened = max(ratio, 1.0)
    reach = _SUPPORT[interpolation] * widened
    centres = (np.arange(after) + 0.5) * ratio
    first = np.maximum(np.floor(centres - reach + 0.5), 0).astype(np.int64)
    last = np.minimum(np.floor(centres + reach + 0.5), before).astype(np.int64)
    taps = int((last - first).max())
    first = np.minimum(first, before - taps)
    places = first[:, None] + np.arange(taps)
    held = _kernel(interpolation, (places + 0.5 - centres[:, None]) / widened)
    return first, np.ascontiguousarray(held / held.sum(1, keepdims=True), np.float32)


def _kernel(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    if name == "linear":
        return np.maximum(0.0, 1.0 - x)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _along(data: NDArray[np.float32], axis: int, after: int, interpolation: str) -> NDArray[np.float32]:
    first, held = weights(data.shape[axis], after, interpolation)
    shape = (*data.shape[:axis], after, *data.shape[axis + 1 :])
    out = np.empty(shape, np.float32)
    whole = np.ascontiguousarray(data, np.float32)
    if axis == 3:
        _across(whole.reshape(-1, data.shape[3]), first, held, out.reshape(-1, after))
    else:
        planes = int(np.prod(data.shape[:axis]))
        columns = int(np.prod(data.shape[axis + 1 :]))
        _down(whole.reshape(planes, -1, columns), first, held, out.reshape(planes, after, columns), _STRIP)
    return out


@arithmetic
def _down(x, first, held, out, strip):  # type: ignore[no-untyped-def]
    """Weighted sums of rows: x (N, R, Q) to out (N, M, Q), a strip of columns at a time."""
    planes, rows, columns = out.shape
    for plane in range(planes):
        for start in range(0, columns, strip):
            end = min(start + strip, columns)
            for row in range(rows):
                into = out[plane, row, start:end]
                into[:] = np.float32(0)
                for tap in range(held.shape[1]):
                    share = held[row, tap]
                    source = x[plane, first[row] + tap, start:end]
                    for c in range(end - start):
                        into[c] += share * source[c]


@arithmetic
def _across(x, first, held, out):  # type: ignore[no-untyped-def]
    """Weighted sums of columns: x (R, Q) to out (R, M)."""
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            start, total = first[column], np.float32(0)
            for tap in range(held.shape[1]):
                total += held[column, tap] * x[row, start + tap]
            out[row, column] = total
