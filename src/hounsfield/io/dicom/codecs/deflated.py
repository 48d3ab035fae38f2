"""Frames packed one by one with deflate (Deflated Image Frame Compression, PS3.5 A.4.13)."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from hounsfield.io.dicom.codecs.layout import CodecFault, Layout
from hounsfield.io.dicom.codecs.native import native_frames

__all__ = ["decode_deflated"]


def decode_deflated(frame: bytes, layout: Layout, into: NDArray[Any] | None = None) -> NDArray[Any]:  # noqa: ARG001
    """One frame (J, I, C); never inflates more than the frame holds."""
    alone = replace(layout, frames=1)
    try:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        raw = inflater.decompress(frame, alone.native_bytes + 2)
    except zlib.error as error:
        raise CodecFault("holds a damaged compressed frame (deflate); send it again") from error
    if len(raw) < alone.native_bytes:
        raise CodecFault("holds a deflated frame that breaks off; send it again")
    return native_frames(memoryview(raw), alone)[0]
