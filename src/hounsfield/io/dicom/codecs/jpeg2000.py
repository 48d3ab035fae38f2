"""JPEG 2000 (ITU-T T.800) and high-throughput JPEG 2000 (T.814), by OpenJPEG in a process of its own.

OpenJPH is twice as fast on the latter, but decodes codestreams that break off without a word. The multiple
component transform belongs to the codestream, so YBR_RCT and YBR_ICT come out as RGB. Sign and precision are
the codestream's; where the header names the other sign, the bits are read again with it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hounsfield.io.dicom.codecs.isolated import decode_apart
from hounsfield.io.dicom.codecs.jpegls import as_stored
from hounsfield.io.dicom.codecs.layout import Layout
from hounsfield.io.dicom.codecs.markers import codestream_of_jpeg2000, require_fit

__all__ = ["decode_jpeg2000"]


def decode_jpeg2000(frame: bytes, layout: Layout, into: NDArray[Any] | None = None) -> NDArray[Any]:  # noqa: ARG001
    """One frame (J, I, C). Raises CodecFault where it is damaged or its decoder does not end."""
    found, codestream = codestream_of_jpeg2000(frame)
    require_fit(found, layout)
    # a decoder holds 32-bit coefficients and its own copies of the image
    # frames of one file go to several workers; a frame by itself is worth two threads in one
    threads = 2 if layout.frames == 1 else 1
    most = 48 * layout.values
    values = decode_apart("jpeg2k", codestream, most_bytes=most, values=layout.values, threads=threads)
    shape = (layout.rows, layout.columns, layout.samples)
    return as_stored(values.reshape(shape), found.precision, layout)
