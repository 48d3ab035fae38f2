"""Random numbers by counting: number `i` of a stream is a hash of `i`, the same on every processor.

A generator that runs gives its numbers in the order of asking; a hash gives any of them at once, alone, in
compiled loops as on a graphics processor (Salmon 2011, Parallel random numbers: as easy as 1, 2, 3). The hash
is the 32-bit mixer of C. Wellons ("lowbias32"); its arithmetic is that of 32-bit unsigned numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BIAS", "ELASTIC", "NOISE", "counted_uniform", "keys_of"]

NOISE, ELASTIC, BIAS = 0, 1, 2  # streams: what the numbers are for


def keys_of(seeds: NDArray[np.int64], stream: int) -> NDArray[np.uint32]:
    """One key (N,) for each seed (0 to 2^63 - 1) and a stream.

    >>> keys_of(np.array([0, 1, 2**40]), 0).tolist()
    [33350994, 2988215890, 416825633]
    """
    low = (seeds & 0xFFFFFFFF).astype(np.uint32)
    high = (seeds >> 32).astype(np.uint32)
    return _mixed(_mixed(low) + high + np.uint32((stream + 1) * 0x9E3779B9 & 0xFFFFFFFF))


def counted_uniform(keys: NDArray[np.uint32], count: int) -> NDArray[np.float32]:
    """The first numbers (N, count) of each key, evenly from 0 to 1 (without 1), in steps of 2^-24.

    >>> counted_uniform(keys_of(np.array([7]), ELASTIC), 2).astype(float).round(4).tolist()
    [[0.2938, 0.361]]
    """
    numbers = _mixed(_mixed(np.arange(count, dtype=np.uint32)) + keys[:, None])
    return (numbers >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _mixed(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))
