"""Mean, spread and percentiles of an image's stored values, measured without a copy in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mean_and_spread", "percentiles_of"]

_CHUNK = 1 << 16
_FEW = 20_000  # of fewer values, sorting is quicker than counting


def mean_and_spread(values: NDArray[Any]) -> tuple[float, float]:
    """Mean and standard deviation (of the population) of all values, summed in float64.

    >>> mean_and_spread(np.array([1, 3], np.uint16))
    (2.0, 1.0)
    """
    if values.dtype.kind in "iu" and values.itemsize <= 2:
        import cv2

        mean, spread = cv2.meanStdDev(_column(values))
        return float(mean[0, 0]), float(spread[0, 0])
    flat = values.reshape(-1)
    mean = float(flat.mean(dtype=np.float64))
    square = 0.0
    for start in range(0, flat.size, _CHUNK):  # deviations, not squares, lest large offsets cancel
        apart = flat[start : start + _CHUNK].astype(np.float64) - mean
        square += float(apart @ apart)
    return mean, (square / flat.size) ** 0.5


def percentiles_of(values: NDArray[Any], percentages: Sequence[float]) -> NDArray[np.float64]:
    """Percentiles of all values, linear between neighbours as numpy's; of integers up to 16 bits by counting.

    >>> percentiles_of(np.arange(101, dtype=np.uint8), (0.5, 50)).tolist()
    [0.5, 50.0]
    """
    flat = values.reshape(-1)
    if values.dtype.kind not in "iu" or values.itemsize > 2 or flat.size < _FEW:
        return np.asarray(np.percentile(flat.astype(np.float64), percentages), np.float64)
    low, counts = _counts(flat)
    upto = np.cumsum(counts, dtype=np.float64)
    place = np.asarray(percentages, np.float64) / 100 * (upto[-1] - 1)
    before = np.floor(place)
    after = np.minimum(before + 1, upto[-1] - 1)
    at, beyond = (low + np.searchsorted(upto, rank, side="right") for rank in (before, after))
    return np.asarray(at + (place - before) * (beyond - at), np.float64)


def _counts(flat: NDArray[Any]) -> tuple[int, NDArray[np.float32]]:
    """The least value of the integer type, and how often each value from there on occurs."""
    import cv2

    bits = 8 * flat.itemsize
    plain = _column(flat).view(f"u{flat.itemsize}")
    counts = cv2.calcHist([plain], [0], None, [1 << bits], [0, 1 << bits]).reshape(-1)
    if flat.dtype.kind == "u":
        return 0, np.asarray(counts)
    return -(1 << (bits - 1)), np.roll(counts, 1 << (bits - 1))  # negative numbers are the upper half


def _column(values: NDArray[Any]) -> NDArray[Any]:
    """The values in the two dimensions that OpenCV counts in, not copied where they lie in one piece."""
    flat = np.ascontiguousarray(values).reshape(-1)
    for width in (1 << 14, 1 << 7, 1):
        if flat.size % width == 0:
            return flat.reshape(-1, width)
    return flat.reshape(-1, 1)
