"""All frames of a file as numbers: native or compressed, colour as RGB, only stored bits kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.codecs.fragments import compressed_frames
from hounsfield.io.dicom.codecs.layout import CodecFault, Layout
from hounsfield.io.dicom.codecs.native import native_frames
from hounsfield.io.dicom.codecs.syntaxes import CODECS, NATIVE, fault_of_syntax, largest
from hounsfield.io.dicom.reused_memory import uncleared

__all__ = ["decoded", "only_stored_bits"]

_MOST_THREADS = 4
_WORTH_A_THREAD = 1 << 15  # values in a frame
_DECODER_ERRORS = (RuntimeError, ValueError, TypeError, MemoryError, OverflowError, OSError)


def decoded(
    raw: memoryview,
    layout: Layout,
    *,
    which: Sequence[int] = (),
    offsets: Sequence[int] = (),
    closed: bool = False,
    threads: int = 0,
) -> NDArray[Any]:
    """Frames (K, J, I, C) of the pixel data `raw`: all of them, or those that `which` counts from 0.

    `offsets` is the extended offset table; `closed` asks for the delimiter after compressed frames.
    `threads` 0 uses what the machine has. Raises CodecFault, whose message ends a sentence about the file.
    """
    if fault := fault_of_syntax(layout.syntax):
        raise CodecFault(fault)
    if any(not 0 <= k < layout.frames for k in which):
        raise CodecFault(f"has {layout.frames} frames, fewer than the scan found; scan again")
    if layout.syntax in NATIVE:
        frames = native_frames(raw, layout)
        frames = frames[list(which)] if which else frames
        if layout.photometric in ("YBR_FULL", "YBR_FULL_422") and layout.samples == 3:
            frames = _as_rgb(frames)
        return only_stored_bits(frames, layout)
    frames = _decompressed(raw, layout, which, offsets, closed, threads)
    return only_stored_bits(frames, layout, into=frames)


def only_stored_bits(
    frames: NDArray[Any], layout: Layout, *, into: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Clear the bits that are not stored or extend the sign over them (PS3.5 8.1.1)."""
    if frames.dtype.kind not in "iu":
        return frames
    spare = frames.dtype.itemsize * 8 - layout.bits_stored
    if spare <= 0 or layout.bits_stored < 1:
        return frames
    if frames.dtype.kind == "u":
        return np.bitwise_and(frames, frames.dtype.type((1 << layout.bits_stored) - 1), out=into)
    return np.right_shift(np.left_shift(frames, spare, out=into), spare, out=into)


def _decompressed(
    raw: memoryview, layout: Layout, which: Sequence[int], offsets: Sequence[int], closed: bool, threads: int
) -> NDArray[Any]:
    promised = layout.frames * layout.frame_bytes
    if promised > largest(layout, len(raw)):
        raise CodecFault(
            f"promises {promised} bytes of pixels, more than its {len(raw)} compressed bytes can hold; "
            "send it again"
        )
    streams = compressed_frames(raw, layout.frames, offsets=offsets, closed=closed)
    if which:
        streams = [streams[k] for k in which]
    decode = CODECS[layout.syntax].load()
    name = CODECS[layout.syntax].name
    shape = (layout.rows, layout.columns, layout.samples)
    try:
        out = uncleared((len(streams), *shape), layout.dtype)
    except MemoryError as error:
        raise CodecFault(f"needs {promised >> 20} MiB when decoded, more than there is here") from error
    bits = out if out.dtype.kind == "u" else out.view(f"u{out.itemsize}")
    in_rgb = _after_decoding(layout)

    def one(k: int) -> None:
        into = bits[k]
        try:
            values = decode(streams[k], layout, into)
        except CodecFault:
            raise
        except _DECODER_ERRORS as error:
            raise CodecFault(
                f'has pixel data that cannot be decoded from "{name}" ({type(error).__name__}); '
                "send it again or export it uncompressed"
            ) from error
        if in_rgb:
            values = _as_rgb(values)
        if values is not into:
            out[k] = _in_container(values, layout)

    _each(one, len(streams), threads if layout.values >= _WORTH_A_THREAD else 1)
    return out


def _after_decoding(layout: Layout) -> bool:
    """True where luminance and chroma come out of the decoder; JPEG frames settle it by their markers."""
    jpeg = CODECS[layout.syntax].decoder == "jpeg:decode_jpeg"
    return layout.samples == 3 and not jpeg and layout.photometric in ("YBR_FULL", "YBR_FULL_422")


def _in_container(values: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Unsigned bits into the header's container and sign."""
    if values.dtype == layout.dtype:
        return values
    size = layout.dtype.itemsize
    return values.astype(f"{values.dtype.kind}{size}", copy=False).view(layout.dtype)


def _as_rgb(frames: NDArray[Any]) -> NDArray[Any]:
    from hounsfield.io.dicom.codecs.colour import to_rgb

    if frames.dtype != np.uint8:
        raise CodecFault("holds luminance and chroma of more than 8 bits, which are not read")
    return to_rgb(frames)


def _each(one: Any, count: int, threads: int) -> None:
    workers = min(count, threads or min(_MOST_THREADS, os.cpu_count() or 1))
    if workers <= 1:
        for k in range(count):
            one(k)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(one, range(count)):
            pass
