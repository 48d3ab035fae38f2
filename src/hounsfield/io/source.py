"""A folder, a file or a zip, read in place: its members by name, never extracted.

A member of a zip that lies in a folder is named "x.zip::a/b.dcm"; when the source is itself a zip,
its members are named as in a folder of the same content.
"""

from __future__ import annotations

import errno
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
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
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 200  # no image of a gigabyte packs two hundred times smaller


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Sort names of members as people count, a folder's content together.

    >>> in_natural_order(["b10", "b9/x", "a"])
    ['a', 'b9/x', 'b10']
    """
    return sorted(names, key=lambda name: [_natural_key(part) for part in name.split("/")])


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
        self._folder = f"{self.path}/" if self.path.is_dir() else ""
        self._zips: dict[str, zipfile.ZipFile] = {}
        self._process = os.getpid()

    @cached_property
    def _listing(self) -> tuple[tuple[str, ...], dict[str, str]]:
        faults: dict[str, str] = {}
        return tuple(self._walk(faults)), faults

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
        name = self.local_name(member)
        return None if name is None else Path(name)

    def local_name(self, member: str) -> str | None:
        """The same as text, for those who ask for every file of a stack."""
        if self._is_zip or INSIDE in member:
            return None
        return self._folder + member if self._folder else str(self.path)

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
        return self.state(member)[0]

    def state(self, member: str) -> tuple[int, int]:
        """Length in bytes, unpacked, and time of the last change in ns; in a zip, the time of the zip."""
        local = self.local_name(member)
        try:
            if local is not None:
                found = os.stat(local)  # noqa: PTH116 - asked for every file of a stack, where a Path costs
                return found.st_size, found.st_mtime_ns
            archive, inside = self._split(member)
            size = self._zip(archive).getinfo(inside).file_size
            return size, (self.path / archive if archive else self.path).stat().st_mtime_ns
        except (OSError, *_ZIP_FAULTS) as error:
            raise BadInput(_unreadable(error)) from error

    def states(self, members: Sequence[str]) -> list[tuple[int, int]]:
        """The state of several members."""
        if self._folder and not any(INSIDE in member for member in members):
            try:
                found = [os.stat(self._folder + member) for member in members]  # noqa: PTH116 - as above
            except OSError as error:
                raise BadInput(_unreadable(error)) from error
            return [(f.st_size, f.st_mtime_ns) for f in found]
        return [self.state(member) for member in members]

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
        sizes = {i.filename: (i.file_size, i.compress_size) for i in infos if not i.is_dir()}
        for name in in_natural_order(sizes):
            member = f"{archive}{INSIDE}{name}" if archive else name
            if ".." in name.split("/"):
                faults[member] = "a name that climbs out of its zip; it is not read"
                continue
            if any(_skipped(part) for part in name.split("/")):
                continue
            unpacked, packed = sizes[name]
            if _named_zip(name):
                faults[member] = "a zip inside a zip; unpack it first"
            elif unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * packed:
                faults[member] = (
                    f"unpacks to {unpacked >> 20:,} MiB from {packed >> 20:,} MiB, as a zip bomb does; "
                    "unpack it first if you trust it"
                )
            else:
                yield member


def _files_below(root: Path, faults: dict[str, str]) -> Iterator[str]:
    """Names of all files below a folder in natural order; links to folders are followed once, at the end."""
    seen: set[tuple[int, int]] = set()
    waiting, links = [""], list[str]()  # of names; a folder's ends with "/"
    while waiting or links:
        name = waiting.pop() if waiting else links.pop(0)
        if name and not name.endswith("/"):
            yield name
            continue
        folder = root / name
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            if not waiting and name and root.resolve().is_relative_to(folder.resolve()):
                faults[name.rstrip("/")] = "a link to a folder that holds this source; it is not followed"
                continue
            entries = sorted(os.scandir(folder), key=lambda e: _natural_key(e.name), reverse=True)
        except OSError as error:
            faults[name.rstrip("/")] = _unreadable(error)
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            kind = "" if _skipped(entry.name) else _kind(entry)
            if kind == "link":
                links.append(f"{name}{entry.name}/")
            elif kind:
                waiting.append(f"{name}{entry.name}{'/' if kind == 'folder' else ''}")


def _kind(entry: os.DirEntry[str]) -> str:
    """What an entry is: a "file", a "folder", a "link" to a folder, or "" (a pipe, a broken link)."""
    try:
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "link" if entry.is_dir() else "file" if entry.is_file() else ""
    except OSError:  # a link that leads to itself, a disk that fails
        return ""


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
    if not hint.startswith("did you mean"):  # a list of what lies there may be a list of patients
        hint = "check its spelling" if siblings else hint
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
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return "a path too long for this system; move it to a folder nearer the root"
    if isinstance(error, KeyError | FileNotFoundError):
        return "is no longer there; scan again"
    reason = error.strerror if isinstance(error, OSError) else type(error).__name__
    return f"could not be read ({reason})"
