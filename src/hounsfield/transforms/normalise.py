"""Turn stored integers into the numbers a network sees: every method is one scale and one offset."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.plan import Input

__all__ = ["Levels", "apply_levels", "levels_of"]

Levels = tuple[float, float, float, float]
"""Scale, offset, least and greatest: x becomes clip(scale * x + offset, least, greatest)."""


def levels_of(data: NDArray[Any], plan: Input, *, bits: int) -> Levels:
    """The scale, offset and bounds by which one image (C, K, J, I) is normalised.

    `bits` is the stored depth, by which "unit" divides; where the depth says nothing (real numbers,
    Hounsfield units, wide integers) it takes the image from least to greatest. "zscore" takes mean and
    standard deviation of the image; a constant image becomes zeros.

    >>> levels_of(np.array([0, 10], np.uint8).reshape(1, 1, 1, 2), Input(normalise="zscore"), bits=8)
    (0.2, -1.0, -inf, inf)
    """
    if plan.normalise == "unit":
        least, spread = float(data.min()), float(np.ptp(data)) or 1.0
        if data.dtype.kind == "f" or bits > 16 or least < 0 or least + spread > 2**bits - 1:
            return 1.0 / spread, -least / spread, 0.0, 1.0
        return 1.0 / float(2**bits - 1), 0.0, 0.0, 1.0
    if plan.normalise == "window":
        centre, width = plan.window
        return 1.0 / width, 0.5 - centre / width, 0.0, 1.0
    values = np.asarray(data, np.float64)
    if plan.normalise == "percentile":
        low, high = np.percentile(values, (0.5, 99.5))
        spread = float(high - low) or 1.0
        return 1.0 / spread, float(-low) / spread, 0.0, 1.0
    spread = float(values.std()) or 1.0
    return 1.0 / spread, float(-values.mean()) / spread, -np.inf, np.inf


def apply_levels(data: NDArray[Any], levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise a batch (N, ...) by its rows of `levels` (N, 4)."""
    shape = (-1,) + (1,) * (data.ndim - 1)
    scale, offset, least, greatest = (levels[:, c].reshape(shape) for c in range(4))
    out = data.astype(np.float32)
    out *= scale
    out += offset
    if np.isfinite(levels[:, 2:]).any():
        np.clip(out, least, greatest, out=out)
    return out
