"""JPEG baseline, extended (8 and 12 bits) and lossless (ITU-T T.81), by libjpeg-turbo.

Colour: a decoder may not guess. Component ids "RGB", then the Adobe APP14 transform, then JFIF, then the
photometric interpretation say whether the components are red, green, blue or luminance and chroma; lossless
processes keep what the header says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.codecs.layout import CodecFault, Layout
from hounsfield.io.dicom.codecs.markers import Codestream, codestream_of_jpeg, require_fit

__all__ = ["decode_jpeg"]

_SEQUENTIAL, _PROGRESSIVE, _LOSSLESS = (0xC0, 0xC1), 0xC2, 0xC3
_NAMED_RGB = ((82, 71, 66), (114, 103, 98))


def decode_jpeg(frame: bytes, layout: Layout, into: NDArray[Any] | None = None) -> NDArray[Any]:
    """One frame (J, I, C) in unsigned values, colour as RGB, in `into` where it can take them.

    Raises CodecFault where the codestream is damaged.
    """
    from imagecodecs import jpeg8_decode

    found = codestream_of_jpeg(frame)
    if found.kind not in (*_SEQUENTIAL, _PROGRESSIVE, _LOSSLESS):
        raise CodecFault("holds a JPEG of a process that is not read (hierarchical or arithmetic)")
    require_fit(found, layout)
    if frame.rfind(b"\xff\xd9") < found.scan:
        raise CodecFault("holds a JPEG frame that breaks off; send it again")
    luminance = layout.samples == 3 and _is_luminance(found, layout.photometric)
    space = None if layout.samples == 1 else "YCBCR" if luminance else "RGB"
    if into is not None and into.itemsize == (1 if found.precision <= 8 else 2):
        place = into[..., 0] if layout.samples == 1 else into
        jpeg8_decode(frame, colorspace=space, outcolorspace=space, out=place)
        values = into
    else:
        values = np.asarray(jpeg8_decode(frame, colorspace=space, outcolorspace=space))
    if luminance:
        from hounsfield.io.dicom.codecs.colour import to_rgb

        if values.dtype != np.uint8:
            raise CodecFault("holds luminance and chroma of more than 8 bits, which are not read")
        values = to_rgb(values, into=into)
    return values if values is into else values.reshape(layout.rows, layout.columns, layout.samples)


def _is_luminance(found: Codestream, photometric: str) -> bool:
    if found.ids in _NAMED_RGB:
        return False
    if found.kind != _LOSSLESS:
        if found.adobe >= 0:
            return found.adobe == 1
        if found.jfif:
            return True
    return photometric.startswith("YBR")
