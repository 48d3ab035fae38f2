"""RLE Lossless (PS3.5 Annex G): byte planes packed as runs and literals, unpacked in compiled code."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from hounsfield.core.compiled import compiled
from hounsfield.io.dicom.codecs.layout import CodecFault, Layout

__all__ = ["decode_rle"]

_HEADER_BYTES = 64
_MOST_SEGMENTS = 15
_WIDE = 16  # bytes moved at once; planes and input end with as many spare bytes


def decode_rle(frame: bytes, layout: Layout, into: NDArray[Any] | None = None) -> NDArray[Any]:
    """One frame (J, I, C) in unsigned values, in `into` where it can take them.

    Raises CodecFault where segments do not fit the image.
    """
    width = layout.dtype.itemsize
    count = layout.samples * width
    bounds = _segments(frame, count)
    packed = np.frombuffer(frame + bytes(_WIDE), np.uint8)
    pixels = layout.rows * layout.columns
    one_bit = layout.bits_allocated == 1
    size = (pixels + 7) // 8 if one_bit else pixels
    planes = np.empty((count, size + _WIDE), np.uint8)
    for n in range(count):
        if _unpack(packed, bounds[n], bounds[n + 1], planes[n], size) < size:
            raise CodecFault("holds run-length coded pixels that break off; send it again")
    planes = planes[:, :size]
    if one_bit:
        planes = np.unpackbits(planes, axis=1, bitorder="little", count=pixels)
    shape = (layout.rows, layout.columns, layout.samples)
    if width == 2 and layout.samples == 1:
        values = np.empty(shape, np.uint16) if into is None else into
        _pair(planes[0], planes[1], values.reshape(-1))
        return values
    if width == 1:
        return np.moveaxis(planes.reshape(layout.samples, layout.rows, layout.columns), 0, -1)
    # the most significant byte comes first
    apart = planes.reshape(layout.samples, width, pixels)[:, ::-1]
    return np.ascontiguousarray(apart.transpose(2, 0, 1)).view(f"u{width}").reshape(shape)


def _segments(frame: bytes, count: int) -> list[int]:
    """Where each of `count` segments begins, and where the last one ends."""
    if len(frame) < _HEADER_BYTES:
        raise CodecFault("holds a run-length coded frame without its header; send it again")
    header = [int(v) for v in np.frombuffer(frame[:_HEADER_BYTES], "<u4")]
    if header[0] != count or count > _MOST_SEGMENTS:
        raise CodecFault(
            f"holds {header[0]} run-length coded segments where {count} were expected; send it again"
        )
    bounds = [*header[1 : count + 1], len(frame)]
    if bounds[0] < _HEADER_BYTES or any(a > b for a, b in pairwise(bounds)):
        raise CodecFault("holds run-length coded segments that overlap; send it again")
    return bounds


def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    wide = ir.VectorType(ir.IntType(8), _WIDE).as_pointer()
    return builder.bitcast(builder.gep(data, [at]), wide)


@intrinsic
def _copy_wide(typing: Any, to: Any, at: Any, out_of: Any, start: Any) -> Any:  # noqa: ARG001
    """Move `_WIDE` bytes at once; most runs are shorter, and what is too much is overwritten next."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = _address(context, builder, signature.args[2], values[2], values[3])
        target = _address(context, builder, signature.args[0], values[0], values[1])
        builder.store(builder.load(source, align=1), target, align=1)
        return context.get_dummy_value()

    return types.void(to, types.intp, out_of, types.intp), generate


@intrinsic
def _fill_wide(typing: Any, to: Any, at: Any, value: Any) -> Any:  # noqa: ARG001
    """Write one byte `_WIDE` times."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        target = _address(context, builder, signature.args[0], values[0], values[1])
        vector = ir.VectorType(ir.IntType(8), _WIDE)
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), values[2], ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), _WIDE), [0] * _WIDE)
        builder.store(builder.shuffle_vector(first, first, lanes), target, align=1)
        return context.get_dummy_value()

    return types.void(to, types.intp, types.uint8), generate


@compiled
def _unpack(packed: NDArray[Any], start: int, stop: int, plane: NDArray[Any], size: int) -> int:
    """Unpack bytes start..stop into `plane`; how many values came out, at most `size`.

    Both arrays hold `_WIDE` bytes more than are meant, so that a last wide move stays within them.
    """
    at, done = start, 0
    while at < stop and done < size:
        code = np.int64(packed[at])
        at += 1
        if code < 128:
            length = min(code + 1, min(stop - at, size - done))
            for n in range(0, length, 16):
                _copy_wide(plane, done + n, packed, at + n)
            at += length
            done += length
        elif code > 128 and at < stop:
            value = packed[at]
            at += 1
            length = min(257 - code, size - done)
            for n in range(0, length, 16):
                _fill_wide(plane, done + n, value)
            done += length
    return done


@compiled
def _pair(high: NDArray[Any], low: NDArray[Any], values: NDArray[Any]) -> None:
    for n in range(values.size):
        values[n] = (np.uint16(high[n]) << np.uint16(8)) | np.uint16(low[n])
