"""The cells of a batch of headers while they are read, and the Arrow batch they become.

Text and lists of numbers of all columns are written behind each other as they come, and sorted into
columns at the end, so nothing is made for a single file or cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hounsfield.io.dicom.columns import COLUMNS, SCHEMA
from hounsfield.io.dicom.slow_header import Cell, SlowRow
from hounsfield.io.dicom.values import MOST_NUMBERS, gather

__all__ = ["Cells"]

_NUMBERS_OF_A_FILE = sum(c.count or MOST_NUMBERS for c in COLUMNS if c.kind == "numbers")
_PIXELS = ("pixel_tag", "pixel_offset", "pixel_length", "flags")


class Cells:
    """The cells of `rows` files; those nobody fills are null."""

    def __init__(self, rows: int) -> None:
        kinds = [c.kind for c in COLUMNS]
        self.rows = rows
        self.texts = np.empty(0, np.uint8)
        self.numbers = np.empty(0, np.float64)
        self.used = np.zeros(2, np.int64)  # of texts, of numbers
        self.text_at = np.zeros((kinds.count("text"), rows), np.int64)
        self.text_length = np.full((kinds.count("text"), rows), -1, np.int64)
        self.wholes = np.zeros((kinds.count("whole"), rows), np.int64)
        self.whole_set = np.zeros((kinds.count("whole"), rows), np.bool_)
        self.singles = np.zeros((kinds.count("number"), rows), np.float64)
        self.single_set = np.zeros((kinds.count("number"), rows), np.bool_)
        self.number_at = np.zeros((kinds.count("numbers"), rows), np.int64)
        self.number_length = np.full((kinds.count("numbers"), rows), -1, np.int64)
        self.pixels = np.zeros((len(_PIXELS), rows), np.int64)
        self.sizes = np.zeros(rows, np.int64)
        self.mtimes = np.zeros(rows, np.int64)
        self.reasons = [""] * rows
        self._slots = [kinds[:n].count(kind) for n, kind in enumerate(kinds)]

    def make_room(self, text_bytes: int, files: int) -> None:
        """See to it that so much more text, and the numbers of so many more files, can be written."""
        self._grow(text_bytes, files * _NUMBERS_OF_A_FILE + MOST_NUMBERS)  # and those of a cell that fails

    def _grow(self, text_bytes: int, numbers: int) -> None:
        self.texts = _longer(self.texts, int(self.used[0]), text_bytes)
        self.numbers = _longer(self.numbers, int(self.used[1]), numbers)

    def put(self, row: int, index: int, cell: Cell) -> None:
        """Write one cell of COLUMNS[index]."""
        kind, slot = COLUMNS[index].kind, self._slots[index]
        if cell is None:
            return
        if kind == "whole":
            self.wholes[slot, row], self.whole_set[slot, row] = cell, True
        elif kind == "number":
            self.singles[slot, row], self.single_set[slot, row] = cell, True
        elif isinstance(cell, str):
            written = np.frombuffer(cell.encode(), np.uint8)
            self._grow(len(written), 0)
            at, self.used[0] = int(self.used[0]), self.used[0] + len(written)
            self.texts[at : at + len(written)] = written
            self.text_at[slot, row], self.text_length[slot, row] = at, len(written)
        elif isinstance(cell, list):
            self._grow(0, len(cell))
            at, self.used[1] = int(self.used[1]), self.used[1] + len(cell)
            self.numbers[at : at + len(cell)] = cell
            self.number_at[slot, row], self.number_length[slot, row] = at, len(cell)

    def put_row(self, row: int, found: SlowRow) -> None:
        """Write what pydicom found in a file, in place of what a walk may have left there."""
        for cells, empty in (
            (self.text_length, -1),
            (self.number_length, -1),
            (self.whole_set, 0),
            (self.single_set, 0),
        ):
            cells[:, row] = empty
        for index, column in enumerate(COLUMNS):
            self.put(row, index, found.cells.get(column.name))
        self.pixels[:, row] = (
            found.pixel_tag or 0,
            found.pixel_offset or 0,
            found.pixel_length or 0,
            found.flags,
        )
        self.reasons[row] = found.reason

    def text(self, row: int, index: int) -> str | None:
        """The text that stands in a cell."""
        at, length = self.text_at[self._slots[index], row], self.text_length[self._slots[index], row]
        return None if length < 0 else self.texts[at : at + length].tobytes().decode()

    def record_batch(self, members: Sequence[str]) -> pa.RecordBatch:
        """All cells in SCHEMA, for the files named by `members`."""
        nothing = np.zeros(self.rows, np.bool_)
        columns = [
            pa.array(members, pa.string()),
            _plain(self.sizes, ~nothing),
            _plain(self.mtimes, ~nothing),
            pa.array(self.reasons, pa.string()),
        ]
        for column, slot in zip(COLUMNS, self._slots, strict=True):
            if column.kind == "text":
                columns.append(_texts(self.texts, self.text_at[slot], self.text_length[slot]))
            elif column.kind == "whole":
                columns.append(_plain(self.wholes[slot], self.whole_set[slot]))
            elif column.kind == "number":
                columns.append(_plain(self.singles[slot], self.single_set[slot]))
            else:
                columns.append(_lists(self.numbers, self.number_at[slot], self.number_length[slot]))
        has_pixels = self.pixels[0] != 0
        columns += [_plain(p, has_pixels) for p in self.pixels[:3]]
        columns.append(_plain(self.pixels[3], ~nothing))
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _longer(held: NDArray[Any], used: int, more: int) -> NDArray[Any]:
    """An array with the same beginning and room for `more` after it; it grows by half at least."""
    if used + more <= len(held):
        return held
    longer = np.empty(used + more + used // 2, held.dtype)
    longer[:used] = held[:used]
    return longer


def _validity(is_set: NDArray[np.bool_]) -> tuple[pa.Buffer | None, int]:
    nulls = len(is_set) - int(np.count_nonzero(is_set))
    return (pa.py_buffer(np.packbits(is_set, bitorder="little")) if nulls else None), nulls


def _plain(values: NDArray[Any], is_set: NDArray[np.bool_]) -> pa.Array:
    """Numbers as they are; the array keeps the memory."""
    validity, nulls = _validity(is_set)
    kind = pa.int64() if values.dtype.kind == "i" else pa.float64()
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(values)], nulls)


def _gathered(
    values: NDArray[Any], at: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    offsets = np.empty(len(at) + 1, np.int32)
    out = np.empty(int(np.maximum(lengths, 0).sum()), values.dtype)
    gather(values, at, lengths, offsets, out)
    return offsets, out


def _texts(values: NDArray[np.uint8], at: NDArray[np.int64], lengths: NDArray[np.int64]) -> pa.Array:
    offsets, out = _gathered(values, at, lengths)
    validity, nulls = _validity(lengths >= 0)
    return pa.StringArray.from_buffers(len(at), pa.py_buffer(offsets), pa.py_buffer(out), validity, nulls)


def _lists(values: NDArray[np.float64], at: NDArray[np.int64], lengths: NDArray[np.int64]) -> pa.Array:
    offsets, out = _gathered(values, at, lengths)
    validity, nulls = _validity(lengths >= 0)
    inner = _plain(out, np.ones(len(out), np.bool_))
    return pa.Array.from_buffers(
        pa.list_(pa.float64()), len(at), [validity, pa.py_buffer(offsets)], nulls, children=[inner]
    )
