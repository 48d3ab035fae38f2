"""What a reader is: it claims files by name and first bytes, reads headers, and reads one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from hounsfield.core.index import Refused, Series
from hounsfield.core.registry import Registry
from hounsfield.core.volume import Volume
from hounsfield.io.source import Source

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["HEAD_BYTES", "READERS", "Found", "Progress", "Reader"]

HEAD_BYTES = 256
Progress = Callable[[int, int], None]
Found = tuple[list[Series], list[Refused]]


class Reader(Protocol):
    """One file format.

    `claims` sees a member's name and its first HEAD_BYTES bytes. `headers` reads the headers of the
    members it is given, as batches of rows (`io.index_rows`) in their order, and raises nothing
    because of a member's content: a row says why its file cannot be used. `images` makes images of
    such rows, all rows of a series at once: every file is (part of) a Series or Refused. The ids it
    gives are the members' names: `index_of` replaces them by ids that hide the name. `read` decodes
    one Series, or raises BadInput; `dtype` asks for float32 where a reader can give it at once (the caller
    converts where it cannot). `by_folder` is True where a file's folder may name its class.
    """

    by_folder: bool

    def claims(self, name: str, head: bytes) -> bool: ...

    def headers(
        self, source: Source, members: Sequence[str], progress: Progress
    ) -> Iterator[pa.RecordBatch]: ...

    def images(self, source: Source, table: pa.Table) -> Found: ...

    def read(self, source: Source, series: Series, *, dtype: type[np.float32] | None = None) -> Volume: ...


READERS: Registry[Reader] = Registry("reader")
