"""The elements by which volumes of one series differ, as codes in the order of their values."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.datasets import read_header
from hounsfield.io.dicom.elements import Elements, faults
from hounsfield.io.dicom.headers import Headers
from hounsfield.io.dicom.volumes import Separator
from hounsfield.io.source import Source, in_natural_order

__all__ = ["by_number", "by_text", "by_time", "private_separators", "separators_of"]

Whole = NDArray[np.int64]
_B_VALUES = (
    ("SIEMENS MR HEADER", 0x0019100C),
    ("Philips Imaging DD 001", 0x20011003),
    ("GEMS_PARM_01", 0x00431039),
)
_DIRECTIONS = 0x00189089
_GE_KIND = 0x0043102F  # 0 magnitude, 1 phase, 2 real, 3 imaginary
_KINDS: dict[float, str] = {0: "magnitude", 1: "phase", 2: "real", 3: "imaginary"}
_GE_LARGE = 1e9  # GE adds it, or a multiple of it, to the b-value


def by_number(name: str, values: NDArray[np.float64], *, unit: str = "") -> Separator:
    """Codes in ascending order of the values; NaN is no value.

    >>> s = by_number("echo time", np.array([9.8, 4.9, np.nan]), unit=" ms")
    >>> s.codes.tolist(), s.words
    ([1, 0, -1], ('echo time 4.9 ms', 'echo time 9.8 ms'))
    """
    known = np.isfinite(values)
    unique, inverse = np.unique(values[known], return_inverse=True)
    codes = np.full(len(values), -1, np.int64)
    codes[known] = inverse
    return Separator(name, codes, tuple(f"{name} {v:g}{unit}" for v in unique.tolist()))


def by_text(name: str, values: Sequence[str], *, counted: bool = False) -> Separator:
    r"""Codes in the order of the texts; of several values only those that differ are named.

    >>> by_text("image type", ["ORIGINAL\\M", "ORIGINAL\\P"]).words
    ('image type M', 'image type P')
    """
    unique = in_natural_order(set(values) - {""})
    number = {value: n for n, value in enumerate(unique)}
    codes = np.array([number.get(v, -1) for v in values], np.int64)
    if counted:
        return Separator(name, codes, tuple(f"{name} {n + 1} of {len(unique)}" for n in range(len(unique))))
    parts = [value.split("\\") for value in unique]
    common = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    said = [" ".join(p for p in each if p not in common) or "other" for each in parts]
    return Separator(name, codes, tuple(f"{name} {words[:40]}" for words in said))


def by_time(name: str, values: NDArray[np.float64], *, unit: str = "") -> Separator:
    """As `by_number`, and the rank at each position may tell; without a unit the words only count."""
    found = by_number(name, values, unit=unit)
    if not unit:
        words = tuple(f"{name} {n + 1} of {len(found.words)}" for n in range(len(found.words)))
        return Separator(name, found.codes, words, ranks=values)
    return Separator(name, found.codes, found.words, ranks=values)


def separators_of(headers: Headers, rows: Whole, away_mm: NDArray[np.float64]) -> list[Separator]:
    """What the header table tells of slices; `away_mm` (N, 3) is their place within the plane."""
    _, shift = np.unique(np.round(away_mm, 1), axis=0, return_inverse=True)
    count = int(shift.max()) + 1
    shifts = tuple(f"place {n + 1} of {count} in the plane" for n in range(count))
    date, time = headers.texts("acquisition_date", rows), headers.texts("acquisition_time", rows)
    return [
        by_text("echo", headers.texts("echo_numbers", rows)),
        by_number("echo time", headers.numbers("echo_time")[rows], unit=" ms"),
        by_number("b-value", headers.numbers("diffusion_b_value")[rows]),
        by_number("temporal position", headers.numbers("temporal_position_identifier")[rows]),
        by_time("trigger time", headers.numbers("trigger_time")[rows], unit=" ms"),
        by_text("image type", headers.texts("image_type", rows)),
        by_number("acquisition", headers.numbers("acquisition_number")[rows]),
        by_time("acquisition time", _seconds(date, time)),
        Separator("place", shift.reshape(-1).astype(np.int64), shifts),
    ]


def private_separators(source: Source, members: Sequence[str]) -> list[Separator]:
    """b-value, gradient direction and image kind from elements that a header table does not hold."""
    b_values, directions, kinds = [], [], []
    tags = [tag for _, tag in _B_VALUES] + [_DIRECTIONS, _GE_KIND, 0x00190010, 0x00430010, 0x20010010]
    for member in members:
        try:
            found = read_header(source, member, keywords=tags)
            b_values.append(_b_value(found))
            element = found.dataset.get(_DIRECTIONS)
            directions.append(str(element.value) if element is not None else "")
            kinds.append(_ge_kind(found))
        except BadInput:
            return []
        except faults():
            return []
    return [
        by_number("b-value", np.array(b_values, np.float64)),
        by_text("gradient direction", directions, counted=True),
        by_text("image type", kinds),
    ]


def _b_value(found: Elements) -> float:
    for creator, tag in _B_VALUES:
        if found.dataset.get(tag) is None or not _made_by(found, creator, tag):
            continue
        value = _first(found, tag)
        if np.isfinite(value):
            return value % _GE_LARGE if tag == 0x00431039 else value
    return float("nan")


def _ge_kind(found: Elements) -> str:
    return _KINDS.get(_first(found, _GE_KIND), "") if found.dataset.get(_GE_KIND) is not None else ""


def _made_by(found: Elements, creator: str, tag: int) -> bool:
    """True if the block of a private element is reserved by its maker (PS3.5 7.8.1)."""
    block = found.dataset.get((tag >> 16, (tag >> 8) & 0xFF))
    return block is None or creator.casefold() in str(block.value).casefold()


def _first(found: Elements, tag: int) -> float:
    """The first value of a private element, also where its type is unknown and its bytes are kept."""
    value = found.dataset[tag].value
    if isinstance(value, bytes):
        text = value.decode("ascii", "ignore").strip(" \0").split("\\")[0]
        try:
            return float(text)
        except ValueError:
            if len(value) == 4:
                return float(struct.unpack("<f", value)[0])
            return float(int.from_bytes(value, "little")) if len(value) == 2 else float("nan")
    if hasattr(value, "__len__") and not isinstance(value, str):
        value = value[0] if len(value) else float("nan")
    return float(value)


def _seconds(dates: Sequence[str], times: Sequence[str]) -> NDArray[np.float64]:
    """Date and time as one growing number, NaN where the time is absent."""
    found = np.full(len(times), np.nan)
    for n, (date, time) in enumerate(zip(dates, times, strict=True)):
        try:
            clock = time.replace(":", "").split("\\")[0]
            found[n] = float(clock) + (float(date.split("\\")[0]) - 19000000) * 1e6 if date else float(clock)
        except ValueError:
            continue
    return found
