"""Headers of many DICOM files as Arrow batches in one schema, a row a file, in the order they are named.

Threads read the first bytes of some hundred files into one block; compiled code walks and converts them
without the GIL. What the walk does not trust is read by pydicom, file by file or element by element.
Memory does not grow with the number of files.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.cells import Cells
from hounsfield.io.dicom.columns import COLUMNS, FLAGS, SCHEMA
from hounsfield.io.dicom.elements import faults
from hounsfield.io.dicom.slow_header import (
    LONGEST_HEADER,
    SlowRow,
    cell_of_bytes,
    essential_fault,
    inflated,
    row_of,
)
from hounsfield.io.dicom.values import ABOUT, DECIMALS, PENDING, convert
from hounsfield.io.dicom.walk import (
    BIG_ENDIAN,
    DEEPEST,
    DEFLATED,
    DONE,
    IMPLICIT,
    MARKS,
    MORE,
    ODD,
    STATE,
    TAGS,
    walk_files,
)
from hounsfield.io.first_bytes import UNREAD
from hounsfield.io.member_bytes import MemberBytes, ReadAt
from hounsfield.io.source import Source

__all__ = ["header_batches", "header_table"]

_HEAD_BYTES = 16_384
_CHUNK = 256  # files whose beginnings lie in one block
_MOST_READS = 500  # of one header; pydicom takes over
_STATUS, _AT, _NEXT, _CODING, _FOUND = map(STATE.index, ("status", "at", "next", "encoding", "found"))
_PIXEL_STATE = [STATE.index(name) for name in ("pixel_tag", "pixel_offset", "pixel_length", "flags")]
_PIXEL_LENGTH, _FLAGS = STATE.index("pixel_length"), _PIXEL_STATE.index(STATE.index("flags"))
_CHARACTER_SET = next(n for n, c in enumerate(COLUMNS) if c.name == "specific_character_set")
_WORTH_THREADS = 512  # files: fewer are read sooner than threads begin
_FEW = 3  # values: a file with fewer may not be DICOM at all, and pydicom is asked
_CHANGED = "changed while it was read; scan again"
_EMPTY = "an empty file; send it again"

Progress = Callable[[int, int], None]


def header_batches(
    source: Source,
    members: Sequence[str],
    *,
    batch: int = 2048,
    threads: int = 2,
    progress: Progress | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the headers of `members` in `columns.SCHEMA`, at most `batch` rows at a time, in their order.

    A file that is not DICOM, or cannot be read or trusted, gets a row with a `reason`; nothing raises
    because of a file. `progress` is told how many files of how many are done.
    """
    done = 0
    with closing(MemberBytes(source)) as files:
        few = threads <= 1 or len(members) <= _WORTH_THREADS
        for ready in (
            _in_turn(files, members, batch) if few else _side_by_side(files, members, batch, threads)
        ):
            done += ready.num_rows
            yield ready
            if progress:
                progress(done, len(members))


def _in_turn(files: MemberBytes, members: Sequence[str], batch: int) -> Iterator[pa.RecordBatch]:
    for some in _parts(members, batch, 1):
        yield _read_batch(files, some)


def _side_by_side(
    files: MemberBytes, members: Sequence[str], batch: int, threads: int
) -> Iterator[pa.RecordBatch]:
    waiting: deque[Future[pa.RecordBatch]] = deque()
    with ThreadPoolExecutor(threads, "headers") as pool:
        for some in _parts(members, batch, threads):
            waiting.append(pool.submit(_read_batch, files, some))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def header_table(source: Source, members: Sequence[str]) -> pa.Table:
    """All headers of `members` at once, in `columns.SCHEMA`.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "IM1.dcm").write_bytes(b"no image")
    ...     with Source(folder) as source:
    ...         header_table(source, source.members)["reason"].to_pylist()
    ['named as DICOM, but it is not; check the file']
    """
    return pa.Table.from_batches(header_batches(source, members), schema=SCHEMA)


def _parts(members: Sequence[str], batch: int, threads: int) -> Iterator[Sequence[str]]:
    """Members in parts of at most `batch`, as many parts as keep all threads busy."""
    parts = -(-len(members) // max(1, batch))
    parts = -(-parts // threads) * threads
    size = max(1, -(-len(members) // max(1, parts)))
    for start in range(0, len(members), size):
        yield members[start : start + size]


def _read_batch(files: MemberBytes, members: Sequence[str]) -> pa.RecordBatch:
    cells = Cells(len(members))
    work = _Work(min(_CHUNK, len(members)))
    for start in range(0, len(members), _CHUNK):
        _read_chunk(files, members, range(start, min(start + _CHUNK, len(members))), cells, work)
    return cells.record_batch(members)


class _Work:
    """The memory of one thread, used again for every chunk."""

    def __init__(self, files: int) -> None:
        self.block = np.empty(files * _HEAD_BYTES, np.uint8)
        bytes_of = memoryview(self.block)
        self.heads = [bytes_of[n * _HEAD_BYTES : (n + 1) * _HEAD_BYTES] for n in range(files)]
        self.held, self.sizes, self.times = np.zeros((3, files), np.int64)
        self.rows, self.starts, self.ends, self.lasts, self.shifts = np.zeros((5, files), np.int64)
        self.state = np.zeros((files, len(STATE)), np.int64)
        self.places, self.lengths, self.vrs = np.zeros((3, files, len(COLUMNS)), np.int64)
        self.pending = np.zeros((files * len(COLUMNS), len(PENDING)), np.int64)
        self.integer = np.zeros(1, np.int64)
        self.double = self.integer.view(np.float64)
        self.levels, self.element = np.zeros((DEEPEST, 2), np.int64), np.zeros(4, np.int64)


def _one_head(files: MemberBytes, member: str, into: memoryview) -> tuple[int, int, int, str]:
    """Bytes held, size, time, and why the file could not be read, if so."""
    try:
        return *files.head(member, into), ""
    except BadInput as error:
        return 0, 0, 0, str(error)
    except faults() as error:  # what a damaged zip raises
        return 0, 0, 0, f"could not be read ({type(error).__name__}); send it again"


def _read_chunk(files: MemberBytes, members: Sequence[str], rows: range, cells: Cells, work: _Work) -> None:
    some = members[rows.start : rows.stop]
    held, sizes, times = work.held[: len(some)], work.sizes[: len(some)], work.times[: len(some)]
    if not files.heads(some, work.block, _HEAD_BYTES, held, sizes, times):
        held[:] = UNREAD
    for n in np.flatnonzero(held == UNREAD).tolist():  # one by one, to say why if it fails
        held[n], sizes[n], times[n], cells.reasons[rows[n]] = _one_head(files, some[n], work.heads[n])
    whole = (held > 0) & (held >= np.minimum(sizes, _HEAD_BYTES))
    for n in np.flatnonzero(~whole).tolist():
        cells.reasons[rows[n]] = cells.reasons[rows[n]] or (_CHANGED if sizes[n] else _EMPTY)
    read = np.flatnonzero(whole)
    count = len(read)
    cells.sizes[rows.start : rows.stop] = sizes
    cells.mtimes[rows.start : rows.stop] = times * whole  # 0: a rescan tries the others again
    work.rows[:count], work.starts[:count] = read + rows.start, read * _HEAD_BYTES
    work.ends[:count] = work.starts[:count] + held[read]
    work.lasts[:count] = work.starts[:count] + sizes[read]
    work.shifts[:count] = 0
    work.state[:count] = 0
    _walk(work, count, work.block, cells, inflated_dataset=False)
    status, rows_read = work.state[:count, _STATUS].copy(), work.rows[:count].copy()
    for n in np.flatnonzero((status != DONE) | (work.state[:count, _FOUND] < _FEW)).tolist():
        _read_on(files, members[rows_read[n]], int(rows_read[n]), n, cells, work)


def _walk(
    work: _Work, count: int, block: NDArray[np.uint8], cells: Cells, *, inflated_dataset: bool, at: int = 0
) -> None:
    """Walk files `at` to at + count of the work and put what is found into their rows."""
    some = slice(at, at + count)
    state, places, lengths, vrs = work.state[some], work.places[some], work.lengths[some], work.vrs[some]
    rows = work.rows[some]
    walk_files(
        block, work.starts[some], work.ends[some], work.lasts[some], work.shifts[some], int(inflated_dataset),
        TAGS, MARKS, state, places, lengths, vrs, work.levels, work.element,
    )  # fmt: skip
    status, coding = np.ascontiguousarray(state[:, _STATUS]), np.ascontiguousarray(state[:, _CODING])
    walked = status == DONE
    cells.make_room(int((lengths * (lengths > 0))[walked].sum()), count)
    left = convert(
        block, ABOUT, rows, status, coding, places, lengths, vrs,
        cells.texts, cells.text_at, cells.text_length, cells.wholes, cells.whole_set, cells.singles,
        cells.single_set, cells.numbers, cells.number_at, cells.number_length, cells.used,
        work.pending, work.integer, work.double,
    )  # fmt: skip
    state[:, _STATUS] = status
    done = status == DONE
    cells.pixels[:, rows[done]] = state[done][:, _PIXEL_STATE].T
    cells.pixels[_FLAGS, rows[done]] |= _other_flags(state[done], inflated_dataset=inflated_dataset)
    if left:
        codings = dict(zip(rows.tolist(), state[:, _CODING].tolist(), strict=True))
        for cell in work.pending[:left].tolist():
            _fill_pending(block, cell, codings[cell[0]], cells)


def _other_flags(state: NDArray[np.int64], *, inflated_dataset: bool) -> NDArray[np.int64]:
    """The flags that tell of the file and not of an element."""
    encapsulated = (state[:, _PIXEL_LENGTH] == -1) * FLAGS["encapsulated"]
    big_endian = (state[:, _CODING] & BIG_ENDIAN != 0) * FLAGS["big_endian"]
    return encapsulated | big_endian | (FLAGS["deflated"] if inflated_dataset else 0)


def _fill_pending(block: NDArray[np.uint8], cell: list[int], coding: int, cells: Cells) -> None:
    """Read one element that the kernel left alone."""
    row, index, at, length, vr, decimals = cell
    raw = block[at : at + length].tobytes()
    column = COLUMNS[index]
    if decimals and DECIMALS:
        numbers = [float(d) for d in raw.rstrip(b"\0 ").split(b"\\")]
        fits = len(numbers) == (column.count or len(numbers)) and bool(np.isfinite(numbers).all())
        if fits:
            cells.put(row, index, numbers if column.kind == "numbers" else numbers[0])
            return
    is_meta = column.tag >> 16 == 2
    try:
        cell_read = cell_of_bytes(
            index,
            raw,
            vr=chr(vr >> 8) + chr(vr & 255) if vr else "",
            character_set=cells.text(row, _CHARACTER_SET),
            implicit=bool(coding & IMPLICIT) and not is_meta,
            big=bool(coding & BIG_ENDIAN) and not is_meta,
        )
    except faults():
        cells.reasons[row] = cells.reasons[row] or essential_fault(column)
        return
    cells.put(row, index, cell_read)


def _read_on(files: MemberBytes, member: str, row: int, n: int, cells: Cells, work: _Work) -> None:
    """Finish a header that needs more bytes, is deflated, or must be read by pydicom."""
    size = int(cells.sizes[row])
    start, end = int(work.starts[n]), int(work.ends[n])
    head = work.block[start:end].tobytes()
    try:
        status = int(work.state[n, _STATUS])
        if status == DEFLATED:
            with files.reading(member) as read_at:
                status = _walk_inflated(head, read_at, row, n, cells, work)
        elif status == MORE:
            with files.reading(member) as read_at:
                status = _walk_longer(head, read_at, size, row, n, cells, work)
        if status != DONE or work.state[n, _FOUND] < _FEW:
            cells.put_row(row, _by_pydicom(files, member, size))
        return
    except BadInput as error:
        reason = str(error)
    except OSError as error:
        reason = str(files.said(member, error))
    except faults() as error:
        reason = f"could not be read ({type(error).__name__}); send it again"
    cells.put_row(row, SlowRow(reason=reason))
    cells.mtimes[row] = 0  # a rescan tries it again


def _by_pydicom(files: MemberBytes, member: str, size: int) -> SlowRow:
    with files.as_file(member) as file:
        return row_of(file, size=size)


def _walk_once(
    held: bytes, last: int, shift: int, row: int, n: int, cells: Cells, work: _Work, *, inflated_dataset: bool
) -> int:
    """Walk one file in bytes of its own."""
    work.rows[n], work.starts[n], work.ends[n], work.lasts[n] = row, 0, len(held), last
    work.shifts[n] = shift
    _walk(work, 1, np.frombuffer(bytearray(held), np.uint8), cells, inflated_dataset=inflated_dataset, at=n)
    return int(work.state[n, _STATUS])


def _walk_longer(held: bytes, read_at: ReadAt, size: int, row: int, n: int, cells: Cells, work: _Work) -> int:
    """Read on, passing over long values that nobody wants, until the walk ends."""
    shift, step = 0, 4 * _HEAD_BYTES  # a byte of `held` after the last gap lies so far behind in the file
    for _ in range(_MOST_READS):
        state = work.state[n]
        if state[_NEXT]:
            held, at = held[: state[_AT]], int(state[_NEXT]) + shift
            shift, step = at - len(held), _HEAD_BYTES
        more = read_at(len(held) + shift, min(step, size - shift - len(held)))
        if not more and len(held) + shift < size:
            raise BadInput(_CHANGED)
        held, step = held + more, step * 4
        if len(held) > LONGEST_HEADER:
            raise BadInput("its header is too long to be one; check the file")
        status = _walk_once(held, size - shift, shift, row, n, cells, work, inflated_dataset=False)
        if status != MORE:
            return status
    return MORE


def _walk_inflated(head: bytes, read_at: ReadAt, row: int, n: int, cells: Cells, work: _Work) -> int:
    """Inflate as much of the dataset as holds the header (PS3.5 A.5)."""
    meta, most = head[: work.state[n, _AT]], 4 * _HEAD_BYTES
    while most <= LONGEST_HEADER:
        place = len(meta)

        def read(count: int) -> bytes:
            nonlocal place
            packed = read_at(place, count)
            place += len(packed)
            return packed

        try:
            dataset = inflated(read, most)
        except zlib.error:
            return ODD
        # bytes beyond what is inflated exist unless the stream has ended
        last = len(meta) + len(dataset) if len(dataset) < most else 1 << 60
        status = _walk_once(meta + dataset, last, 0, row, n, cells, work, inflated_dataset=True)
        if status != MORE:
            return status
        most *= 16
    raise BadInput("its header is too long to be one; check the file")
