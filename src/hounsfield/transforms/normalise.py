"""Turn stored integers into the numbers a network sees: every method is one scale and one offset."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Input
from hounsfield.transforms.measures import mean_and_spread, percentiles_of

__all__ = ["Levels", "apply_levels", "levels_of", "normalised"]

Levels = tuple[float, float, float, float]
"""Scale, offset, least and greatest: x becomes clip(scale * x + offset, least, greatest)."""


def normalised(data: NDArray[Any], plan: Input, *, bits: int) -> tuple[NDArray[Any], Levels]:
    """One image (C, K, J, I) and the levels by which it is normalised when a batch is made.

    Only "histogram" changes the integers, since its map bends: to 16 bits. Raises BadInput where it has no
    landmarks.

    >>> normalised(np.array([0, 10], np.uint8).reshape(1, 1, 1, 2), Input(), bits=8)[0].dtype
    dtype('uint8')
    """
    if plan.normalise != "histogram":
        return data, levels_of(data, plan, bits=bits)
    from hounsfield.transforms.landmarks import PERCENTAGES, to_landmarks

    if len(plan.landmarks) != len(PERCENTAGES):
        held = f"{len(plan.landmarks)} landmarks" if plan.landmarks else "no landmarks"
        raise BadInput(
            f"input.normalise is histogram, but the plan holds {held}; expected the {len(PERCENTAGES)} that "
            "are learned from development images; leave input.landmarks empty when training"
        )
    mapped, (scale, offset) = to_landmarks(data, plan.landmarks)
    return mapped, (scale, offset, -np.inf, np.inf)


def levels_of(data: NDArray[Any], plan: Input, *, bits: int) -> Levels:
    """The scale, offset and bounds by which one image (C, K, J, I) is normalised.

    `bits` is the stored depth, by which "unit" divides; where the depth says nothing (real numbers,
    Hounsfield units, wide integers) it takes the image from least to greatest. "zscore" takes mean and
    standard deviation of the image; a constant image becomes zeros. "histogram" is no scale: `normalised`.

    >>> levels_of(np.array([0, 10], np.uint8).reshape(1, 1, 1, 2), Input(normalise="zscore"), bits=8)
    (0.2, -1.0, -inf, inf)
    """
    if plan.normalise == "unit":
        least, most = float(data.min()), float(data.max())
        spread = most - least or 1.0
        if data.dtype.kind == "f" or bits > 16 or least < 0 or most > 2**bits - 1:
            return 1.0 / spread, -least / spread, 0.0, 1.0
        return 1.0 / float(2**bits - 1), 0.0, 0.0, 1.0
    if plan.normalise == "window":
        centre, width = plan.window
        return 1.0 / width, 0.5 - centre / width, 0.0, 1.0
    if plan.normalise == "percentile":
        low, high = percentiles_of(data, plan.percentiles)
        spread = float(high - low) or 1.0
        return 1.0 / spread, float(-low) / spread, 0.0, 1.0
    if plan.normalise == "histogram":
        raise BadInput("histogram normalisation is no scale and offset; expected another input.normalise")
    mean, deviation = mean_and_spread(data)
    deviation = deviation or 1.0
    return 1.0 / deviation, -mean / deviation, -np.inf, np.inf


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
