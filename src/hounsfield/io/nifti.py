"""NIfTI-1 and NIfTI-2 volumes, plain or gzipped, turned from RAS+ to LPS millimetres."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.io.index_rows import Damaged, rows_by_file, series_from
from hounsfield.io.reader import READERS, Found, Progress
from hounsfield.io.source import Source
from hounsfield.io.stored_values import require_finite, rescaled

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NiftiReader"]

_IN_MM = {"meter": 1000.0, "micron": 0.001}
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_HEADER_BYTES = 540
_RGB = ("R", "G", "B")


class NiftiReader:
    """Reads .nii and .nii.gz; a fourth axis becomes channels."""

    by_folder = True

    def claims(self, name: str, head: bytes) -> bool:  # noqa: ARG002
        """True for a name that ends in .nii or .nii.gz."""
        return name.casefold().endswith((".nii", ".nii.gz"))

    def headers(self, source: Source, members: Sequence[str], progress: Progress) -> Iterator[pa.RecordBatch]:
        """Read the headers."""
        damaged = Damaged(_faults(), "a damaged NIfTI file; send it again")
        return rows_by_file(source, members, progress, _series, damaged)

    def images(self, source: Source, table: pa.Table) -> Found:  # noqa: ARG002
        """An image a file."""
        return series_from(table)

    def read(
        self,
        source: Source,
        series: Series,
        *,
        dtype: type[np.float32] | None = None,  # noqa: ARG002
    ) -> Volume:
        """Decode a volume to (C, K, J, I), slope and intercept applied."""
        content = source.read_bytes(series.files[0])
        try:
            layout = _layout(_unpacked(content, _HEADER_BYTES))
            content = _unpacked(content, layout.file_bytes)
            image = _image_class(content).from_bytes(content)
            stored = np.asanyarray(image.dataobj.get_unscaled())
            slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        except _faults() as error:
            raise BadInput("a damaged or cut-short NIfTI file; send it again") from error
        data = rescaled(_channels_first(stored), slope, intercept)
        data = data.astype(np.float32 if data.dtype.kind == "f" else data.dtype.newbyteorder("="), copy=False)
        require_finite(data)
        affine = layout.affine
        return Volume(np.ascontiguousarray(data), affine, series.files, layout.spacing_known)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a header says: (K, J, I), channels, bits, affine to LPS mm, bytes of the whole file."""

    shape: tuple[int, int, int]
    channels: int
    bits: int
    affine: NDArray[np.float64]
    spacing_known: bool
    file_bytes: int


@cache
def _faults() -> tuple[type[Exception], ...]:
    """What nibabel and gzip raise on a file that is damaged."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    known = (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, IndexError, ArithmeticError)
    return (*known, ImageFileError, HeaderDataError, WrapStructError)


def _series(source: Source, member: str) -> list[Series]:
    layout = _layout(_head(source, member))
    _require_whole(source, member, layout)
    i, j, k = (round(float(np.linalg.norm(layout.affine[:3, n])), 6) for n in range(3))
    spacing = (k, j, i) if layout.spacing_known else ()
    return [Series(member, (member,), "nifti", layout.shape, layout.channels, layout.bits, spacing)]


def _head(source: Source, member: str) -> bytes:
    with source.open(member) as file:
        unpacked: IO[bytes] = gzip.open(file) if file.read(2) == b"\x1f\x8b" else file  # type: ignore[assignment]  # noqa: SIM115
        file.seek(0)
        return unpacked.read(_HEADER_BYTES)


def _unpacked(content: bytes, most: int) -> bytes:
    """At most the first `most` bytes of a file that may be gzipped: what the header asks for, no bomb."""
    if content[:2] != b"\x1f\x8b":
        return content[:most]
    with gzip.open(io.BytesIO(content)) as file:
        return file.read(most)


@cache
def _silence_nibabel() -> None:
    """Drop nibabel's remarks on a header as it mends it: what matters of them is checked here."""
    import logging

    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)


def _image_class(head: bytes) -> Any:
    import nibabel

    _silence_nibabel()
    size = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    if 348 in size:
        return nibabel.Nifti1Image
    if 540 in size:
        return nibabel.Nifti2Image
    raise BadInput("named as NIfTI, but it is not; check the file")


def _layout(head: bytes) -> _Layout:
    read = _image_class(head).header_class.from_fileobj
    header, as_written = read(io.BytesIO(head)), read(io.BytesIO(head), check=False)
    if bytes(as_written["magic"].tobytes())[:3] not in (b"n+1", b"n+2"):
        raise BadInput("named as NIfTI, but without its mark; check the file")
    shape = tuple(int(n) for n in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise BadInput(f"a NIfTI file of shape {shape}; expected 2, 3 or 4 axes, none empty")
    kind = header.get_data_dtype()
    colours = len(kind.names) if kind.names else 1
    if kind.kind == "c" or (colours > 1 and kind.names[:3] != _RGB) or (colours > 1 and len(shape) > 3):
        raise BadInput(f"a NIfTI file of type {kind.name}, which is not read; save it as numbers")
    i, j, k = (*shape, 1)[:3]
    channels = 3 if colours > 1 else (*shape, 1, 1)[3] if len(shape) == 4 else 1
    affine = _lps_affine(header)
    # nibabel turns a length of zero into 1 mm; only the header as written tells that it is unknown
    known = int(header["sform_code"]) > 0 or bool(
        (as_written["pixdim"][1 : 1 + min(3, len(shape))] > 0).all()
    )
    count = int(np.prod(header.get_data_shape())) * kind.itemsize
    bits = kind.itemsize * 8 // colours
    return _Layout((k, j, i), channels, bits, affine, known, int(header["vox_offset"]) + count)


def _lps_affine(header: Any) -> NDArray[np.float64]:
    """The header's affine, lengths in mm whatever its unit, x and y turned over (RAS+ to LPS+)."""
    affine = np.asarray(header.get_best_affine(), np.float64)
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise BadInput("a NIfTI file whose affine flattens the volume; correct its header")
    scale = _IN_MM.get(header.get_xyzt_units()[0], 1.0)
    return np.asarray(_LPS_FROM_RAS @ np.diag([scale, scale, scale, 1.0]) @ affine, np.float64) + 0.0


def _require_whole(source: Source, member: str, layout: _Layout) -> None:
    """Refuse an unpacked file that was cut short; a gzipped one shows it when it is read."""
    held = source.size(member)
    if member.casefold().endswith(".nii") and held < layout.file_bytes:
        if source.head(member, 2) == b"\x1f\x8b":
            return
        raise BadInput(f"holds {held} bytes where {layout.file_bytes} were expected; send it again")


def _channels_first(stored: NDArray[Any]) -> NDArray[np.generic]:
    """(I, J[, K[, C]]) to (C, K, J, I)."""
    if stored.dtype.names:
        return np.stack([_channels_first(np.asarray(stored[name]))[0] for name in _RGB])
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    while stored.ndim < 4:
        stored = stored[..., None]
    return stored.transpose(3, 2, 1, 0)


READERS.add("nifti", NiftiReader())
