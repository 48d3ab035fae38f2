"""JPEG-LS, lossless and near-lossless (ITU-T T.87).

Scans of one component and scans interleaved by line are decoded here (`jpegls_scan`). What is rarer (scans
interleaved by sample, colour transforms, mapping tables, restarts) goes to CharLS in a process of its own,
because CharLS 2.4 does not end on some codestreams that break off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.codecs.isolated import decode_apart
from hounsfield.io.dicom.codecs.layout import CodecFault, Layout
from hounsfield.io.dicom.codecs.markers import Codestream, codestream_of_jpeg, require_fit

__all__ = ["as_stored", "decode_jpegls"]

_JPEG_LS = 0xF7
_BASIC_T1, _BASIC_T2, _BASIC_T3, _BASIC_RESET = 3, 7, 21, 64
_BROKEN = "holds a JPEG-LS frame that breaks off or is damaged; send it again"


def decode_jpegls(frame: bytes, layout: Layout, into: NDArray[Any] | None = None) -> NDArray[Any]:  # noqa: ARG001
    """One frame (J, I, C). JPEG-LS knows no sign: it is extended from the codestream's precision.

    Raises CodecFault where the codestream is damaged.
    """
    found = codestream_of_jpeg(frame)
    if found.kind != _JPEG_LS:
        raise CodecFault("holds a frame that is no JPEG-LS codestream; send it again")
    require_fit(found, layout)
    if frame.rfind(b"\xff\xd9") < found.scan:
        raise CodecFault(_BROKEN)
    shape = (layout.rows, layout.columns, layout.samples)
    plain = b"mrfx" not in frame[: found.scan]  # the colour transforms of an APP8 segment
    values = _scans(frame, found, shape) if plain else None
    if values is None:
        values = decode_apart("jpegls", frame, most_bytes=16 * layout.values, values=layout.values).reshape(
            shape
        )
    return as_stored(values, found.precision, layout)


def as_stored(values: NDArray[Any], precision: int, layout: Layout) -> NDArray[Any]:
    """Values of `precision` bits read again with the sign that the header names, in its container."""
    kind = "i" if layout.signed else "u"
    size = values.dtype.itemsize * 8
    if values.dtype.kind != kind:
        values = values.view(f"{kind}{values.dtype.itemsize}")
        if spare := size - precision:
            values = (values << spare) >> spare
    return values if values.dtype == layout.dtype else values.astype(layout.dtype)


@dataclass(frozen=True, slots=True)
class _Scan:
    """A scan's parameters: the components it holds, and where its bits begin."""

    components: tuple[int, ...]
    near: int
    interleaved: int
    start: int


@dataclass(frozen=True, slots=True)
class _Preset:
    """The parameters of an LSE segment; 0 stands for the default (T.87 C.2.4.1)."""

    largest: int = 0
    thresholds: tuple[int, int, int] = (0, 0, 0)
    reset: int = 0


def _scans(frame: bytes, found: Codestream, shape: tuple[int, int, int]) -> NDArray[Any] | None:
    """All scans decoded, or None where one needs what is not done here."""
    from hounsfield.io.dicom.codecs.jpegls_scan import RUN_LENGTHS, decode_scan, gradients, unstuffed

    rows, columns, components = shape
    # lines of one component each, so that a line is contiguous
    out = np.empty((components, rows, 1, columns), np.uint16)
    data, at = np.frombuffer(frame, np.uint8), found.scan
    bits = np.zeros(len(frame) - at + 16, np.uint8)
    preset, missing = _Preset(), set(found.ids)
    if len(missing) != shape[2]:
        return None
    while missing:
        step = _next_scan(frame, at, preset)
        if step is None:
            return None
        preset, scan = step
        known = [found.ids.index(c) for c in scan.components if c in missing]
        if len(known) != len(scan.components) or scan.interleaved not in (0, 1):
            return None
        if len(known) > 1 and (scan.interleaved == 0 or known != list(range(components))):
            return None
        largest = preset.largest or (1 << found.precision) - 1
        thresholds = _thresholds(preset, largest, scan.near)
        if not 0 < largest < 1 << found.precision or scan.near > min(255, largest // 2):
            raise CodecFault(_BROKEN)
        count, at = unstuffed(data, scan.start, bits)
        bits[(count + 7) // 8 :][:16] = 0
        if len(known) > 1:
            out = out.reshape(1, rows, components, columns)
            known = [0]
        regions, reset = gradients(scan.near, thresholds, largest), preset.reset or _BASIC_RESET
        whole = decode_scan(bits, count, out[known[0]], regions, RUN_LENGTHS, largest, scan.near, reset)
        if not whole:
            raise CodecFault(_BROKEN)
        missing -= set(scan.components)
    values = np.moveaxis(out[:, :, 0], 0, -1) if len(out) == components else np.moveaxis(out[0], 1, -1)
    return values.astype(np.uint8) if found.precision <= 8 else values


def _next_scan(frame: bytes, at: int, preset: _Preset) -> tuple[_Preset, _Scan] | None:
    """The next SOS segment, with the LSE segment before it; None where there are restarts or tables."""
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4])
        body = frame[at + 4 : at + 2 + length]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xF8 and body[:1] == b"\x01" and len(body) == 11:
            largest, t1, t2, t3, reset = (int.from_bytes(body[n : n + 2]) for n in range(1, 11, 2))
            preset = _Preset(largest, (t1, t2, t3), reset)
        elif marker == 0xDA and body and len(body) == 4 + 2 * body[0]:
            tables, (near, interleaved, transform) = body[2:-3:2], body[-3:]
            if any(tables) or transform:
                return None
            return preset, _Scan(tuple(body[1:-3:2]), near, interleaved, at + 2 + length)
        elif marker in (0xF8, 0xDA, 0xDD) or length < 2:
            return None
        at += 2 + length
    raise CodecFault(_BROKEN)


def _thresholds(preset: _Preset, largest: int, near: int) -> tuple[int, int, int]:
    """T1, T2, T3 as given, or by default (T.87 C.2.4.1.1.1)."""

    def within(value: int, low: int) -> int:
        return low if value > largest or value < low else value

    if largest >= 128:
        factor = (min(largest, 4095) + 128) // 256
        basic = (
            factor * (_BASIC_T1 - 2) + 2 + 3 * near,
            factor * (_BASIC_T2 - 3) + 3 + 5 * near,
            factor * (_BASIC_T3 - 4) + 4 + 7 * near,
        )
    else:
        factor = 256 // (largest + 1)
        basic = (
            max(2, _BASIC_T1 // factor + 3 * near),
            max(3, _BASIC_T2 // factor + 5 * near),
            max(4, _BASIC_T3 // factor + 7 * near),
        )
    t1 = preset.thresholds[0] or within(basic[0], near + 1)
    t2 = preset.thresholds[1] or within(basic[1], t1)
    t3 = preset.thresholds[2] or within(basic[2], t2)
    return t1, t2, t3
