"""The C library's calls for reading a file, as compiled code makes them without the GIL (POSIX.1-2008)."""

from __future__ import annotations

import sys

from numba import types  # type: ignore[import-untyped]

__all__ = ["AT_FDCWD", "AVAILABLE", "close", "openat", "pread"]

AVAILABLE = sys.platform == "linux"  # where these are the symbols' names and off_t has 64 bits
AT_FDCWD = -100  # a path that is absolute, or begins where the process stands

openat = types.ExternalFunction("openat", types.int32(types.int32, types.intp, types.int32))
pread = types.ExternalFunction("pread", types.intp(types.int32, types.intp, types.intp, types.int64))
close = types.ExternalFunction("close", types.int32(types.int32))
