"""Stored 8- and 16-bit numbers to values, in one pass of compiled code.

w = the stored bits with their sign; v = base + turn * w (MONOCHROME1: turn -1);
value = slope * v + intercept.
Real products and sums are in double precision and rounded once to float32, as ITK does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.compiled import compiled
from hounsfield.io.system_calls import AT_FDCWD, AVAILABLE, close, openat, pread

__all__ = ["Linear", "convert_files", "write_values"]

_INT32 = np.iinfo(np.int32)
_REAL, _WHOLE, _WHOLE_AND_ENDS = 0.0, 1.0, 2.0  # how numbers are written


@dataclass(frozen=True, slots=True)
class Linear:
    """How stored numbers of `bits` bits become values."""

    bits: int
    signed: bool
    turned: bool
    slope: float
    intercept: float

    @property
    def mask(self) -> int:
        return (1 << self.bits) - 1

    @property
    def sign(self) -> int:
        return 1 << (self.bits - 1) if self.signed else 0

    @property
    def base(self) -> int:
        return 0 if not self.turned else -1 if self.signed else self.mask

    @property
    def turn(self) -> int:
        return -1 if self.turned else 1

    @property
    def whole(self) -> bool:
        return float(self.slope).is_integer() and float(self.intercept).is_integer()

    @property
    def unchanged(self) -> bool:
        return self.slope == 1 and self.intercept == 0

    def ends(self, low: int, high: int) -> tuple[int, int]:
        """Smallest and largest value of stored numbers from `low` to `high`; only where `whole`."""
        both = [int(self.slope) * (self.base + self.turn * w) + int(self.intercept) for w in (low, high)]
        return min(both), max(both)

    @property
    def by(self) -> int:
        """What a stored number is multiplied by; only where `whole`."""
        return int(self.slope) * self.turn

    @property
    def plus(self) -> int:
        """What is added to the product; only where `whole`."""
        return int(self.slope) * self.base + int(self.intercept)

    @property
    def fits_int32(self) -> bool:
        """True where every product and sum of whole numbers stays within 32 bits."""
        if not self.whole:
            return False
        ends = (*self.ends(-self.sign, self.mask), self.by, self.plus)
        return max(map(abs, ends)) <= _INT32.max


def write_values(stored: NDArray[Any], how: Linear, out: NDArray[Any]) -> tuple[int, int]:
    """Fill `out` (int16, int32, float32 or the stored type) from `stored`; it may be the same memory.

    For int16 gives the least and greatest stored number, else (0, 0): `how.ends` of them tells whether
    whole values fitted. In whole numbers where `how.fits_int32`, else in double precision, which is right
    for float32 only.
    """
    low, high = _write(stored, _numbers(how, out.dtype == np.int16), out)
    return int(low), int(high)


def convert_files(
    paths: Sequence[str],
    offsets: Sequence[int],
    how: Sequence[Linear],
    buffer: NDArray[Any],
    out: NDArray[Any],
    ends: NDArray[np.int64],
) -> int:
    """Read stored numbers at an offset of each file and write their values to `out` (K, values).

    `buffer` has the stored type; `ends` (K, 2) becomes what `write_values` gives. Gives how
    many files were read: fewer than all where one could not be opened or is too short, or on a system
    without these calls.
    """
    if not AVAILABLE:
        return 0
    names = b"".join(os.fsencode(path) + b"\0" for path in paths)
    if names.count(b"\0") != len(paths):
        return 0
    written = np.frombuffer(names, np.uint8)
    starts = np.zeros(len(paths), np.int64)
    starts[1:] = np.flatnonzero(written == 0)[:-1] + 1
    numbers = np.array([_numbers(h, out.dtype == np.int16) for h in how])
    places = np.asarray(offsets, np.int64)
    return int(
        _convert_files(
            written.ctypes.data, starts, places, numbers, buffer, buffer.ctypes.data, out, ends
        )
    )  # fmt: skip


@lru_cache(maxsize=64)
def _numbers(how: Linear, with_ends: bool) -> NDArray[np.float64]:
    """What the compiled code needs, as doubles, which hold them exactly."""
    if how.fits_int32:
        found = [_WHOLE_AND_ENDS if with_ends else _WHOLE, how.mask, how.sign, how.by, how.plus, 0, 0]
    else:
        found = [_REAL, how.mask, how.sign, how.turn, how.base, how.slope, how.intercept]
    return np.array(found, np.float64)


@compiled
def _write(stored: NDArray[Any], how: NDArray[Any], out: NDArray[Any]) -> tuple[int, int]:
    mask, sign = np.int32(how[1]), np.int32(how[2])
    by, plus = np.int32(how[3]), np.int32(how[4])
    slope, intercept = how[5], how[6]
    low, high = np.int32(0), np.int32(0)
    if how[0] == _WHOLE:
        for n in range(stored.size):
            w = ((np.int32(stored[n]) & mask) ^ sign) - sign
            out[n] = np.int32(np.int32(by * w) + plus)
    elif how[0] == _WHOLE_AND_ENDS:
        low, high = np.int32(2147483647), np.int32(-2147483648)
        for n in range(stored.size):
            w = np.int32(((np.int32(stored[n]) & mask) ^ sign) - sign)
            low = min(low, w)
            high = max(high, w)
            out[n] = np.int32(np.int32(by * w) + plus)
    else:
        for n in range(stored.size):
            w = ((np.int32(stored[n]) & mask) ^ sign) - sign
            out[n] = np.float32(np.float64(np.int32(plus + by * w)) * slope + intercept)
    return low, high


@compiled
def _convert_files(
    names: int,
    starts: NDArray[Any],
    offsets: NDArray[Any],
    how: NDArray[Any],
    buffer: NDArray[Any],
    buffer_at: int,
    out: NDArray[Any],
    ends: NDArray[Any],
) -> int:
    total = out.shape[1]
    for n in range(len(starts)):
        file = openat(AT_FDCWD, names + starts[n], 0)  # 0: O_RDONLY
        if file < 0:
            return n
        ends[n, 0], ends[n, 1] = 2147483647, -2147483648
        done = 0
        while done < total:
            count = min(len(buffer), total - done)
            left, held = count * buffer.itemsize, 0
            while left > 0:
                got = pread(file, buffer_at + held, left, offsets[n] + done * buffer.itemsize + held)
                if got <= 0:
                    break
                held, left = held + got, left - got
            if left > 0:
                break
            low, high = _write(buffer[:count], how[n], out[n, done : done + count])
            ends[n, 0], ends[n, 1] = min(ends[n, 0], low), max(ends[n, 1], high)
            done += count
        close(file)
        if done < total:
            return n
    return len(starts)
