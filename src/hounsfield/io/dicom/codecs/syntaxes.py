"""The transfer syntaxes that are read: how each is decoded and how much its pixels can expand at most.

The largest expansion guards memory: a file whose header promises more than its bytes can hold is refused
before anything is allocated. Where the standard sets no bound, the number is ours and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from numpy.typing import NDArray

from hounsfield.io.dicom.codecs.layout import Layout

__all__ = ["BIG_ENDIAN", "CODECS", "DEFLATED", "NATIVE", "Codec", "fault_of_syntax", "largest"]

Decode = Callable[[bytes, Layout, NDArray[Any] | None], NDArray[Any]]

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
NATIVE = {
    IMPLICIT: "Implicit VR Little Endian",
    EXPLICIT: "Explicit VR Little Endian",
    DEFLATED: "Deflated Explicit VR Little Endian",
    BIG_ENDIAN: "Explicit VR Big Endian",
}


@dataclass(frozen=True, slots=True)
class Codec:
    """A compression: the standard's name, "module:function" of its decoder, the largest expansion."""

    name: str
    decoder: str
    expansion: Callable[[Layout, int], int]

    def load(self) -> Decode:
        """The decoder of a codestream and its layout; it may fill and give back the array it is offered."""
        module, _, function = self.decoder.partition(":")
        decode: Decode = getattr(import_module(f"hounsfield.io.dicom.codecs.{module}"), function)
        return decode


def _times(ratio: int) -> Callable[[Layout, int], int]:
    """Bytes become `ratio` bytes; where these hold packed bits, eight values each."""
    return lambda layout, length: ratio * length * (8 if layout.bits_allocated == 1 else 1)


def _a_bit_a_line(layout: Layout, length: int) -> int:
    """JPEG-LS codes a run to the end of a line in one bit at best (T.87 A.7), so 8 lines a byte."""
    return 8 * length * layout.columns * layout.dtype.itemsize


def _a_bit_a_value(layout: Layout, length: int) -> int:
    """Lossless JPEG spends one Huffman code, at least a bit, a value (T.81 H.1.2)."""
    return 8 * length * layout.dtype.itemsize


# A block of 64 values takes two codes of at least a bit (T.81 F.1.2), one in a progressive scan; chroma may
# be stored at a quarter of the size: 8 blocks of 64 values of 2 bytes, twice for the chroma.
_JPEG = _times(2048)
_RLE = _times(64)  # two bytes give at most 128 (PS3.5 G.3.1)
_DEFLATE = _times(1032)  # zlib's largest expansion
_JPEG2000 = _times(65_536)  # ours: an empty packet is a byte, whatever the size of the image

_OLD_JPEG = "jpeg:decode_jpeg"
CODECS = {
    "1.2.840.10008.1.2.5": Codec("RLE Lossless", "rle:decode_rle", _RLE),
    "1.2.840.10008.1.2.8.1": Codec("Deflated Image Frame Compression", "deflated:decode_deflated", _DEFLATE),
    "1.2.840.10008.1.2.4.50": Codec("JPEG Baseline (Process 1)", _OLD_JPEG, _JPEG),
    "1.2.840.10008.1.2.4.51": Codec("JPEG Extended (Process 2 and 4)", _OLD_JPEG, _JPEG),
    "1.2.840.10008.1.2.4.53": Codec("JPEG Spectral Selection (Process 6 and 8)", _OLD_JPEG, _JPEG),
    "1.2.840.10008.1.2.4.55": Codec("JPEG Full Progression (Process 10 and 12)", _OLD_JPEG, _JPEG),
    "1.2.840.10008.1.2.4.57": Codec("JPEG Lossless (Process 14)", _OLD_JPEG, _a_bit_a_value),
    "1.2.840.10008.1.2.4.70": Codec(
        "JPEG Lossless (Process 14, Selection Value 1)", _OLD_JPEG, _a_bit_a_value
    ),
    "1.2.840.10008.1.2.4.80": Codec("JPEG-LS Lossless", "jpegls:decode_jpegls", _a_bit_a_line),
    "1.2.840.10008.1.2.4.81": Codec("JPEG-LS Near-Lossless", "jpegls:decode_jpegls", _a_bit_a_line),
    "1.2.840.10008.1.2.4.90": Codec("JPEG 2000 Lossless", "jpeg2000:decode_jpeg2000", _JPEG2000),
    "1.2.840.10008.1.2.4.91": Codec("JPEG 2000", "jpeg2000:decode_jpeg2000", _JPEG2000),
    "1.2.840.10008.1.2.4.201": Codec("HTJ2K Lossless", "jpeg2000:decode_jpeg2000", _JPEG2000),
    "1.2.840.10008.1.2.4.202": Codec("HTJ2K Lossless RPCL", "jpeg2000:decode_jpeg2000", _JPEG2000),
    "1.2.840.10008.1.2.4.203": Codec("HTJ2K", "jpeg2000:decode_jpeg2000", _JPEG2000),
}

_MOVING = ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.101", "1.2.840.10008.1.2.4.102",
           "1.2.840.10008.1.2.4.103", "1.2.840.10008.1.2.4.104", "1.2.840.10008.1.2.4.105",
           "1.2.840.10008.1.2.4.106", "1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108")  # fmt: skip
_REMOTE = ("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.204",
           "1.2.840.10008.1.2.4.205")  # fmt: skip


def fault_of_syntax(syntax: str) -> str:
    """Why pixels stored in this transfer syntax cannot be decoded here; "" if they can.

    >>> fault_of_syntax("1.2.840.10008.1.2.4.90")
    ''
    >>> fault_of_syntax("1.2.840.10008.1.2.4.102")
    'pixel data stored as a video (MPEG), which is not read; export single frames'
    """
    if syntax in NATIVE or syntax in CODECS:
        return ""
    if not syntax:
        return "compressed pixel data without a transfer syntax that says how; send it again"
    if syntax.startswith(_MOVING):
        return "pixel data stored as a video (MPEG), which is not read; export single frames"
    if syntax in _REMOTE:
        return "pixel data kept on another server (JPIP); fetch the whole object and scan again"
    return f'pixel data stored as "{_name(syntax)}", which is not read; export it uncompressed'


def largest(layout: Layout, length: int) -> int:
    """The most bytes that `length` bytes of compressed pixel data can become in this transfer syntax."""
    return CODECS[layout.syntax].expansion(layout, length)


def _name(syntax: str) -> str:
    from pydicom.uid import UID

    return (
        UID(syntax).name if len(syntax) <= 64 and all(c.isdigit() or c == "." for c in syntax) else "unknown"
    )
