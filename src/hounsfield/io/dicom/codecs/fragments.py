"""Frames of compressed pixel data: the items of PS3.5 A.4, told apart without trusting their number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hounsfield.io.dicom.codecs.layout import CodecFault

__all__ = ["Span", "compressed_frames", "items_of"]

Span = tuple[int, int]
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0c\x6a\x50")  # JPEG, JPEG 2000, its box


def items_of(raw: memoryview, *, closed: bool) -> list[Span]:
    """Where the items lie in `raw`, the basic offset table first; () lengths are kept.

    `closed` asks for the delimiter at the end, as a file has it. Raises CodecFault where items break off.

    >>> items_of(memoryview(_ITEM + bytes(4) + _ITEM + b"\\2\\0\\0\\0ab" + _END + bytes(4)), closed=True)
    [(8, 8), (16, 18)]
    """
    spans: list[Span] = []
    at, size = 0, len(raw)
    while at + 8 <= size:
        mark = bytes(raw[at : at + 8])
        if mark[:4] == _END:
            return spans
        length = int.from_bytes(mark[4:], "little")
        if mark[:4] != _ITEM or length > size - at - 8:
            break
        spans.append((at + 8, at + 8 + length))
        at += 8 + length
    if closed or (at < size and any(raw[at:])) or not spans:
        raise CodecFault("holds compressed pixel data that break off; the file was cut short, send it again")
    return spans


def compressed_frames(
    raw: memoryview, frames: int, *, offsets: Sequence[int] = (), closed: bool = False
) -> list[bytes]:
    """The codestream of every frame. `offsets` is the extended offset table where there is one.

    A frame is one fragment, or it begins where an offset table or the mark of a new codestream says.
    Raises CodecFault where the file holds more or fewer frames than its header says.
    """
    items = items_of(raw, closed=closed)
    if len(items) < 2:  # the first one is the offset table
        raise CodecFault("holds no compressed frame; send it again")
    table, *fragments = items
    if len(fragments) == frames:
        return [bytes(raw[start:stop]) for start, stop in fragments]
    basic = _basic_offsets(raw, table)
    starts = [start - 8 for start, _ in fragments]  # tables point to the item's tag
    base = starts[0]
    for found in (basic, list(offsets)):
        if len(found) == frames and _fit(found, [s - base for s in starts]):
            return _joined(raw, fragments, [starts.index(base + offset) for offset in found])
    marked = [n for n, (start, _) in enumerate(fragments) if _starts_frame(raw, start)]
    if frames == 1 and len(basic) <= 1 and len(marked) <= 1:
        return _joined(raw, fragments, [0])
    if len(marked) == frames and marked[0] == 0:
        return _joined(raw, fragments, marked)
    count = len(marked) or len(basic) or len(fragments)
    raise CodecFault(f"holds {count} compressed frames where {frames} were expected; send it again")


def _basic_offsets(raw: memoryview, table: Span) -> list[int]:
    start, stop = table
    whole = start + (stop - start) // 4 * 4
    return [int(v) for v in np.frombuffer(raw[start:whole], "<u4")]


def _fit(offsets: list[int], starts: list[int]) -> bool:
    """True if offsets begin at the first fragment, rise, and each is where a fragment starts."""
    known = set(starts)
    return offsets[0] == 0 and all(a < b for a, b in pairwise(offsets)) and known.issuperset(offsets)


def _starts_frame(raw: memoryview, start: int) -> bool:
    return bytes(raw[start : start + 6]).startswith(_STARTS)


def _joined(raw: memoryview, fragments: list[Span], firsts: list[int]) -> list[bytes]:
    ends = [*firsts[1:], len(fragments)]
    return [
        b"".join(raw[start:stop] for start, stop in fragments[first:end])
        for first, end in zip(firsts, ends, strict=True)
    ]
