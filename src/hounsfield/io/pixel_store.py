"""Decoded images as memory-mapped integers: decoded once, read many times, nothing copied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.files import whole_file, write_text

__all__ = ["PixelRow", "PixelStore", "write_pixels"]


@dataclass(frozen=True, slots=True)
class PixelRow:
    """Where an image lies in the store and what is known of it.

    `shape` is (C, K, J, I) as stored, `spacing_mm` (k, j, i) after any reduction and empty if unknown;
    `low` and `high` are the least and greatest value; `digest` is a hash of the decoded pixels.
    """

    offset: int
    shape: tuple[int, int, int, int]
    dtype: str
    spacing_mm: tuple[float, ...]
    low: float
    high: float
    digest: str


@dataclass(frozen=True)
class PixelStore:
    """Images by series id. `image` returns a read-only view (C, K, J, I) of the mapped file."""

    path: Path
    rows: Mapping[str, PixelRow]
    state: str = ""
    _map: list[NDArray[np.uint8]] = field(default_factory=list, repr=False, compare=False)

    def image(self, key: str) -> NDArray[np.generic]:
        """The decoded image of a series, unscaled, min is black."""
        if not self._map:
            self._map.append(np.memmap(self.path, np.uint8, "r"))
        row = self.rows[key]
        dtype = np.dtype(row.dtype)
        end = row.offset + int(np.prod(row.shape)) * dtype.itemsize
        return self._map[0][row.offset : end].view(dtype).reshape(row.shape)

    @classmethod
    def open(cls, folder: Path, state: str) -> PixelStore | None:
        """The store in `folder` if it is whole and holds exactly this `state` of the source."""
        table = folder / "pixels.json"
        if not table.is_file() or not (folder / "pixels.bin").is_file():
            return None
        raw = json.loads(table.read_text())
        if raw["state"] != state:
            return None
        rows = {
            k: PixelRow(**{**r, "shape": tuple(r["shape"]), "spacing_mm": tuple(r["spacing_mm"])})
            for k, r in raw["rows"].items()
        }
        return cls(folder / "pixels.bin", rows, state)


def write_pixels(
    folder: Path,
    images: Iterable[tuple[str, NDArray[np.generic], tuple[float, ...]]],
    *,
    state: str,
) -> PixelStore:
    """Append images (id, (C, K, J, I) array, spacing) to one file; it appears only when whole."""
    rows: dict[str, PixelRow] = {}
    offset = 0
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pixels.json").unlink(missing_ok=True)
    with whole_file(folder / "pixels.bin") as temporary, temporary.open("wb") as stream:
        for key, data, spacing in images:
            stored = np.ascontiguousarray(data)
            raw = stored.tobytes()
            low, high = float(stored.min()), float(stored.max())
            digest = hashlib.blake2b(repr(stored.shape).encode() + raw, digest_size=16).hexdigest()
            shape = (stored.shape[0], stored.shape[1], stored.shape[2], stored.shape[3])
            rows[key] = PixelRow(offset, shape, stored.dtype.str, spacing, low, high, digest)
            padding = -len(raw) % 16
            stream.write(raw + b"\0" * padding)
            offset += len(raw) + padding
    write_text(
        folder / "pixels.json",
        json.dumps({"state": state, "rows": {k: asdict(r) for k, r in rows.items()}}),
    )
    return PixelStore(folder / "pixels.bin", rows, state)
