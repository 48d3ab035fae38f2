"""Uncompressed pixels (PS3.5 8.1): byte order, planes, packed bits, pairs of chroma."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.codecs.layout import CodecFault, Layout

__all__ = ["native_frames", "truncated"]


def truncated(held: int, expected: int) -> str:
    """The sentence about a file that was cut short."""
    return f"holds {held} bytes of pixel data where {expected} were expected; send it again"


def native_frames(raw: memoryview, layout: Layout) -> NDArray[Any]:
    """All frames (K, J, I, C) in this machine's byte order, colour as stored. A view where it can be.

    Raises CodecFault where bytes are missing, or are enough for frames that the header does not name.
    """
    expected = layout.native_bytes
    if len(raw) < expected:
        raise CodecFault(truncated(len(raw), expected))
    extra = (len(raw) - expected) * layout.frames // expected
    if extra and len(raw) - expected > 1:
        if layout.subsampled and 2 * len(raw) >= 3 * expected:
            raise CodecFault("says YBR_FULL_422 but holds chroma for every pixel; correct its colour model")
        if layout.bits_allocated != 1 and layout.frames > 1:
            raise CodecFault(
                f"holds {layout.frames + extra} frames where {layout.frames} were expected; send it again"
            )
    shape = (layout.frames, layout.rows, layout.columns, layout.samples)
    if layout.bits_allocated == 1:
        return _bits(raw, layout).reshape(shape)
    if layout.words and layout.dtype.itemsize == 1:  # pairs of bytes of a big-endian word
        words = np.frombuffer(raw[: expected + expected % 2], np.uint16) if len(raw) > expected else None
        if words is None:
            words = np.frombuffer(bytes(raw[:expected]) + bytes(expected % 2), np.uint16)
        values = words.byteswap().view(layout.dtype)[:expected]
    else:
        order = ">" if layout.big_endian else "<"
        values = np.frombuffer(raw[:expected], layout.dtype.newbyteorder(order))
        values = values.astype(layout.dtype, copy=False)
    if layout.subsampled:
        values = _with_chroma(values)
    if layout.planar and layout.samples > 1 and not layout.subsampled:
        planes = values.reshape(layout.frames, layout.samples, layout.rows, layout.columns)
        return np.moveaxis(planes, 1, -1)
    return values.reshape(shape)


def _bits(raw: memoryview, layout: Layout) -> NDArray[np.uint8]:
    """One-bit values, the lowest bit first; frames follow each other without padding (PS3.5 8.1.1)."""
    packed = np.frombuffer(raw[: layout.native_bytes], np.uint8)
    if layout.words:
        even = len(packed) + len(packed) % 2
        packed = np.frombuffer(bytes(raw[:even]).ljust(even, b"\0"), np.uint16).byteswap().view(np.uint8)
    return np.unpackbits(packed, bitorder="little", count=layout.frames * layout.values)


def _with_chroma(values: NDArray[Any]) -> NDArray[Any]:
    """Y Y Cb Cr of two pixels to Y Cb Cr of each (PS3.3 C.7.6.3.1.2)."""
    pairs = values.reshape(-1, 4)
    out = np.empty((len(pairs), 2, 3), values.dtype)
    out[:, :, 0] = pairs[:, :2]
    out[:, :, 1:] = pairs[:, None, 2:]
    return out.reshape(-1)
