"""Plain measures of a prepared image, by which an image can be told to be unlike others; no network is asked.

They are taken of what reaches the network: levels of the stored values, tones, texture at several scales,
where it is bright and dark, and, where there are any, colours and the change from slice to slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FAMILIES", "measures_of"]

Array = NDArray[np.float64]
Plane = NDArray[np.float32]

FAMILIES: Mapping[str, str] = {
    "levels": "the level of its values",
    "tones": "its tones",
    "texture": "its sharpness or noise",
    "layout": "what it shows where",
    "colours": "its colours",
    "slices": "how its slices change",
}
"""The families of measures, and what is odd about an image that is odd in them."""

_PERCENTAGES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
_BLOCKS = 6
_SCALES = (0.6, 1.0, 2.0, 4.0)
_LEAST = 1e-3  # of an image's spread; below it there is nothing to be measured


def measures_of(stored: NDArray[Any]) -> dict[str, Array]:
    """The measures of one prepared image (C, K, J, I), a family each; a constant image has them too.

    Levels are in stored units; the others in the image's own spread, or logarithms.

    >>> found = measures_of(np.arange(1024, dtype=np.uint8).reshape(1, 1, 32, 32))
    >>> sorted(found)
    ['layout', 'levels', 'texture', 'tones']
    """
    values = np.asarray(stored, np.float32)
    centre, spread = float(values.mean()), float(values.std())
    # what the z-score leaves: the network sees no level of its own in most plans
    shown = (values - centre) / max(spread, 1e-6)
    grey = np.ascontiguousarray(shown.mean(0))  # (K, J, I)
    middle = grey[len(grey) // 2]
    found = {
        "levels": _levels(values, centre, spread),
        "tones": _tones(grey),
        "texture": _texture(middle),
        "layout": _layout(grey),
    }
    if len(shown) > 1:
        found["colours"] = _colours(shown)
    if len(grey) > 1:
        steps = np.abs(np.diff(grey, axis=0))
        found["slices"] = _log(np.array([steps.mean(), np.median(steps), steps.max()], np.float64))
    return found


def _levels(values: NDArray[np.float32], centre: float, spread: float) -> Array:
    low, high = np.percentile(values, (1, 99))
    return np.array([centre, spread, low, high], np.float64)


def _tones(grey: NDArray[np.float32]) -> Array:
    least, most = float(grey.min()), float(grey.max())
    near = 0.02 * max(most - least, 1e-6)
    shares = [float((grey <= least + near).mean()), float((grey >= most - near).mean())]
    return np.concatenate([np.percentile(grey, _PERCENTAGES), np.sqrt(shares)]).astype(np.float64)


def _texture(plane: Plane) -> Array:
    """Logarithms of what each scale holds, of noise and edges, and whether edges lie along one axis."""
    import cv2

    smooth = [plane, *(cv2.GaussianBlur(plane, (0, 0), s) for s in _SCALES)]
    bands = [float((a - b).std()) for a, b in pairwise(smooth)]
    rough = np.abs(cv2.Laplacian(plane, -1))
    across = np.abs(np.diff(plane, axis=1)).mean() if plane.shape[1] > 1 else 0.0
    along = np.abs(np.diff(plane, axis=0)).mean() if plane.shape[0] > 1 else 0.0
    told = _log(np.array([*bands, np.median(rough), rough.mean(), rough.max(), across, along], np.float64))
    return np.append(told, told[-1] - told[-2])


def _layout(grey: NDArray[np.float32]) -> Array:
    """Means of blocks: of the middle slice, and coarser of the slices a quarter and three quarters in."""
    import cv2

    count = len(grey)
    parts = [cv2.resize(grey[count // 2], (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)]
    if count > 3:
        for at in (count // 4, 3 * count // 4):
            parts.append(cv2.resize(grey[at], (3, 3), interpolation=cv2.INTER_AREA))
    return np.concatenate([part.reshape(-1) for part in parts]).astype(np.float64)


def _colours(shown: NDArray[np.float32]) -> Array:
    """Mean and spread of what each channel differs by from the mean of all."""
    apart = (shown - shown.mean(0)).reshape(len(shown), -1)
    return np.concatenate([apart.mean(1), _log(apart.std(1).astype(np.float64))]).astype(np.float64)


def _log(values: Array) -> Array:
    return np.log(np.maximum(values, _LEAST))
