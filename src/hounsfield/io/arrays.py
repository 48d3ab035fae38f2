"""NumPy archives in MedMNIST's layout: {train,val,test}_{images,labels}, a row an image.

Images are (N, H, W), (N, H, W, 3) or (N, D, H, W); labels (N,), (N, 1) or (N, L) of 0 and 1, which
become the numbers of the columns that are 1, joined by "|" ("|" alone: none of them holds).
Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.registry import nearest
from hounsfield.core.volume import Volume
from hounsfield.io.index_rows import Damaged, rows_by_file, series_from
from hounsfield.io.reader import READERS, Found, Progress
from hounsfield.io.source import Source
from hounsfield.io.stored_values import require_finite

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ArrayReader"]

_PARTS = ("train", "val", "test", "")
_FAULTS: Final = (
    OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error, NotImplementedError,
    RuntimeError, SyntaxError,
)  # fmt: skip
_CACHED = 4  # arrays of images kept unpacked


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where an array of images comes from; another size or time means another file."""

    source: str
    member: str
    key: str
    size: int
    changed_ns: int


class ArrayReader:
    """Reads .npz; an array of images is unpacked once and kept while it is in use."""

    by_folder = False

    def __init__(self) -> None:
        self._kept: OrderedDict[_Kept, NDArray[np.generic]] = OrderedDict()
        self._lock = Lock()

    def claims(self, name: str, head: bytes) -> bool:  # noqa: ARG002
        """True for a name that ends in .npz."""
        return name.casefold().endswith(".npz")

    def headers(self, source: Source, members: Sequence[str], progress: Progress) -> Iterator[pa.RecordBatch]:
        """Read labels and the headers of the images: a row for each of an array's, or the file refused."""
        damaged = Damaged(_FAULTS, "a damaged .npz file; send or save it again")
        return rows_by_file(source, members, progress, _rows_of, damaged)

    def images(self, source: Source, table: pa.Table) -> Found:  # noqa: ARG002
        """An image a row."""
        return series_from(table)

    def read(
        self,
        source: Source,
        series: Series,
        *,
        dtype: type[np.float32] | None = None,  # noqa: ARG002
    ) -> Volume:
        """One row as (C, K, J, I), identity affine."""
        key = f"{series.part}_images" if series.part else "images"
        images = self._images(source, series.files[0], key)
        if not 0 <= series.position < len(images):
            raise BadInput(f"row {series.position} is not among the {len(images)} rows of {key}; scan again")
        row = images[series.position]
        layout = _layout_of(key, images.shape)
        data = np.moveaxis(row, -1, 0)[:, None] if layout.channels_last else row.reshape(1, *layout.shape)
        data = data.astype(np.uint8) if data.dtype == np.bool_ else data.copy()
        require_finite(data)
        return Volume(np.ascontiguousarray(data), np.eye(4), (f"{key}[{series.position}]",), False)

    def _images(self, source: Source, member: str, key: str) -> NDArray[np.generic]:
        local = source.local_path(member)
        status = (local or source.path).stat()
        kept = _Kept(str(source.path), member, key, status.st_size, status.st_mtime_ns)
        with self._lock:
            if kept not in self._kept:
                try:
                    with np.load(local or io.BytesIO(source.read_bytes(member)), allow_pickle=False) as file:
                        self._kept[kept] = file[key]
                except _FAULTS as error:
                    raise BadInput("a damaged .npz file; send or save it again") from error
            self._kept.move_to_end(kept)
            while len(self._kept) > _CACHED:
                self._kept.popitem(last=False)
            return self._kept[kept]


@dataclass(frozen=True, slots=True)
class _Layout:
    shape: tuple[int, int, int]
    channels: int
    channels_last: bool


def _rows_of(source: Source, member: str) -> list[Series]:
    rows: list[Series] = []
    with source.open(member) as opened, zipfile.ZipFile(opened) as archive:
        keys = [n[:-4] for n in archive.namelist() if n.endswith(".npy")]
        parts = [p for p in _PARTS if _key(p, "images") in keys]
        if not parts:
            hint = nearest(keys[0], [_key(p, "images") for p in _PARTS]) if keys else "it is empty"
            raise BadInput(f"an .npz file with the arrays {keys[:8]}, none of them images; {hint}")
        for part in parts:
            key = _key(part, "images")
            shape, kind = _header_of(archive, key)
            layout = _layout_of(key, shape)
            labels = [""] * shape[0]
            if _key(part, "labels") in keys:
                labels = _labels(archive, _key(part, "labels"), shape[0])
            rows += [
                Series(
                    id=member,
                    files=(member,),
                    reader="arrays",
                    shape=layout.shape,
                    channels=layout.channels,
                    bits=max(8, kind.itemsize * 8),
                    label=label,
                    part=part,
                    position=n,
                )
                for n, label in enumerate(labels)
            ]
    return rows


def _key(part: str, what: str) -> str:
    return f"{part}_{what}" if part else what


def _header_of(archive: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, without unpacking it. Arrays of Python objects are refused."""
    with archive.open(f"{key}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, kind = read(file)
    if kind.hasobject:
        raise BadInput(
            f'the array "{key}" holds pickled Python objects, which could run code when opened; '
            "save it as plain numbers"
        )
    return shape, kind


def _layout_of(key: str, shape: tuple[int, ...]) -> _Layout:
    """(N, H, W), (N, H, W, 3) or (N, D, H, W); a last axis of 1 or 3 is colour, as in MedMNIST."""
    if len(shape) == 3:
        return _Layout((1, shape[1], shape[2]), 1, False)
    if len(shape) == 4 and shape[3] in (1, 3):
        return _Layout((1, shape[1], shape[2]), shape[3], True)
    if len(shape) == 4 and shape[1] not in (2, 3, 4) and shape[3] not in (2, 4):
        return _Layout((shape[1], shape[2], shape[3]), 1, False)
    raise BadInput(f'the array "{key}" has shape {shape}; expected (N, H, W), (N, H, W, 3) or (N, D, H, W)')


def _labels(archive: zipfile.ZipFile, key: str, rows: int) -> list[str]:
    """Each row's label in words: its number, or the columns that are 1."""
    _header_of(archive, key)
    with archive.open(f"{key}.npy") as file:
        labels = np.lib.format.read_array(file, allow_pickle=False)
    if labels.ndim not in (1, 2) or len(labels) != rows:
        raise BadInput(f'the array "{key}" has shape {labels.shape} for {rows} images; expected a row each')
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.dtype.kind in "US" and labels.shape[1] == 1:
        return [str(v) for v in labels[:, 0].astype(str)]
    if labels.dtype.kind not in "buif" or (labels != np.floor(labels)).any():
        raise BadInput(f'the array "{key}" holds values that are not whole numbers; expected classes')
    whole = labels.astype(np.int64)
    if whole.shape[1] == 1:
        return [str(v) for v in whole[:, 0].tolist()]
    if not np.isin(whole, (0, 1)).all():
        raise BadInput(f'the array "{key}" has {whole.shape[1]} columns with values other than 0 and 1')
    return ["|".join(map(str, np.flatnonzero(row).tolist())) or "|" for row in whole]


READERS.add("arrays", ArrayReader())
