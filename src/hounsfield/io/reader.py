"""What a reader is: it claims files by name and first bytes, scans headers, and reads one image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

from hounsfield.core.index import Refused, Series
from hounsfield.core.registry import Registry
from hounsfield.core.volume import Volume
from hounsfield.io.source import Source

__all__ = ["HEAD_BYTES", "READERS", "Progress", "Reader", "series_id"]

HEAD_BYTES = 256
Progress = Callable[[int, int], None]


class Reader(Protocol):
    """One file format.

    `claims` sees a member's name and its first HEAD_BYTES bytes. `scan` reads headers only: it
    turns each member it was given into (part of) a Series or a Refused, and raises nothing because
    of a member's content. `read` decodes one Series, or raises BadInput.
    """

    def claims(self, name: str, head: bytes) -> bool: ...

    def scan(
        self, source: Source, members: Sequence[str], progress: Progress
    ) -> tuple[list[Series], list[Refused]]: ...

    def read(self, source: Source, series: Series) -> Volume: ...


READERS: Registry[Reader] = Registry("reader")


def series_id(member: str) -> str:
    """An opaque name for an image: 12 hex digits of the SHA-256 of its place within the source.

    File names may hold patients' names, so reports show this instead.

    >>> series_id("a/b.dcm")
    'bc27a2b33429'
    """
    return hashlib.sha256(member.encode()).hexdigest()[:12]
