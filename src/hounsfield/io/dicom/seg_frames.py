"""The last two elements of a segmentation, written straight to bytes: what each frame is, and its pixels.

A segmentation has a frame for every segment in every slice, and each frame says in five nested sequences
where it lies and what it was drawn on. Built from objects that costs about a millisecond a frame;
these bytes are the same (explicit VR little endian, PS3.5 7.1.2) and cost some microseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.source_grid import Reference, SourceGrid

__all__ = ["Frame", "decimal", "frame_groups", "labels_present", "packed_bits"]

_LONG = {"OB", "OW", "SQ", "UT", "UN"}
_EIGHT = 8  # frames at a time: whole bytes whatever the size of a frame


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: its slice (from 0) and its segment, 0 where the frame holds all of them (a labelmap)."""

    slice: int
    segment: int = 0


def labels_present(mask: NDArray[np.unsignedinteger]) -> NDArray[np.bool_]:
    """(K, largest label + 1): which labels occur in each slice of the mask (K, J, I).

    >>> labels_present(np.array([[[0, 2]], [[0, 0]]], np.uint8)).tolist()
    [[True, False, True], [True, False, False]]
    """
    most = int(mask.max(initial=0))
    found = np.zeros((len(mask), most + 1), bool)
    found[:, 0] = True
    for k, plane in enumerate(mask):
        if plane.any():
            found[k] = np.bincount(plane.ravel(), minlength=most + 1) > 0
    return found


def packed_bits(
    mask: NDArray[np.unsignedinteger], frames: Sequence[Frame], labels: Sequence[int]
) -> Iterator[bytes]:
    """The frames as bits, the first in the lowest place (PS3.5 8.1.1), without padding between frames.

    `labels` are the mask's values of segments 1, 2 … .

    >>> b"".join(packed_bits(np.array([[[0, 2, 2]]], np.uint8), [Frame(0, 1)], [2]))
    b'\\x06'
    """
    for start in range(0, len(frames), _EIGHT):
        some = frames[start : start + _EIGHT]
        inside = np.empty((len(some), *mask.shape[1:]), bool)
        for n, frame in enumerate(some):
            np.equal(mask[frame.slice], labels[frame.segment - 1], out=inside[n])
        yield np.packbits(inside.reshape(-1), bitorder="little").tobytes()


def frame_groups(frames: Sequence[Frame], grid: SourceGrid) -> bytes:
    """PerFrameFunctionalGroupsSequence (5200,9230) of frames on a grid, as bytes.

    A frame's index is its segment (if it has one) and its slice's number; its image is that of the slice.
    """
    places = [_place(p) for p in grid.positions_mm] if grid.affine is not None else None
    derived = [_derivation(r) for r in grid.references]
    items = []
    for frame in frames:
        index = [n for n in (frame.segment, frame.slice + 1 if places else 0) if n] or [1]
        content = _element(0x0020, 0x9157, "UL", struct.pack(f"<{len(index)}I", *index))
        groups = [derived[frame.slice], _sequence(0x0020, 0x9111, content)]
        if places:
            groups.append(places[frame.slice])
        if frame.segment:
            number = _element(0x0062, 0x000B, "US", struct.pack("<H", frame.segment))
            groups.append(_sequence(0x0062, 0x000A, number))
        items.append(b"".join(groups))
    return _sequence(0x5200, 0x9230, *items)


def _place(position_mm: NDArray[np.float64]) -> bytes:
    text = "\\".join(decimal(v) for v in position_mm.tolist())
    return _sequence(0x0020, 0x9113, _text(0x0020, 0x0032, "DS", text))


def _derivation(image: Reference) -> bytes:
    """DerivationImageSequence: segmented from this image, pixel for pixel (C.7.6.16.2.6)."""
    source = _text(0x0008, 0x1150, "UI", image.class_uid) + _text(0x0008, 0x1155, "UI", image.instance_uid)
    if image.frame:
        source += _text(0x0008, 0x1160, "IS", str(image.frame))
    source += _text(0x0028, 0x135A, "CS", "YES")  # spatial locations preserved
    purpose = _code("121322", "Source image for image processing operation")
    source += _sequence(0x0040, 0xA170, purpose)
    return _sequence(
        0x0008, 0x9124,
        _sequence(0x0008, 0x2112, source) + _sequence(0x0008, 0x9215, _code("113076", "Segmentation")),
    )  # fmt: skip


def _code(value: str, meaning: str) -> bytes:
    return b"".join(
        _text(0x0008, element, kind, text)
        for element, kind, text in ((0x0100, "SH", value), (0x0102, "SH", "DCM"), (0x0104, "LO", meaning))
    )


def decimal(value: float) -> str:
    """A number as a decimal string of at most 16 characters (PS3.5 6.2), with as many figures as fit.

    >>> decimal(-0.1), decimal(1 / 3), decimal(-1234.56789012345678)
    ('-0.1', '0.33333333333333', '-1234.5678901235')
    """
    for figures in range(17, 0, -1):
        text = f"{value:.{figures}g}"
        if len(text) <= 16:
            break
    return repr(value) if len(repr(value)) <= 16 else text


def _text(group: int, element: int, kind: str, text: str) -> bytes:
    raw = text.encode("ascii")
    padding = b"\0" if kind == "UI" else b" "
    return _element(group, element, kind, raw + padding * (len(raw) % 2))


def _sequence(group: int, element: int, *items: bytes) -> bytes:
    whole = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return _element(group, element, "SQ", whole)


def _element(group: int, element: int, kind: str, value: bytes) -> bytes:
    if kind in _LONG:
        return struct.pack("<HH2sHI", group, element, kind.encode(), 0, len(value)) + value
    return struct.pack("<HH2sH", group, element, kind.encode(), len(value)) + value
