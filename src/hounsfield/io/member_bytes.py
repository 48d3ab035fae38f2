"""The bytes of a source's members for several threads: the first ones of many, or any of one."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import IO

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.first_bytes import FAST, first_bytes
from hounsfield.io.source import INSIDE, Source

__all__ = ["MemberBytes", "ReadAt"]

# a pipe must not make a scan wait
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_FROM_FOLDER = os.open in os.supports_dir_fd

ReadAt = Callable[[int, int], bytes]


class MemberBytes:
    """How the bytes of members are reached; used by all threads, and closed after them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        # files are opened by their names within the folder: the system need not look the folder up each
        # time, and no path is built for each of a million members
        in_folder = source.local_path("x") == source.path / "x" and _FROM_FOLDER
        self._folder = os.open(source.path, os.O_RDONLY) if in_folder else None
        self._zip = threading.Lock()  # members of a zip share one handle

    def close(self) -> None:
        if self._folder is not None:
            os.close(self._folder)

    def in_zip(self, member: str) -> bool:
        return (self._folder is None or INSIDE in member) and self.source.local_path(member) is None

    def open(self, member: str) -> int:
        """A descriptor of a member that is a file of its own. Raises OSError."""
        if self._folder is not None and INSIDE not in member:
            return os.open(member, _FLAGS, dir_fd=self._folder)
        local = self.source.local_path(member)
        return os.open(local or member, _FLAGS)

    def heads(
        self,
        members: Sequence[str],
        block: NDArray[np.uint8],
        most: int,
        held: NDArray[np.int64],
        sizes: NDArray[np.int64],
        times: NDArray[np.int64],
    ) -> bool:
        """Read the first bytes of many members at once, as `first_bytes` does; False if it cannot."""
        names = "\0".join(members)
        if not FAST or self._folder is None or INSIDE in names:
            return False
        written = os.fsencode(names) + b"\0"
        if written.count(b"\0") != len(members):
            return False
        first_bytes(self._folder, written, len(members), block, most, held, sizes, times)
        return True

    def head(self, member: str, into: memoryview) -> tuple[int, int, int]:
        """Read a member's first bytes; (bytes read, size, time). Raises BadInput if it is not readable."""
        if self.in_zip(member):
            size, mtime = self.source.state(member)
            with self.reading(member) as read_at:
                start = read_at(0, min(size, len(into)))
            into[: len(start)] = start
            return len(start), size, mtime
        try:
            file = self.open(member)
            try:
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode):
                    raise BadInput("not a file; leave it out")
                return os.readv(file, (into,)), status.st_size, status.st_mtime_ns
            finally:
                os.close(file)
        except OSError as error:
            raise self.said(member, error) from error

    @contextmanager
    def reading(self, member: str) -> Iterator[ReadAt]:
        """A member for reading more of it: a function of place and number of bytes.

        Raises BadInput or one of `faults()`.
        """
        if not self.in_zip(member):
            file = self.open(member)
            try:
                yield lambda at, n: os.pread(file, n, at)
            finally:
                os.close(file)
            return
        with self._zip, self.source.open(member) as packed:

            def read_at(at: int, n: int) -> bytes:
                packed.seek(at)
                return packed.read(n)

            yield read_at

    def said(self, member: str, error: OSError) -> BadInput:
        """The sentence that the source has for an error."""
        try:
            self.source.open(member).close()
        except BadInput as known:
            return known
        return BadInput(f"could not be read ({error.strerror})")

    @contextmanager
    def as_file(self, member: str) -> Iterator[IO[bytes]]:
        """A member as a file object; a zip is held by one thread at a time."""
        with nullcontext() if not self.in_zip(member) else self._zip, self.source.open(member) as file:
            yield file
