"""A header, or one of its elements, read by pydicom: for what the compiled walk leaves alone.

The cells are those of the walk, so a table does not show who read it. An element that cannot be read is
null; if the geometry or the pixels depend on it, the row says so, because null would then be a lie.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from hounsfield.io.dicom.columns import COLUMNS, FLAGS, Column
from hounsfield.io.dicom.datasets import Bounded
from hounsfield.io.dicom.elements import HeaderFault, faults, silence_pydicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "BREAKS_OFF",
    "LONGEST_HEADER",
    "NOT_DICOM",
    "Cell",
    "SlowRow",
    "cell_of",
    "cell_of_bytes",
    "essential_fault",
    "inflated",
    "row_of",
]

Cell = str | int | float | list[float] | None
LONGEST_HEADER = 1 << 28  # bytes before the pixels, inflated if they are deflated

# Null means absent. Where one of these is there but unreadable, the image would get a wrong place or value.
_ESSENTIAL = {
    "slice_thickness", "imager_pixel_spacing", "nominal_scanned_pixel_spacing", "image_position_patient",
    "image_orientation_patient", "samples_per_pixel", "planar_configuration", "number_of_frames", "rows",
    "columns", "pixel_spacing", "bits_allocated", "bits_stored", "high_bit", "pixel_representation",
    "photometric_interpretation", "transfer_syntax_uid", "rescale_intercept", "rescale_slope",
}  # fmt: skip
NOT_DICOM = "named as DICOM, but it is not; check the file"
BREAKS_OFF = "a DICOM header that breaks off; the file was cut short or damaged, send it again"
_OF_DICOMDIR = "no pixel data (DICOMDIR, the table of contents of a disk)"
_DICOMDIR = "1.2.840.10008.1.3.10"
_OF_ANY = ("transfer_syntax_uid", "specific_character_set")  # say nothing of what is held
_NOTHING = "a DICOM file that does not say what it holds; send it again"
_LONGEST_TEXT = 65_536
_DEFLATED = "1.2.840.10008.1.2.1.99"
_PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
_FLAG_OF_TAG = {
    0x52009229: "functional_groups",
    0x52009230: "functional_groups",
    0x00283000: "modality_lut",
    0x00283010: "voi_lut",
    0x00281101: "palette",
    0x00291010: "csa_header",
    0x00291020: "csa_header",
}


@dataclass(slots=True)
class SlowRow:
    """What pydicom found in a header: cells by column name, where the pixels are, and why it is refused."""

    reason: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)
    pixel_tag: int | None = None
    pixel_offset: int | None = None
    pixel_length: int | None = None
    flags: int = 0


@dataclass(slots=True)
class _Seen:
    """Watches pydicom pass over the elements of a dataset, and stops it at the pixels or past the end."""

    file: Any
    size: int
    row: SlowRow

    def __call__(self, tag: int, _vr: str | None, length: int) -> bool:
        if tag in _PIXELS:
            self.row.pixel_tag, self.row.pixel_offset = int(tag), self.file.tell()
            self.row.pixel_length = -1 if length == 0xFFFFFFFF else length
            return True
        if tag in _FLAG_OF_TAG and length:
            self.row.flags |= FLAGS[_FLAG_OF_TAG[tag]]
        if length != 0xFFFFFFFF and self.file.tell() + length > self.size:
            self.row.reason = BREAKS_OFF
            return True
        return False


def row_of(file: IO[bytes], *, size: int) -> SlowRow:
    """Read the header of a file of `size` bytes; nothing raises because of what it holds."""
    silence_pydicom()
    row = SlowRow()
    marked, bare = False, False
    try:
        start = file.read(132)
        marked, bare = start[128:] == b"DICM", start[:1] in (b"\x02", b"\x08") or start[:2] == b"\0\x08"
        file.seek(0)
        dataset = _dataset(cast(BinaryIO, Bounded(file, size)), size, row)
        _fill(row, dataset)
        if not any(v is not None for name, v in row.cells.items() if name not in _OF_ANY):
            directory = dataset.get("MediaStorageSOPClassUID") == _DICOMDIR
            row.reason = _OF_DICOMDIR if directory else row.reason if marked and row.reason else _NOTHING
            row.reason = row.reason if marked or bare else NOT_DICOM
    except faults() as error:
        said = f"a DICOM header that does not follow the standard ({type(error).__name__}); send it again"
        return SlowRow(reason=said if marked or bare else NOT_DICOM)
    return row


def _dataset(file: BinaryIO, size: int, row: SlowRow) -> Dataset:
    """The wanted elements before the pixels, file meta information among them."""
    from pydicom.filereader import read_dataset, read_partial, read_preamble

    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _n: tag >> 16 != 2)
    wanted: list[Any] = [c.tag for c in COLUMNS]
    if meta.get("TransferSyntaxUID") == _DEFLATED:
        packed = io.BytesIO(inflated(file.read, LONGEST_HEADER))
        length = len(packed.getbuffer())
        # an unfinished inflation cannot tell what breaks off, so only the elements at hand are taken
        dataset = read_dataset(
            packed, False, True, stop_when=_Seen(packed, length, row), specific_tags=wanted
        )
        row.flags |= FLAGS["deflated"]
        dataset.update(meta)
        end, length = packed.tell(), length
    else:
        file.seek(0)
        seen = cast(Callable[[Any, str | None, int], bool], _Seen(file, size, row))
        dataset = read_partial(file, stop_when=seen, force=True, specific_tags=wanted)
        row.flags |= 0 if dataset.original_encoding[1] else FLAGS["big_endian"]
        dataset.update(dataset.file_meta)
        end, length = file.tell(), size
    if row.pixel_tag is None and end + 8 <= length:
        row.reason = BREAKS_OFF
    if row.pixel_length == -1:
        row.flags |= FLAGS["encapsulated"]
    return dataset


def inflated(read: Callable[[int], bytes], most: int) -> bytes:
    """Inflate a deflated dataset (PS3.5 A.5) until its end or `most` bytes; a damaged rest is left out."""
    stream, made = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO()
    while made.tell() < most and not stream.eof:
        packed = stream.unconsumed_tail or read(1 << 16)
        if not packed:
            break
        try:
            made.write(stream.decompress(packed, most - made.tell()))
        except zlib.error:
            if not made.tell():
                raise
            break
    return made.getvalue()


def _fill(row: SlowRow, dataset: Dataset) -> None:
    """Turn elements into cells; the first essential one that cannot be read becomes the row's reason."""
    for column in COLUMNS:
        try:
            row.cells[column.name] = cell_of(column, dataset.get(_keyword(column.tag)))
        except faults():
            row.cells[column.name] = None
            row.reason = row.reason or essential_fault(column)


def essential_fault(column: Column) -> str:
    """The sentence about an element that is there but cannot be read; "" if no image depends on it."""
    if column.name not in _ESSENTIAL:
        return ""
    expected = {"text": "a short text", "whole": "one whole number", "number": "one finite number"}
    what = expected.get(column.kind, f"{column.count} finite numbers")
    return f"its {_keyword(column.tag)} cannot be read, expected {what}; send it again or leave it out"


def cell_of(column: Column, value: Any) -> Cell:
    """pydicom's value of an element as a cell; raises HeaderFault where it does not fit the column.

    >>> from hounsfield.io.dicom.columns import COLUMNS
    >>> spacing = next(c for c in COLUMNS if c.name == "pixel_spacing")
    >>> cell_of(spacing, ["0.5", 1])
    Traceback (most recent call last):
    ...
    hounsfield.io.dicom.elements.HeaderFault: not a finite number
    >>> cell_of(spacing, [0.5, 1])
    [0.5, 1.0]
    """
    if value is None or value == "" or value == b"":
        return None
    values = list(value) if isinstance(value, MutableSequence | tuple) else [value]
    if not values:
        return None
    if column.kind == "text":
        return _text(values)
    if column.kind != "numbers" and len(values) != 1:
        raise HeaderFault(f"{len(values)} values, expected one")
    if column.kind == "whole":
        return _whole(values[0])
    numbers = [_number(v) for v in values]
    if column.kind == "number":
        return numbers[0]
    if column.count and len(numbers) != column.count:
        raise HeaderFault(f"{len(numbers)} values, expected {column.count}")
    return numbers


def _text(values: list[Any]) -> str | None:
    if not all(isinstance(v, str | int | float) for v in values):
        raise HeaderFault("not a text")
    joined = "\\".join(map(str, values))
    if len(joined) > _LONGEST_TEXT:
        raise HeaderFault("a text that is too long")
    return joined.encode("utf-8", "replace").decode() or None


def _whole(value: Any) -> int:
    if not isinstance(value, int | float) or not math.isfinite(value) or int(value) != value:
        raise HeaderFault("not a whole number")
    if not -(2**63) <= value < 2**63:
        raise HeaderFault("a number out of range")
    return int(value)


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise HeaderFault("not a finite number")
    return float(value)


@lru_cache(maxsize=4096)
def cell_of_bytes(
    index: int, raw: bytes, *, vr: str, character_set: str | None, implicit: bool, big: bool
) -> Cell:
    """The cell of COLUMNS[index] from the bytes of its element, read by pydicom; raises one of `faults()`.

    `vr` is the type that is written with it ("" if none is), `character_set` that of its dataset.
    """
    from pydicom.charset import convert_encodings, default_encoding
    from pydicom.dataelem import RawDataElement, convert_raw_data_element
    from pydicom.tag import BaseTag

    silence_pydicom()
    column = COLUMNS[index]
    named = character_set.split("\\") if character_set else None
    encodings = convert_encodings(named) if named else default_encoding
    element = RawDataElement(BaseTag(column.tag), vr or None, len(raw), raw, 0, implicit, not big)
    return cell_of(column, convert_raw_data_element(element, encoding=encodings).value)


@lru_cache(maxsize=256)
def _keyword(tag: int) -> str:
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(tag)
