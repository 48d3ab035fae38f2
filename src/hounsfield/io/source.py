"""A folder, a file or a zip, read in place: its members by name, never extracted.

A member of a zip that lies in a folder is named "x.zip::a/b.dcm"; when the source is itself a zip,
its members are named as in a folder of the same content.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from hounsfield.core.errors import BadInput
from hounsfield.core.registry import nearest

__all__ = ["INSIDE", "Source", "in_natural_order"]

INSIDE = "::"
_SKIPPED = {"__macosx", "thumbs.db", "desktop.ini"}
_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, KeyError)


def in_natural_order(names: Iterator[str] | list[str]) -> list[str]:
    """Sort names as people count.

    >>> in_natural_order(["b10", "b9", "a"])
    ['a', 'b9', 'b10']
    """
    return sorted(names, key=_natural_key)


class Source:
    """Where images lie. Members are listed once; `faults` are places that could not be opened.

    Usable as a context manager, which closes the zips. A handle opened before a fork or a pickle is
    not shared with the child: each process opens its own. Raises BadInput where nothing is at `path`.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise BadInput(_missing(self.path))
        self._is_zip = self.path.is_file() and _named_zip(self.path.name)
        self._zips: dict[str, zipfile.ZipFile] = {}
        self._process = os.getpid()

    @cached_property
    def _listing(self) -> tuple[tuple[str, ...], dict[str, str]]:
        faults: dict[str, str] = {}
        names = in_natural_order(list(self._walk(faults)))
        return tuple(names), faults

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all files in natural order; hidden files and system files are left out.

        Raises BadInput where there is none.
        """
        names, faults = self._listing
        if not names and not faults:
            what = "zip" if self._is_zip else "folder"
            raise BadInput(f"the {what} {self.path} holds no file; choose one with images")
        return names

    @property
    def faults(self) -> dict[str, str]:
        """Places that could not be opened, with the reason: damaged zips, closed folders."""
        return dict(self._listing[1])

    def local_path(self, member: str) -> Path | None:
        """The path of a member on the disk, None inside a zip."""
        if self._is_zip or INSIDE in member:
            return None
        return self.path / member if self.path.is_dir() else self.path

    def open(self, member: str) -> IO[bytes]:
        """Open a member for reading; the caller closes it. Raises BadInput where it cannot be read."""
        local = self.local_path(member)
        try:
            if local is not None:
                return local.open("rb")
            archive, inside = self._split(member)
            return self._zip(archive).open(inside)
        except (OSError, *_ZIP_FAULTS) as error:
            raise BadInput(_unreadable(error)) from error

    def head(self, member: str, n: int) -> bytes:
        """The first `n` bytes of a member, fewer if it is shorter."""
        return self._read(member, n)

    def read_bytes(self, member: str) -> bytes:
        """All bytes of a member."""
        return self._read(member, -1)

    def size(self, member: str) -> int:
        """Length of a member in bytes, unpacked."""
        local = self.local_path(member)
        try:
            if local is not None:
                return local.stat().st_size
            archive, inside = self._split(member)
            return self._zip(archive).getinfo(inside).file_size
        except (OSError, *_ZIP_FAULTS) as error:
            raise BadInput(_unreadable(error)) from error

    def close(self) -> None:
        """Close the zips; a later read opens them again."""
        if self._process == os.getpid():
            for archive in self._zips.values():
                archive.close()
        self._zips = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_zips": {}}

    def _read(self, member: str, n: int) -> bytes:
        try:
            with self.open(member) as file:
                return file.read(n)
        except (OSError, *_ZIP_FAULTS) as error:
            raise BadInput(_unreadable(error)) from error

    def _split(self, member: str) -> tuple[str, str]:
        if self._is_zip:
            return "", member
        archive, _, inside = member.partition(INSIDE)
        return archive, inside

    def _zip(self, archive: str) -> zipfile.ZipFile:
        if self._process != os.getpid():  # a forked child must not share the parent's file offset
            self._zips, self._process = {}, os.getpid()
        if archive not in self._zips:
            # "" is the source itself; a single zip file given by path has no folder above it
            self._zips[archive] = zipfile.ZipFile(self.path / archive if archive else self.path)
        return self._zips[archive]

    def _walk(self, faults: dict[str, str]) -> Iterator[str]:
        if self._is_zip:
            yield from self._zip_members("", faults)
            return
        files = _files_below(self.path, faults) if self.path.is_dir() else [self.path.name]
        for name in files:
            try:
                name.encode("utf-8")
            except UnicodeEncodeError:
                legible = name.encode("utf-8", "replace").decode("utf-8")
                faults[legible] = "a file name that is not valid UTF-8; rename it"
                continue
            if _named_zip(name):
                yield from self._zip_members(name, faults)
            else:
                yield name

    def _zip_members(self, archive: str, faults: dict[str, str]) -> Iterator[str]:
        try:
            infos = self._zip(archive).infolist()
        except (OSError, *_ZIP_FAULTS) as error:
            faults[archive or self.path.name] = _unreadable(error)
            return
        for name in dict.fromkeys(i.filename for i in infos if not i.is_dir()):
            member = f"{archive}{INSIDE}{name}" if archive else name
            if any(_skipped(part) for part in name.split("/")):
                continue
            if _named_zip(name):
                faults[member] = "a zip inside a zip; unpack it first"
            else:
                yield member


def _files_below(root: Path, faults: dict[str, str]) -> Iterator[str]:
    """Names of all files below a folder; links to folders are followed once, after the real ones."""
    seen: set[tuple[int, int]] = set()
    waiting, links = [root], list[Path]()
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        try:
            status = folder.stat()
            entries = list(os.scandir(folder))
        except OSError as error:
            faults[folder.relative_to(root).as_posix()] = _unreadable(error)
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in sorted(entries, key=lambda e: _natural_key(e.name)):
            if _skipped(entry.name):
                continue
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif path.is_dir():
                links.append(path)
            elif path.is_file():
                yield path.relative_to(root).as_posix()


def _skipped(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SKIPPED


def _named_zip(name: str) -> bool:
    return name.casefold().endswith(".zip")


def _natural_key(name: str) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(p) if n % 2 else p for n, p in enumerate(parts)], name


def _missing(path: Path) -> str:
    try:
        siblings = [e.name for e in os.scandir(path.parent) if not _skipped(e.name)]
    except OSError:
        siblings = []
    hint = nearest(path.name, siblings) if siblings else "its folder is missing too"
    return f"{path} does not exist; expected a folder, a file or a zip; {hint}"


def _unreadable(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "may not be read by this user; change its permissions"
    if isinstance(error, zipfile.BadZipFile | zlib.error | EOFError):
        return "a damaged zip; send or download it again"
    if isinstance(error, RuntimeError) and "password" in str(error):
        return "a zip with a password; unpack it first"
    if isinstance(error, NotImplementedError):
        return "a zip packed by a method that is not supported; unpack it first"
    if isinstance(error, KeyError | FileNotFoundError):
        return "is no longer there; scan again"
    reason = error.strerror if isinstance(error, OSError) else type(error).__name__
    return f"could not be read ({reason})"
