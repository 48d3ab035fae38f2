"""The rows of a header table as arrays: what of each file can be used, and why it cannot if it cannot.

Nothing here is done once a file but what differs from file to file: a fault of kind or of encoding is
found once for every distinct combination of the elements that it depends on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.codecs.native import truncated
from hounsfield.io.dicom.codecs.syntaxes import fault_of_syntax
from hounsfield.io.dicom.columns import COLUMNS, FLAGS
from hounsfield.io.dicom.objects import fault_of_kind
from hounsfield.io.source import Source

__all__ = ["Headers", "distinct", "faults_of"]

Whole = NDArray[np.int64]
_PHOTOMETRICS = {
    "MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT",
}  # fmt: skip
_MOST_FRAGMENTS = 1 << 20
_COUNTS = {c.name: c.count for c in COLUMNS}


@dataclass
class Headers:
    """A header table asked by column; every answer is one array with an entry a row."""

    table: pa.Table
    _kept: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def codes(self, name: str) -> tuple[Whole, list[Any]]:
        """A number a row for its value, and the values by number; -1 where the element is absent."""
        if name not in self._kept:
            coded = self._column(name).dictionary_encode()
            self._kept[name] = (
                coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64),
                coded.dictionary.to_pylist(),
            )
        found: tuple[Whole, list[Any]] = self._kept[name]
        return found

    def texts(self, name: str, rows: Whole) -> list[str]:
        codes, values = self.codes(name)
        return [_value(values, code) for code in codes[rows].tolist()]

    def whole(self, name: str, default: int) -> Whole:
        if (kept := self._kept.get(f"{name} or {default}")) is None:
            column = self._column(name).fill_null(default)
            kept = np.asarray(column.to_numpy(zero_copy_only=False), np.int64)
            self._kept[f"{name} or {default}"] = kept
        found: Whole = kept
        return found

    def numbers(self, name: str) -> NDArray[np.float64]:
        """NaN where the element is absent."""
        if (kept := self._kept.get(f"numbers of {name}")) is None:
            column = self._column(name).cast(pa.float64())
            kept = np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
            self._kept[f"numbers of {name}"] = kept
        found: NDArray[np.float64] = kept
        return found

    def vectors(self, name: str) -> NDArray[np.float64]:
        """(N, count), NaN where the element is absent or holds another count of values."""
        if name not in self._kept:
            count = _COUNTS[name]
            values, starts, lengths = self._list(name)
            good = lengths == count
            vectors = np.full((len(self), count), np.nan)
            vectors[good] = values[starts[good][:, None] + np.arange(count)]
            self._kept[name] = vectors
        found: NDArray[np.float64] = self._kept[name]
        return found

    def flag(self, name: str) -> NDArray[np.bool_]:
        return np.asarray((self.whole("flags", 0) & FLAGS[name]) != 0)

    def spacing(self) -> NDArray[np.float64]:
        """(N, 2): between rows and between columns in mm, at the detector where only that is known."""
        found = np.full((len(self), 2), np.nan)
        for name in ("pixel_spacing", "imager_pixel_spacing", "nominal_scanned_pixel_spacing"):
            given = self.vectors(name)
            take = np.isnan(found[:, 0]) & (given > 0).all(axis=1) & np.isfinite(given).all(axis=1)
            found[take] = given[take]
        return found

    def members(self, rows: Sequence[int] | Whole) -> list[str]:
        names: list[str] = self.table["file"].take(pa.array(rows, pa.int64())).to_pylist()
        return names

    def records(self, rows: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.table.select(list(names)).take(pa.array(rows)).to_pylist()
        return found

    def _column(self, name: str) -> pa.Array:
        column = self.table[name]
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def _list(self, name: str) -> tuple[NDArray[np.float64], Whole, Whole]:
        column = self._column(name)
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        offsets = column.offsets.to_numpy().astype(np.int64)
        lengths = np.asarray(
            pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False), np.int64
        )
        return column.values.to_numpy(zero_copy_only=False), offsets[:-1], lengths


def distinct(*codes: NDArray[Any]) -> tuple[Whole, Whole]:
    """Number the rows by their combination of codes, and give the first row of each combination.

    >>> distinct(np.array([7, 7, 2, 7]), np.array([0, 1, 0, 0]))
    (array([1, 2, 0, 1]), array([2, 0, 1]))
    """
    together = np.zeros(len(codes[0]), np.int64)
    if together.size < 2:
        return together, together
    for code in codes:
        _, each = np.unique(code, return_inverse=True)
        _, together = np.unique(together * (int(each.max(initial=0)) + 1) + each, return_inverse=True)
    _, first = np.unique(together, return_index=True)
    return together, first


def faults_of(source: Source, headers: Headers) -> tuple[dict[int, str], set[int]]:
    """Rows that cannot be used, with the reason, and those of them that a stack would miss."""
    faults = {row: reason for row, reason in enumerate(headers.table["reason"].to_pylist()) if reason}
    spoils = set(faults)
    for row, fault in _faults_of_kind(headers).items():
        if faults.setdefault(row, fault) == fault and "cut short" in fault:
            spoils.add(row)
    for row, fault in _faults_of_pixels(source, headers, skip=set(faults)).items():
        faults[row] = fault
        spoils.add(row)
    return faults, spoils


def _faults_of_kind(headers: Headers) -> dict[int, str]:
    modality, modalities = headers.codes("modality")
    sop_class, classes = headers.codes("sop_class_uid")
    has_pixels = headers.whole("pixel_tag", 0) != 0
    has_rows = headers.whole("rows", 0) != 0
    many = headers.whole("number_of_frames", 1) > 1
    kinds, first = distinct(modality, sop_class, has_pixels, has_rows, many)
    said = [
        fault_of_kind(
            modality=_value(modalities, modality[row]),
            sop_class=_value(classes, sop_class[row]),
            has_pixels=bool(has_pixels[row]),
            has_rows=bool(has_rows[row]),
            frames=1 + bool(many[row]),
        )
        for row in first
    ]
    return _spread(kinds, said)


def _faults_of_pixels(source: Source, headers: Headers, *, skip: set[int]) -> dict[int, str]:
    rows, columns = headers.whole("rows", 0), headers.whole("columns", 0)
    samples = headers.whole("samples_per_pixel", 1)
    photometric, models = headers.codes("photometric_interpretation")
    syntax, syntaxes = headers.codes("transfer_syntax_uid")
    declared = headers.whole("pixel_length", 0)
    open_ended = (declared < 0) | headers.flag("encapsulated")
    kinds, first = distinct((rows > 0) & (columns > 0), samples, photometric, syntax, open_ended)
    said = [
        _fault_of_encoding(
            sized=bool(rows[row] > 0 and columns[row] > 0),
            samples=int(samples[row]),
            photometric=_value(models, photometric[row]),
            syntax=_value(syntaxes, syntax[row]),
            open_ended=bool(open_ended[row]),
        )
        for row in first
    ]
    faults = {row: fault for row, fault in _spread(kinds, said).items() if row not in skip}
    for row, fault in _faults_of_length(headers, open_ended).items():
        if row not in skip:
            faults.setdefault(row, fault)
    starts = headers.whole("pixel_offset", 0)
    sizes = headers.whole("size", 0)
    deflated = headers.flag("deflated")
    for row in np.flatnonzero(open_ended & ~deflated & (starts > 0)).tolist():
        if row in skip or row in faults:
            continue
        if not _closed(source, headers.members([row])[0], int(starts[row]), int(sizes[row])):
            faults[row] = "compressed pixel data that break off; the file was cut short, send it again"
    return faults


def _fault_of_encoding(*, sized: bool, samples: int, photometric: str, syntax: str, open_ended: bool) -> str:
    if not sized:
        return "a DICOM image without its number of rows and columns; send it again"
    if samples not in (1, 3):
        return f"{samples} samples per pixel, where 1 (grey) or 3 (colour) were expected"
    if photometric not in _PHOTOMETRICS:
        return f'the colour model "{photometric[:20]}" is not read; convert the image to RGB or grey'
    return fault_of_syntax(syntax) if syntax or open_ended else ""


def _faults_of_length(headers: Headers, open_ended: NDArray[np.bool_]) -> dict[int, str]:
    """Native pixel data that are shorter, or a frame longer, than rows, columns, frames and bits say."""
    frame = headers.whole("bits_allocated", 8) / 8  # floats: no product overflows
    for name, default in (("rows", 0), ("columns", 0), ("samples_per_pixel", 1)):
        frame = frame * headers.whole(name, default)
    expected = np.ceil(frame * np.maximum(headers.whole("number_of_frames", 1), 1))
    photometric, models = headers.codes("photometric_interpretation")
    halved = np.isin(photometric, [n for n, model in enumerate(models) if model == "YBR_FULL_422"])
    expected = np.where(halved, np.floor(expected * 2 / 3), expected)
    declared = headers.whole("pixel_length", 0)
    available = np.where(
        headers.flag("deflated"), declared, headers.whole("size", 0) - headers.whole("pixel_offset", 0)
    )
    held = np.maximum(np.minimum(declared, available), 0)
    native = ~open_ended & (headers.whole("pixel_tag", 0) != 0)
    faults = {}
    for row in np.flatnonzero(native & (held < expected)).tolist():
        faults[row] = truncated(int(held[row]), int(expected[row]))
    # one byte more is padding; a frame more means that the number of frames, or the size, is a lie
    for row in np.flatnonzero(native & ~halved & (held - expected >= np.maximum(frame, 2))).tolist():
        said = f"holds {int(held[row])} bytes of pixel data where {int(expected[row])} were expected"
        faults[row] = f"{said}, a frame more than it names; send it again"
    return faults


def _closed(source: Source, member: str, start: int, size: int) -> bool:
    """True if all fragments from `start` on lie in the file and end with a delimiter (PS3.5 A.4)."""
    try:
        with source.open(member) as file:
            file.seek(max(start, size - 8))
            if file.read(8) == b"\xfe\xff\xdd\xe0\0\0\0\0":
                return True
            for _ in range(_MOST_FRAGMENTS):
                if start + 8 > size:
                    return False
                file.seek(start)
                mark = file.read(8)
                if mark[:4] != b"\xfe\xff\x00\xe0":
                    return mark[:4] == b"\xfe\xff\xdd\xe0"
                start += 8 + int.from_bytes(mark[4:], "little")
    except (BadInput, OSError, EOFError):
        return False
    return False


def _value(values: list[Any], code: Any) -> str:
    return "" if code < 0 else " ".join(str(values[code]).split())


def _spread(kinds: Whole, said: list[str]) -> dict[int, str]:
    """The sentence of each kind for its rows."""
    faulty = np.isin(kinds, [n for n, fault in enumerate(said) if fault])
    return {row: said[kinds[row]] for row in np.flatnonzero(faulty).tolist()}
