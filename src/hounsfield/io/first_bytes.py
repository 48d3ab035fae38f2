"""The first bytes of many files of a folder, read by compiled code without the GIL, on Linux.

In Python the four system calls of a file (open, stat, read, close) cost more than a header's walk, and
threads would take turns at them. The structure that `statx` fills is the kernel's, the same on every
processor; where the C library has no `statx`, FAST is False and callers read file by file.
"""

from __future__ import annotations

import ctypes
import os
import sys

import numpy as np
from numba import types  # type: ignore[import-untyped]
from numpy.typing import NDArray

from hounsfield.core.compiled import compiled
from hounsfield.io.system_calls import close, openat, pread

__all__ = ["FAST", "UNREAD", "first_bytes"]

FAST = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "statx")
UNREAD = -1  # how many bytes are held of a file that could not be read, or is none

_statx = types.ExternalFunction(
    "statx", types.int32(types.int32, types.intp, types.int32, types.uint32, types.intp)
)

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC if FAST else 0  # a pipe must not make a scan wait
_EMPTY_PATH = 0x1000  # AT_EMPTY_PATH: the open file itself
_TYPE_SIZE_TIME = 0x1 | 0x200 | 0x40  # STATX_TYPE, STATX_SIZE, STATX_MTIME
_STATX_BYTES = 256
_MODE, _SIZE, _SECONDS, _NANOSECONDS = 28, 40, 112, 120  # places in struct statx
_LITTLE = sys.byteorder == "little"
_KIND, _REGULAR = 0o170000, 0o100000


def first_bytes(
    folder: int,
    names: bytes,
    count: int,
    block: NDArray[np.uint8],
    most: int,
    held: NDArray[np.int64],
    sizes: NDArray[np.int64],
    times: NDArray[np.int64],
) -> None:
    """Read up to `most` bytes of `count` files into the block, file n at n * most.

    `folder` is a descriptor, `names` are the files' within it, each followed by a NUL. Fills how many
    bytes of each are `held` (UNREAD where it failed), their `sizes` and `times` in ns.
    """
    if (
        names.count(b"\0") != count
        or len(block) < count * most
        or min(map(len, (held, sizes, times))) < count
    ):
        raise ValueError("as many names and places as files are needed")
    written = np.frombuffer(names, np.uint8)
    status, empty = np.zeros(_STATX_BYTES, np.uint8), np.zeros(1, np.uint8)
    _first_bytes(
        folder, written.ctypes.data, _starts(written, count), block.ctypes.data, most, held, sizes, times,
        status, status.ctypes.data, empty.ctypes.data,
    )  # fmt: skip


def _starts(names: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    starts = np.zeros(count, np.int64)
    starts[1:] = np.flatnonzero(names == 0)[:-1] + 1
    return starts


@compiled
def _number(status, place, size):  # type: ignore[no-untyped-def]
    """A number of the machine's byte order in the status of a file."""
    value = np.int64(0)
    for k in range(size):
        value = value << 8 | np.int64(status[place + (size - 1 - k if _LITTLE else k)])
    return value


@compiled
def _first_bytes(folder, names, starts, block, most, held, sizes, times, status, status_at, empty):  # type: ignore[no-untyped-def]
    for n in range(len(starts)):
        held[n] = UNREAD
        file = openat(folder, names + starts[n], _FLAGS)
        if file < 0:
            continue
        found = _statx(file, empty, _EMPTY_PATH, _TYPE_SIZE_TIME, status_at)
        if found == 0 and _number(status, _MODE, 2) & _KIND == _REGULAR:
            sizes[n] = _number(status, _SIZE, 8)
            times[n] = _number(status, _SECONDS, 8) * 1_000_000_000 + _number(status, _NANOSECONDS, 4)
            held[n] = pread(file, block + n * most, most, 0)
        close(file)
