"""The three networks of the article as the table trains them, and the batches that both sides are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pictures import pictures

__all__ = ["CHECKED_STEPS", "SETTINGS", "Setting", "batches"]

CHECKED_STEPS = 3
"""Steps from the same weights whose losses are compared, without dropout, which is random."""


@dataclass(frozen=True)
class Setting:
    """A network's image (rows, columns, channels), batch, and how many of its layers learn (-1: all)."""

    side: int
    channels: int
    batch: int
    optimiser: str
    rate: float
    trainable: int = -1


SETTINGS = {
    "a": Setting(224, 1, 8, "adam", 1e-3),
    "b": Setting(150, 3, 8, "rmsprop", 1e-3),
    "c": Setting(150, 3, 2, "sgd", 1e-4, trainable=4),
}


def batches(net: str, count: int = 4) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Images (n, rows, columns, channels) of float32 in [0, 1] and answers (n, 1) of 0 and 1."""
    how = SETTINGS[net]
    grey = pictures(how.batch * count, (how.side, how.side))
    images = np.repeat(grey[..., None], how.channels, 3)
    answers = (np.arange(len(images)) % 2).astype(np.float32)[:, None]
    parts = range(0, len(images), how.batch)
    return [(images[k : k + how.batch], answers[k : k + how.batch]) for k in parts]
