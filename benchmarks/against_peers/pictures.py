"""The images that all contenders are given: smooth shapes with fine noise, made from a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["pictures", "ramp"]


def pictures(n: int, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Images (n, *size) of values in [0, 1]: five blobs on a slope and noise of two hundredths.

    >>> pictures(2, (8, 8)).shape
    (2, 8, 8)
    """
    rng = np.random.default_rng(7)
    places = np.stack(np.meshgrid(*(np.linspace(0, 1, s) for s in size), indexing="ij"))
    made = np.empty((n, *size), np.float32)
    for k in range(n):
        image = 0.2 * places[0] + rng.normal(0, 0.02, size)
        for _ in range(5):
            centre = rng.uniform(0.2, 0.8, len(size)).reshape(-1, *[1] * len(size))
            width = rng.uniform(0.05, 0.2)
            image += rng.uniform(0.2, 0.5) * np.exp(-((places - centre) ** 2).sum(0) / (2 * width**2))
        made[k] = np.clip(image, 0, 1)
    return made


def ramp(size: tuple[int, ...], axis: int) -> NDArray[np.float32]:
    """An image whose value is the place along an axis, 0 to 1: moved, it tells how far.

    >>> ramp((3, 2), 0).tolist()
    [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]
    """
    shape = [1] * len(size)
    shape[axis] = size[axis]
    line = np.linspace(0, 1, size[axis], dtype=np.float32).reshape(shape)
    return np.ascontiguousarray(np.broadcast_to(line, size))
