"""What a reader is: it claims files by name and first bytes, scans headers, and reads one image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hounsfield.core.index import Refused, Series
from hounsfield.core.registry import Registry
from hounsfield.core.volume import Volume
from hounsfield.io.source import Source

__all__ = ["HEAD_BYTES", "READERS", "Progress", "Reader"]

HEAD_BYTES = 256
Progress = Callable[[int, int], None]


class Reader(Protocol):
    """One file format.

    `claims` sees a member's name and its first HEAD_BYTES bytes. `scan` reads headers only: it
    turns each member it was given into (part of) a Series or a Refused, and raises nothing because
    of a member's content. The ids it gives are the members' names: `index_of` replaces them by ids
    that hide the name. `read` decodes one Series, or raises BadInput.
    """

    def claims(self, name: str, head: bytes) -> bool: ...

    def scan(
        self, source: Source, members: Sequence[str], progress: Progress
    ) -> tuple[list[Series], list[Refused]]: ...

    def read(self, source: Source, series: Series) -> Volume: ...


READERS: Registry[Reader] = Registry("reader")
