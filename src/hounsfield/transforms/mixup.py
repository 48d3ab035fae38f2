"""Images blended with another of their batch, and their targets alike (mixup, Zhang 2018)."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["blended", "draw_mixup"]

Array = TypeVar("Array")


def draw_mixup(
    alpha: float, steps: int, size: int, seed_or_rng: int | np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each image of `steps` batches of `size` the place of its partner in the epoch and its own share.

    Partners are of the same batch, each asked once; shares follow Beta(alpha, alpha), the larger part is the
    image's own. Both (steps * size,).

    >>> partner, share = draw_mixup(0.4, 2, 3, 0)
    >>> sorted(partner[:3].tolist()), sorted(partner[3:].tolist()), bool((share >= 0.5).all())
    ([0, 1, 2], [3, 4, 5], True)
    """
    rng = np.random.default_rng(seed_or_rng)
    places = np.arange(steps * size, dtype=np.int64).reshape(steps, size)
    partner = rng.permuted(places, axis=1).reshape(-1)
    share = rng.beta(alpha, alpha, steps * size)
    return partner, np.maximum(share, 1 - share).astype(np.float32)


def blended(own: Array, other: Array, share: Array) -> Array:
    """Images or targets (n, ...) and their partners', by each one's own share (n,): numpy arrays or tensors.

    >>> one, none = np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32)
    >>> blended(one, none, np.array([0.75], np.float32)).tolist()
    [[0.75, 0.75]]
    """
    mine, theirs, part = _any(own), _any(other), _any(share)
    each = part.reshape(-1, *[1] * (mine.ndim - 1))
    mixture: Array = mine * each + theirs * (1 - each)
    return mixture


def _any(array: object) -> Any:
    return array
