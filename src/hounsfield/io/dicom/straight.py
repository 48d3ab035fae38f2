"""Uncompressed grey slices straight from the disk into one array: one read a file, one pass over its values.

Reading and converting a run of files is one call of compiled code without the GIL, so that threads share
the work; where the system is another, Python opens file by file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.codecs.native import truncated
from hounsfield.io.dicom.linear_values import Linear, convert_files, write_values
from hounsfield.io.dicom.reused_memory import uncleared

__all__ = ["Slice", "read_straight", "spread"]

Pixels = NDArray[Any]
_MOST_THREADS = 4
_WORTH_THREADS = 1 << 21  # bytes
_BUFFER_VALUES = 1 << 20  # read at once: fewer calls to the system outweigh a smaller cache


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice in a file: where its stored numbers begin, and how they become values.

    `like` is (rows, columns, bits allocated, signed); slices of one array share it.
    """

    path: str
    offset: int
    like: tuple[int, int, int, bool]
    how: Linear

    @property
    def stored(self) -> np.dtype[Any]:
        _, _, bits, signed = self.like
        return np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")

    @property
    def bytes(self) -> int:
        rows, columns, bits, _ = self.like
        return rows * columns * bits // 8


def read_straight(slices: Sequence[Slice], kind: np.dtype[Any] | None, threads: int) -> Pixels:
    """(K, J, I) in float32, or for None in the type of the file, int16 or int32, whichever holds the values.

    Raises BadInput where a file cannot be read or is too short.
    """
    if kind is not None or not all(s.how.unchanged or s.how.whole for s in slices):
        return _converted(slices, np.dtype(np.float32), threads)[0]
    if all(s.how.unchanged for s in slices):
        return _stored(slices, threads)
    values, ends = _converted(slices, np.dtype(np.int16), threads)
    target = np.result_type(*(_whole_kind(s, *found) for s, found in zip(slices, ends.tolist(), strict=True)))
    return values if target == np.int16 else _converted(slices, target, threads)[0]


def spread(some: Callable[[int, int], None], count: int, size: int, threads: int) -> None:
    """Call `some(first, last)` for parts of 0 … count, in threads where there is enough to do.

    Neighbours stay in one thread, so that pages are touched in order. `threads` 0: as the machine has.
    """
    workers = min(count, threads or min(_MOST_THREADS, _cores()))
    if workers <= 1 or size < _WORTH_THREADS:
        some(0, count)
        return
    edges = [n * count // workers for n in range(workers + 1)]
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(some, edges[:-1], edges[1:]):
            pass


def _cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stored(slices: Sequence[Slice], threads: int) -> Pixels:
    """Stored numbers in their type; only their unused bits are cleared, and MONOCHROME1 is turned over."""
    first = slices[0]
    out = uncleared((len(slices), *first.like[:2]), first.stored)

    def some(start: int, stop: int) -> None:
        for n in range(start, stop):
            values, how = out[n].reshape(-1), slices[n].how
            _read(slices[n], values, 0)
            if how.turned or how.bits != first.like[2]:
                write_values(values, how, values)

    spread(some, len(slices), out.nbytes, threads)
    return out


def _converted(
    slices: Sequence[Slice], target: np.dtype[Any], threads: int
) -> tuple[Pixels, NDArray[np.int64]]:
    """Values in the target type, and for int16 (K, 2) least and greatest stored numbers."""
    first = slices[0]
    out = uncleared((len(slices), *first.like[:2]), target)
    flat = out.reshape(len(slices), -1)
    ends = np.zeros((len(slices), 2), np.int64)

    def some(start: int, stop: int) -> None:
        part = slices[start:stop]
        buffer = np.empty(min(_BUFFER_VALUES, flat.shape[1]), first.stored)
        done = convert_files(
            [s.path for s in part], [s.offset for s in part], [s.how for s in part], buffer,
            flat[start:stop], ends[start:stop],
        )  # fmt: skip
        for n in range(start + done, stop):  # what was left: Python reads it, or says why not
            for at in range(0, flat.shape[1], buffer.size):
                place = flat[n, at : at + buffer.size]
                stored = buffer[: place.size]
                _read(slices[n], stored, at * buffer.itemsize)
                low, high = write_values(stored, slices[n].how, place)
                ends[n] = (low, high) if at == 0 else (min(low, ends[n, 0]), max(high, ends[n, 1]))

    spread(some, len(slices), out.nbytes, threads)
    return out, ends


def _whole_kind(part: Slice, low: int, high: int) -> np.dtype[Any]:
    """The type of a slice's values, as `rescaled` chooses it."""
    if part.how.unchanged:
        return part.stored
    ends = part.how.ends(low, high)
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= ends[0] and ends[1] <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def _read(part: Slice, into: Pixels, skip: int) -> None:
    """Fill `into` with stored numbers from `skip` bytes behind the first on."""
    left, at = memoryview(into).cast("B"), part.offset + skip
    try:
        file = os.open(part.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            while left:
                count = os.preadv(file, [left], at)
                if not count:
                    raise BadInput(truncated(at - part.offset, part.bytes))
                left, at = left[count:], at + count
        finally:
            os.close(file)
    except OSError as error:
        raise BadInput(f"a file of the stack cannot be read ({error.strerror}); scan again") from error
