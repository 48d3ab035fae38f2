"""Rows of an index while a scan is under way: few stay in memory, many go to a file of their own.

Grouping needs all rows of a series at once, but not all series: a million rows are handed out by series,
some tens of thousands at a time, so that memory does not grow with the archive.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

__all__ = ["RowSpool"]

_IN_MEMORY = 100_000
_SERIES = "series_instance_uid"


class RowSpool:
    """Takes batches of one schema, then gives them back in order or by series.

    Usable as a context manager, which removes the file. The file holds patients' headers: it lies in a
    temporary folder that only this user may enter.

    >>> schema = pa.schema([("file", pa.string()), ("series_instance_uid", pa.string())])
    >>> with RowSpool(schema) as spool:
    ...     rows = {"file": ["a", "b"], "series_instance_uid": ["1", None]}
    ...     spool.add(pa.record_batch(rows, schema=schema))
    ...     [t["file"].to_pylist() for t in spool.by_series()]
    [['a', 'b']]
    """

    def __init__(self, schema: pa.Schema, *, in_memory: int = _IN_MEMORY) -> None:
        self._schema = schema
        self._most = in_memory
        self._kept: list[pa.RecordBatch] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep a batch."""
        self._kept.append(batch)
        self.rows += batch.num_rows
        if sum(b.num_rows for b in self._kept) > self._most:
            self._spill()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, in the order in which they came."""
        if self._writer is None:
            yield from self._kept
            return
        self._close()
        with pq.ParquetFile(self._path) as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group).cast(self._schema).to_batches()

    def by_series(self) -> Iterator[pa.Table]:
        """All rows in tables that never part a series; within a table in the order in which they came."""
        if self._writer is None:
            yield pa.Table.from_batches(self._kept, schema=self._schema)
            return
        self._close()
        rows = ds.dataset(self._path)
        counts = (
            rows.to_table(columns=[_SERIES])
            .group_by(_SERIES, use_threads=False)
            .aggregate([([], "count_all")])
        )
        for some in self._shares(counts):
            yield rows.to_table(filter=pc.is_in(pc.field(_SERIES), value_set=some)).cast(self._schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept = []
        self._close()
        if self._folder is not None:
            self._folder.cleanup()

    def _shares(self, counts: pa.Table) -> Iterator[pa.Array]:
        """Series in shares of at most the rows that memory may hold, or one series alone."""
        share: list[str | None] = []
        held = 0
        for uid, count in zip(counts[_SERIES].to_pylist(), counts["count_all"].to_pylist(), strict=True):
            if share and held + count > self._most:
                yield pa.array(share, pa.string())
                share, held = [], 0
            share.append(uid)
            held += count
        if share:
            yield pa.array(share, pa.string())

    def _spill(self) -> None:
        if self._writer is None:
            self._folder = tempfile.TemporaryDirectory(prefix="hounsfield-")
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="lz4")
        self._writer.write_table(pa.Table.from_batches(self._kept, schema=self._schema))
        self._kept = []

    def _close(self) -> None:
        if self._writer is not None and self._writer.is_open:
            if self._kept:
                self._spill()
            self._writer.close()

    @property
    def _path(self) -> Path:
        if self._folder is None:
            raise ValueError("nothing was spilled to a file")
        return Path(self._folder.name) / "rows.parquet"
