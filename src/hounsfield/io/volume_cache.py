"""Decoded volumes kept on the disk, so that a compressed series is decoded once.

An entry is a file named by a keyed hash (BLAKE2b, RFC 7693) of the members' names, sizes and times and this
file's version; the key is random and stays in the cache's folder, which only its owner may open. So no
name of an entry tells whose image it holds. Entries are written whole, mapped into memory when read, and the
least recently used are removed first. A damaged entry counts as absent.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io.files import whole_file
from hounsfield.io.source import Source

__all__ = ["VolumeCache"]

_MAGIC = b"HUVOL001"
_START = 4096  # where the voxels begin or a multiple of it: a page, and aligned for every type
_SALT_BYTES = 32
_ENDING = ".volume"
_VERSION = "1"  # another one when the same files would give other values


class VolumeCache:
    """A folder of decoded volumes, of at most `most_bytes` together.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = (Path(name) / "a.dcm").write_bytes(b"x")
    ...     cache = VolumeCache(Path(name) / "kept", most_bytes=1 << 20)
    ...     with Source(name) as source:
    ...         key = cache.key(source, ["a.dcm"])
    ...     cache.put(key, Volume(np.ones((1, 1, 2, 3), np.int16), np.eye(4)))
    ...     cache.get(key).data.sum()
    np.int64(6)
    """

    def __init__(self, folder: Path | str, *, most_bytes: int) -> None:
        if most_bytes < 1:
            raise BadInput(
                f"a cache of {most_bytes} bytes was asked for; expected room for at least a volume"
            )
        self.folder = Path(folder) / "volumes"
        self.most_bytes = most_bytes
        self._checked: set[tuple[str, int, int]] = set()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            self._salt = _salt(self.folder / "salt")
        except OSError as error:
            raise BadInput(
                f"the cache folder {folder} cannot be used ({error.strerror}); choose another"
            ) from error

    def key(self, source: Source, members: Sequence[str], *choices: object) -> str:
        """The name of the entry for these members as they are now, read with these choices.

        Another size or time of any file, another order or another version of this cache gives another
        key. Raises BadInput where a member is no longer there.
        """
        digest = blake2b(key=self._salt, digest_size=24)
        for part in (_VERSION, str(source.path.absolute()), *choices):
            digest.update(f"{part!r}\0".encode())
        for member in members:
            told = "\0".join(map(repr, (member, *source.state(member))))
            digest.update(told.encode())
        return digest.hexdigest()

    def get(self, key: str) -> Volume | None:
        """The volume, its voxels mapped from the file and private to the caller; None if there is none."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError):
            return None
        about = _header(mapped)
        if about is None:
            return None
        try:
            volume = _volume(mapped, about)
        except (KeyError, TypeError, ValueError, OverflowError, BadInput):
            return None
        known = (key, status.st_mtime_ns, status.st_size)
        if known not in self._checked and _checksum(volume.data) != about.get("checksum"):
            return None
        with suppress(OSError):
            now = time.time_ns()
            os.utime(path, ns=(now, now))
            self._checked.discard(known)
            self._checked.add((key, path.stat().st_mtime_ns, status.st_size))
        return volume

    def put(self, key: str, volume: Volume) -> None:
        """Keep a volume if there is room for it at all; a full or read-only disk is no error."""
        data = np.ascontiguousarray(volume.data)
        if data.nbytes + _START > self.most_bytes:
            return
        about = {
            "dtype": data.dtype.str,
            "shape": data.shape,
            "affine": volume.affine.tolist(),
            "source": volume.source,
            "spacing_known": volume.spacing_known,
            "checksum": _checksum(data),
        }
        text = json.dumps(about).encode()
        pages = -(-(len(text) + 24) // _START) * _START
        head = _MAGIC + len(text).to_bytes(8, "little") + pages.to_bytes(8, "little") + text
        self._make_room(pages + data.nbytes)
        with (
            suppress(BadInput, OSError),
            whole_file(self._path(key)) as unfinished,
            unfinished.open("wb") as file,
        ):
            file.write(head.ljust(pages, b"\0"))
            file.write(data.reshape(-1).view(np.uint8).data)

    def _path(self, key: str) -> Path:
        if not key.isalnum():
            raise BadInput("a key that the cache did not make; use VolumeCache.key")
        return self.folder / f"{key}{_ENDING}"

    def _make_room(self, size: int) -> None:
        entries = []
        for entry in os.scandir(self.folder):
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                entries.append((status.st_mtime_ns, status.st_size, entry))
        entries = sorted((e for e in entries if e[2].name.endswith(_ENDING)), key=lambda e: e[0])
        left = sum(size for _, size, _ in entries) + size - self.most_bytes
        for _, taken, entry in entries:
            if left <= 0:
                return
            with suppress(OSError):
                Path(entry.path).unlink()
            left -= taken


def _salt(path: Path) -> bytes:
    """The random key of this folder, made once even if several processes start together."""
    fresh = path.with_name(f".salt.{secrets.token_hex(4)}")
    if not path.exists():
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_SALT_BYTES))
        with suppress(FileExistsError):
            os.link(fresh, path)  # fails where another process was first
        fresh.unlink()
    found = path.read_bytes()
    if len(found) != _SALT_BYTES:
        raise OSError(0, "its salt is damaged; empty it")
    return found


def _header(mapped: mmap.mmap) -> dict[str, Any] | None:
    if len(mapped) < _START or mapped[:8] != _MAGIC:
        return None
    length, pages = (int.from_bytes(mapped[n : n + 8], "little") for n in (8, 16))
    if not 24 + length <= pages <= len(mapped):
        return None
    try:
        about = json.loads(mapped[24 : 24 + length])
    except ValueError:
        return None
    return {**about, "pages": pages} if isinstance(about, dict) else None


def _volume(mapped: mmap.mmap, about: dict[str, Any]) -> Volume:
    dtype, shape = np.dtype(about["dtype"]), tuple(int(n) for n in about["shape"])
    if dtype.kind not in "iuf" or min(shape) < 1:
        raise ValueError
    count = int(np.prod(shape, dtype=object))
    if about["pages"] + count * dtype.itemsize != len(mapped):
        raise ValueError
    data = np.frombuffer(mapped, dtype, count, about["pages"]).reshape(shape)
    affine = np.array(about["affine"], np.float64)
    return Volume(data, affine, tuple(map(str, about["source"])), bool(about["spacing_known"]))


def _checksum(data: NDArray[Any]) -> int:
    """The sum of the bytes as 64-bit words, and of what is left: any single damage changes it."""
    flat = data.reshape(-1).view(np.uint8)
    whole = len(flat) // 8 * 8
    words = int(np.add.reduce(flat[:whole].view(np.uint64), dtype=np.uint64))
    return words ^ int(flat[whole:].sum(dtype=np.uint64)) << 32
