"""Memory for one volume after the other: the pages of the last one freed are used again.

The system clears every page that it hands out, which takes about as long as reading and converting a series
into it. One block is kept, of at most `MOST_KEPT_BYTES`; it returns here when the last array on it is gone.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["MOST_KEPT_BYTES", "forget", "uncleared"]

MOST_KEPT_BYTES = 512 << 20
_LEAST_BYTES = 16 << 20
_kept: list[NDArray[np.uint8]] = []
_lock = threading.Lock()


def uncleared(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of undefined values, like `numpy.empty`.

    >>> uncleared((2, 3), np.float32).shape
    (2, 3)
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if not _LEAST_BYTES <= size <= MOST_KEPT_BYTES:
        return np.empty(shape, kind)
    with _lock:
        block = _kept.pop() if _kept else None
    if block is None or not size <= block.nbytes <= 2 * size:
        block = np.empty(size, np.uint8)
    lent = _Lent(block)
    weakref.finalize(lent, _keep, block).atexit = False
    return np.asarray(lent)[:size].view(kind).reshape(shape)


class _Lent:
    """What all arrays on a block have as their base: when it dies, none of them is left."""

    def __init__(self, block: NDArray[np.uint8]) -> None:
        self.__array_interface__ = block.__array_interface__


def forget() -> None:
    """Give the kept memory back to the system."""
    with _lock:
        _kept.clear()


def _keep(block: NDArray[np.uint8]) -> None:
    # called wherever the last array dies, perhaps while this thread holds the lock: never wait for it
    if _lock.acquire(blocking=False):
        try:
            _kept[:] = [block]
        finally:
            _lock.release()
