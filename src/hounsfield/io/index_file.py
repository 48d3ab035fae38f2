"""An index on the disk: rows stream into a Parquet file, and a rescan takes from it what has not changed.

The file appears when it is whole. Rows of any schema are written, if it begins with FILE_COLUMNS: then
a file's size and modification time tell whether its rows still hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.columns import FILE_COLUMNS
from hounsfield.io.files import whole_file
from hounsfield.io.source import Source

__all__ = ["IndexWriter", "Previous", "Rescan", "rescanned"]

_BEGAN = b"hounsfield.scan_began_ns"
_FORMAT = b"hounsfield.index_format"
_FORMAT_NOW = b"2"  # another one when the same file would give other rows
_GROUP_ROWS = 32_768
_WINDOW = 8192  # members whose rows are put in order together
_KEPT_GROUPS = 2  # of a previous index, in memory
_SETTLED_NS = 2_000_000_000  # some file systems count time in steps of two seconds

ReadHeaders = Callable[[Source, Sequence[str]], Iterator[pa.RecordBatch]]


class IndexWriter:
    """Takes batches of rows and writes them to `path`, which appears when the context ends well.

    Memory holds one row group of at most `group_rows` rows. `began_ns` is when the scan began (now if
    it is not given): files changed just before it are read again by a rescan. Raises BadInput where
    the disk is full, read-only or closed, and ValueError where the schema lacks FILE_COLUMNS.

    >>> import tempfile
    >>> rows = pa.record_batch([["a.dcm"], [10], [5], [""]], schema=pa.schema(FILE_COLUMNS))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with IndexWriter(Path(folder) / "index.parquet") as writer:
    ...         writer.write(rows)
    ...     pq.read_table(Path(folder) / "index.parquet")["file"].to_pylist()
    ['a.dcm']
    """

    def __init__(
        self,
        path: Path | str,
        schema: pa.Schema | None = None,
        *,
        began_ns: int | None = None,
        group_rows: int = _GROUP_ROWS,
    ) -> None:
        self._whole: AbstractContextManager[Path] = whole_file(path)
        self._began = time.time_ns() if began_ns is None else began_ns
        self._schema = schema
        self._group_rows = group_rows
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._path = Path(path)
        self.rows = 0

    def __enter__(self) -> Self:
        self._path = self._whole.__enter__()
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; the first batch fixes the schema if none was given."""
        if self._schema is None:
            self._schema = batch.schema
        self._waiting.append(batch)
        self.rows += batch.num_rows
        if sum(b.num_rows for b in self._waiting) >= self._group_rows:
            self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
                if self._writer is None and self._schema is not None:
                    self._open()
            if self._writer is not None:
                self._writer.close()
        except Exception as failed:
            if not self._whole.__exit__(type(failed), failed, failed.__traceback__):
                raise
            return
        self._whole.__exit__(kind, error, trace)

    def _open(self) -> pq.ParquetWriter:
        if self._writer is None:
            schema = self._schema or pa.schema(FILE_COLUMNS)
            _require_file_columns(schema)
            named = {**(schema.metadata or {}), _BEGAN: str(self._began).encode(), _FORMAT: _FORMAT_NOW}
            self._writer = pq.ParquetWriter(self._path, schema.with_metadata(named), compression="zstd")
        return self._writer

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, schema=self._schema)
            self._waiting = []
            self._open().write_table(table, row_group_size=self._group_rows)


def _require_file_columns(schema: pa.Schema) -> None:
    if [(f.name, f.type) for f in schema][: len(FILE_COLUMNS)] != [(f.name, f.type) for f in FILE_COLUMNS]:
        raise ValueError("an index begins with the columns file, size, mtime_ns, reason")


class Previous:
    """An older index: which of its rows still hold, and those rows.

    A row holds if its file has the size and modification time that it had, and was not changed within
    two seconds before the scan began, when a change might have left no trace in the time. Only the names,
    sizes and times of all files are in memory, and the row groups last used.
    """

    def __init__(self, file: pq.ParquetFile, *, began_ns: int) -> None:
        self._file = file
        self._began = began_ns
        self._groups: dict[int, pa.Table] = {}
        known = file.read(columns=["file", "size", "mtime_ns"])
        self._names = known["file"].combine_chunks()
        self._sizes: NDArray[np.int64] = known["size"].fill_null(-1).to_numpy()
        self._times: NDArray[np.int64] = known["mtime_ns"].fill_null(0).to_numpy()
        counts = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        self._starts = np.cumsum([0, *counts])
        self._row_of: dict[str, int] = {}
        for row, name in enumerate(self._names.to_pylist()):
            self._row_of.setdefault(name, row)

    @classmethod
    def open(cls, path: Path | str) -> Previous | None:
        """The index at `path`; None where there is none, or one that another version wrote.

        Raises BadInput where another file lies there, or a damaged one.
        """
        path = Path(path)
        if not path.exists():
            return None
        try:
            file = pq.ParquetFile(path, pre_buffer=False)
            _require_file_columns(file.schema_arrow)
            about = file.schema_arrow.metadata or {}
            if _BEGAN not in about or about.get(_FORMAT) != _FORMAT_NOW:
                file.close()
                return None
            return cls(file, began_ns=int(about[_BEGAN]))
        except PermissionError as error:
            raise BadInput(f"{path} may not be read by this user; change its permissions") from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BadInput(
                f"{path} is not an index that a scan wrote, or is damaged; choose another name or remove it"
            ) from error

    @property
    def schema(self) -> pa.Schema:
        """The columns of the older index."""
        return self._file.schema_arrow

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self._names)

    def rows_of(self, member: str, size: int, mtime_ns: int) -> range | None:
        """The rows of a member that is unchanged, None where it must be read (again).

        Rows of one file lie behind each other. A file without a time (0) is always read.
        """
        first = self._row_of.get(member)
        if first is None or not mtime_ns or mtime_ns > self._began - _SETTLED_NS:
            return None
        if self._sizes[first] != size or self._times[first] != mtime_ns:
            return None
        last = first + 1
        while last < len(self._names) and self._names[last].as_py() == member:
            last += 1
        return range(first, last)

    def batch(self, rows: Sequence[int], schema: pa.Schema) -> pa.RecordBatch:
        """Rows by number, in this order, in the columns of `schema`."""
        wanted = np.asarray(rows, np.int64)
        groups = np.searchsorted(self._starts, wanted, "right") - 1
        parts = []
        edges = np.flatnonzero(np.diff(groups, prepend=-1, append=-1))
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            group = int(groups[start])
            table = self._group(group, schema)
            parts.append(table.take(pa.array(wanted[start:end] - self._starts[group])))
        table = pa.concat_tables(parts) if parts else schema.empty_table()
        return pa.RecordBatch.from_arrays([c.combine_chunks() for c in table.columns], schema=schema)

    def _group(self, number: int, schema: pa.Schema) -> pa.Table:
        if number not in self._groups:
            while len(self._groups) >= _KEPT_GROUPS:
                del self._groups[next(iter(self._groups))]
            table = self._file.read_row_group(number, columns=schema.names, use_threads=False)
            self._groups[number] = table.select(schema.names).cast(schema.remove_metadata())
        return self._groups[number]

    def close(self) -> None:
        """Close the file."""
        self._groups.clear()
        self._file.close()


class Rescan:
    """Iterates over the rows of all members, and counts the files whose rows were `reused` and `read`."""

    def __init__(
        self,
        source: Source,
        members: Sequence[str],
        previous: Previous | None,
        *,
        read: ReadHeaders,
        schema: pa.Schema,
        window: int = _WINDOW,
    ) -> None:
        self._source, self._members, self._window = source, members, window
        self._read, self._schema = read, schema
        fits = previous is not None and all(
            f.name in previous.schema.names and previous.schema.field(f.name).type == f.type for f in schema
        )
        self._previous = previous if fits else None
        self.reused = 0
        self.read = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._previous is None:
            self.read = len(self._members)
            yield from self._read(self._source, self._members)
            return
        for start in range(0, len(self._members), self._window):
            yield from self._rows(self._previous, self._members[start : start + self._window])

    def _rows(self, previous: Previous, members: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of some members: old and new ones are put into the members' order together."""
        unread: list[str] = []
        rows: list[int] = []
        for member in members:
            found = self._unchanged(previous, member)
            if found is None:
                unread.append(member)
            else:
                rows += found
        self.read += len(unread)
        self.reused += len(members) - len(unread)
        if not unread:
            yield previous.batch(rows, self._schema)
        elif not rows:
            yield from self._read(self._source, unread)
        else:
            parts = [previous.batch(rows, self._schema), *self._read(self._source, unread)]
            yield _in_order(pa.Table.from_batches(parts), members)

    def _unchanged(self, previous: Previous, member: str) -> range | None:
        try:
            size, mtime = self._source.state(member)
        except BadInput:
            return None
        return previous.rows_of(member, size, mtime)


def _in_order(table: pa.Table, members: Sequence[str]) -> pa.RecordBatch:
    """The rows in the order of their files; rows of one file keep theirs."""
    place = {member: n for n, member in enumerate(members)}
    order = np.argsort([place[name] for name in table["file"].to_pylist()], kind="stable")
    taken = table.combine_chunks().take(pa.array(order))
    return pa.RecordBatch.from_arrays([c.combine_chunks() for c in taken.columns], schema=table.schema)


def rescanned(
    source: Source,
    members: Sequence[str],
    previous: Previous | None,
    *,
    read: ReadHeaders | None = None,
    schema: pa.Schema | None = None,
    window: int = _WINDOW,
) -> Rescan:
    """The rows of `members` in their order: unchanged files from the older index, the others read anew.

    `read` gives the rows of the members it is handed, by default DICOM headers, in `schema`, by default
    that of the header table. An older index that lacks a column of it is not used. `window` members are
    in memory at a time.
    """
    from hounsfield.io.dicom.columns import SCHEMA
    from hounsfield.io.dicom.header_table import header_batches

    return Rescan(
        source, members, previous, read=read or header_batches, schema=schema or SCHEMA, window=window
    )
