"""All files of a stack to one array (C, K, J, I), by what the header table says of each.

Uncompressed grey slices on the disk go straight into the array: one read a file, one pass over the
values. Everything else is decoded file by file; only what the table does not hold is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.codecs.frames import decoded
from hounsfield.io.dicom.codecs.layout import CodecFault, Layout
from hounsfield.io.dicom.codecs.native import truncated
from hounsfield.io.dicom.codecs.syntaxes import BIG_ENDIAN, DEFLATED, EXPLICIT, NATIVE
from hounsfield.io.dicom.columns import FLAGS
from hounsfield.io.dicom.elements import faults
from hounsfield.io.dicom.straight import Slice, read_straight, spread
from hounsfield.io.source import Source
from hounsfield.io.stored_values import require_lowest_bits, require_usable, rescaled, turned_over

if TYPE_CHECKING:
    import pyarrow as pa

    from hounsfield.io.dicom.linear_values import Linear

__all__ = ["stack_values"]

Pixels = NDArray[Any]
Row = dict[str, Any]
_NEEDED = """
    file size mtime_ns reason transfer_syntax_uid modality samples_per_pixel photometric_interpretation
    planar_configuration number_of_frames rows columns bits_allocated bits_stored high_bit
    pixel_representation rescale_intercept rescale_slope pixel_tag pixel_offset pixel_length flags
""".split()  # noqa: SIM905 - twenty names, readable
_PIXEL_DATA = 0x7FE00010
_NOT_IN_TABLE = ("functional_groups", "modality_lut", "palette", "deflated", "big_endian")
_MOST_THREADS = 4
_WORTH_THREADS = 1 << 21  # bytes
_BUFFER_VALUES = 1 << 20  # read at once: fewer calls to the system outweigh a smaller cache


def stack_values(
    source: Source,
    rows: pa.Table,
    *,
    frames: Sequence[int] = (),
    dtype: np.dtype[Any] | type | None = None,
    threads: int = 0,
) -> Pixels:
    """Values (C, K, J, I) of a stack: a file a row, in the rows' order, or the frames of one file.

    `rows` has the columns of `hounsfield.io.dicom.columns.SCHEMA`. `frames` counts from 0 and asks for
    a single row. Integers stay integers as `pixels_of` has it, unless `dtype` is float32. `threads` 0
    uses what the machine has, at most four. Raises BadInput where a file is damaged or cannot be
    decoded.
    """
    table: list[Row] = rows.select(_NEEDED).to_pylist()
    if not table or (frames and len(table) > 1):
        raise BadInput(f"a stack of {len(table)} files was asked for {len(frames)} frames; expected one file")
    kind = None if dtype is None else np.dtype(dtype)
    if kind not in (None, np.dtype(np.float32)):
        raise BadInput(f"values were asked for as {kind}; expected float32 or the type of the file")
    for row in table:
        if row["reason"]:
            raise BadInput(row["reason"])
    slices = [_straight(source, row) for row in table]
    straight = [s for s in slices if s]
    if len(straight) == len(table) and len({s.like for s in straight}) == 1 and not frames:
        return read_straight(straight, kind, threads)[None]
    alone = len(table) == 1

    def one(n: int) -> Pixels:
        return _general(source, table[n], frames, threads if alone else 1)

    parts: list[Pixels] = [np.empty(0)] * len(table)

    def keep(first: int, last: int) -> None:
        for n in range(first, last):
            parts[n] = one(n)

    spread(keep, len(table), sum(row["size"] or 0 for row in table), threads)
    if len({p.shape for p in parts}) > 1:
        raise BadInput("its slices differ in size; scan again")
    from hounsfield.io.dicom.pixels import joined

    values = joined(parts) if len(parts) > 1 else parts[0]
    return values if kind is None else values.astype(kind, copy=False)


def _straight(source: Source, row: Row) -> Slice | None:
    """The slice, or None where it must be decoded or needs more than the table holds."""
    hidden = any(row["flags"] & FLAGS[name] for name in (*_NOT_IN_TABLE, "encapsulated"))
    bits, grey = row["bits_allocated"], (row["photometric_interpretation"] or "").startswith("MONOCHROME")
    plain = row["pixel_tag"] == _PIXEL_DATA and (row["samples_per_pixel"] or 1) == 1 and grey
    native = (row["transfer_syntax_uid"] or EXPLICIT) in NATIVE
    if hidden or not plain or not native or bits not in (8, 16) or (row["number_of_frames"] or 1) > 1:
        return None
    path = source.local_name(row["file"])
    if path is None or not row["rows"] or not row["columns"]:
        return None
    signed = row["pixel_representation"] == 1
    how = _linear(_stored_bits(row), signed, _turned(row), *_rescale(row))
    if how is None:
        return None
    found = Slice(path, row["pixel_offset"], (row["rows"], row["columns"], bits, signed), how)
    held = min(row["pixel_length"], row["size"] - row["pixel_offset"])
    if held < found.bytes:
        raise BadInput(truncated(max(0, held), found.bytes))
    return found


@lru_cache(maxsize=64)
def _linear(bits: int, signed: bool, turned: bool, slope: float, intercept: float) -> Linear | None:
    """The same for most slices of a stack; None where whole numbers become too large for compiled code."""
    from hounsfield.io.dicom.linear_values import Linear

    require_usable(slope, intercept)
    how = Linear(bits, signed, turned, slope, intercept)
    return None if how.whole and not how.fits_int32 else how


def _stored_bits(row: Row) -> int:
    allocated = row["bits_allocated"] or 8
    stored = row["bits_stored"] or allocated
    require_lowest_bits(allocated, stored, stored - 1 if row["high_bit"] is None else row["high_bit"])
    return int(stored) if 1 <= stored <= allocated else int(allocated)


def _rescale(row: Row) -> tuple[float, float]:
    slope, intercept = row["rescale_slope"], row["rescale_intercept"]
    return 1.0 if slope is None else slope, 0.0 if intercept is None else intercept


def _turned(row: Row) -> bool:
    """True where MONOCHROME1 is turned over; Hounsfield units and activity keep their meaning."""
    quantitative = row["modality"] in ("CT", "PT") and _rescale(row) != (1.0, 0.0)
    return row["photometric_interpretation"] == "MONOCHROME1" and not quantitative


def _general(source: Source, row: Row, frames: Sequence[int], threads: int) -> Pixels:
    """Values (C, K, J, I) of one file of any kind."""
    flags = row["flags"]
    missing = any(flags & FLAGS[name] for name in _NOT_IN_TABLE)
    colour = row["photometric_interpretation"] or ""
    compressed = bool(flags & FLAGS["encapsulated"])
    several = compressed and (row["number_of_frames"] or 1) > 1  # an extended offset table may say where
    if missing or several or row["pixel_tag"] != _PIXEL_DATA or colour == "PALETTE COLOR":
        return _by_dataset(source, row, frames, threads)
    raw = _raw(source, row)
    try:
        values = decoded(raw, _layout(row), which=frames, closed=compressed, threads=threads)
    except CodecFault as error:
        raise BadInput(str(error)) from error
    if values.shape[-1] == 1:
        if _turned(row):
            values = turned_over(values, bits_stored=_stored_bits(row))
        values = rescaled(values, *_rescale(row))
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))


def _layout(row: Row) -> Layout:
    compressed = row["flags"] & FLAGS["encapsulated"]
    return Layout(
        syntax=row["transfer_syntax_uid"] or ("" if compressed else EXPLICIT),
        frames=max(1, row["number_of_frames"] or 1),
        rows=row["rows"] or 0,
        columns=row["columns"] or 0,
        samples=row["samples_per_pixel"] or 1,
        bits_allocated=row["bits_allocated"] or 8,
        bits_stored=_stored_bits(row),
        signed=row["pixel_representation"] == 1 and row["bits_allocated"] != 1,
        photometric=row["photometric_interpretation"] or "",
        planar=row["planar_configuration"] == 1,
        big_endian=row["transfer_syntax_uid"] == BIG_ENDIAN,
    )


def _raw(source: Source, row: Row) -> memoryview:
    """The pixel data: as long as declared, or to the end of the file where the end is only marked."""
    length = row["pixel_length"] if row["pixel_length"] >= 0 else row["size"] - row["pixel_offset"]
    length = max(0, min(length, row["size"] - row["pixel_offset"]))
    try:
        with source.open(row["file"]) as file:
            file.seek(row["pixel_offset"])
            raw = file.read(length)
    except (OSError, EOFError) as error:
        raise BadInput(f"a file of the stack cannot be read ({type(error).__name__}); scan again") from error
    return memoryview(raw)


def _by_dataset(source: Source, row: Row, frames: Sequence[int], threads: int) -> Pixels:
    """The header read again with everything in it, the pixels from where the table says they lie."""
    from hounsfield.io.dicom.datasets import dataset_of
    from hounsfield.io.dicom.pixels import pixels_of

    apart = row["pixel_tag"] == _PIXEL_DATA and not row["flags"] & FLAGS["deflated"]
    apart = apart and row["transfer_syntax_uid"] not in (DEFLATED, BIG_ENDIAN)
    apart = apart and not row["flags"] & FLAGS["big_endian"]  # there the type of the element matters
    try:
        dataset = dataset_of(source, row["file"], before_pixels=apart)
    except faults() as error:
        raise BadInput(
            f"its DICOM elements do not follow the standard ({type(error).__name__}); send it again"
        ) from error
    raw = _raw(source, row) if apart else None
    return pixels_of(dataset, frames=frames, raw=raw, threads=threads)
