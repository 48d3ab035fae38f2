"""Writing a file whole or not at all, and saying in one sentence why it could not be written.

A file is written beside its final name, flushed to the disk and then renamed over it, so a reader
never meets half a file (POSIX rename is atomic within a folder).
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hounsfield.core.errors import BadInput

__all__ = ["require_writable_folder", "whole_file", "write_bytes", "write_json", "write_secret", "write_text"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NOT_A_FOLDER = {errno.ENOTDIR, errno.EEXIST}


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success it becomes `path`, on any error it is removed.

    Missing parent folders are made. The temporary name keeps the suffix, for writers that choose
    their format by it, and starts with a dot, so that a scan does not see it. Raises BadInput
    when the disk is full, read-only or closed to the user.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder) / "scores.csv") as unfinished:
    ...         _ = unfinished.write_text("case,score")
    ...     (Path(folder) / "scores.csv").read_text()
    'case,score'
    """
    final = Path(path)
    unfinished = final.with_name(f".{final.stem[:80]}.{secrets.token_hex(4)}{final.suffix}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        # 0o666 leaves the mode to the umask, as for any file the user writes
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield unfinished
        _flush(unfinished)
        unfinished.replace(final)
        _flush_folder(final.parent)
    except OSError as error:
        if not _concerns(error, final, unfinished):
            raise
        raise BadInput(_sentence(error, final)) from error
    except Exception as error:
        if os.strerror(errno.ENOSPC) in str(error):  # writers that wrap the system's error
            raise BadInput(_sentence(OSError(errno.ENOSPC, str(error)), final)) from error
        raise
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write bytes as a whole file; raises BadInput as `whole_file` does."""
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        file.write(content)


def write_secret(path: Path, secret: bytes) -> None:
    """Write a new file that only its owner may read; FileExistsError where there is one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        path.chmod(0o600)
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path | str, text: str) -> None:
    """Write text in UTF-8 as a whole file; raises BadInput as `whole_file` does."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, content: Any) -> None:
    """Write indented JSON; numpy values, dataclasses and paths are turned plain, NaN becomes null."""
    write_text(path, json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def require_writable_folder(path: Path | str) -> Path:
    """Make the folder if needed and prove that a file can be written in it; otherwise BadInput."""
    folder = Path(path)
    trial = folder / f".writable.{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with trial.open("wb") as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise BadInput(_sentence(error, folder)) from error
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)
    return folder


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Make the rename durable where the system can flush a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _concerns(error: OSError, final: Path, unfinished: Path) -> bool:
    """True if the error is about the file being written, not about one read meanwhile."""
    if error.errno in _FULL or error.filename is None:
        return True
    return Path(os.fsdecode(error.filename)) in {final, unfinished, final.parent, *final.parents}


def _sentence(error: OSError, path: Path) -> str:
    if error.errno in _FULL:
        return f"the disk that holds {path} is full; free space or choose another --out"
    if error.errno in _FORBIDDEN:
        return f"{path} may not be written (read-only or closed to this user); choose another --out"
    if error.errno in _NOT_A_FOLDER:
        return f"{path} needs a folder where a file of that name stands; choose another --out"
    if error.errno == errno.EISDIR:
        return f"{path} is a folder where a file should be written; choose another --out"
    return f"{path} could not be written ({error.strerror or error}); choose another --out"


def _plain(value: Any) -> Any:
    """The value in JSON's own types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # a numpy array or scalar, without importing numpy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
