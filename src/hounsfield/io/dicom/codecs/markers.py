"""What a codestream says of itself, read from its markers before any decoder sees it.

JPEG and JPEG-LS: the frame header SOFn (ITU-T T.81 B.2.2, T.87 C.2.2), the APP segments. JPEG 2000: the
SIZ segment (T.800 A.5.1). Sizes that differ from the DICOM header are refused, so that no decoder
allocates more than the header, and by it the length of the file, allows.
"""

from __future__ import annotations

from dataclasses import dataclass

from hounsfield.io.dicom.codecs.layout import CodecFault, Layout

__all__ = ["Codestream", "codestream_of_jpeg", "codestream_of_jpeg2000", "require_fit"]

_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_BOX = b"\x00\x00\x00\x0cjP  \r\n\x87\n"


@dataclass(frozen=True, slots=True)
class Codestream:
    """`kind` is the byte of the SOF marker (0xC3 lossless, 0xF7 JPEG-LS …), 0x51 for JPEG 2000.

    `adobe` is the transform that an APP14 segment names, -1 without one. `ids` name the components.
    """

    kind: int
    precision: int
    rows: int
    columns: int
    components: int
    signed: bool = False
    ids: tuple[int, ...] = ()
    adobe: int = -1
    jfif: bool = False
    scan: int = 0


def codestream_of_jpeg(data: bytes) -> Codestream:
    """Read the segments up to the frame header. Raises CodecFault where there is none."""
    adobe, jfif = -1, False
    at = data.find(b"\xff\xd8", 0, 16) + 2
    if at < 2:
        raise CodecFault("holds a frame that is no JPEG codestream; send it again")
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4])
        body = data[at + 4 : at + 2 + length]
        if length < 2 or marker in (0xD9, 0xDA):
            break
        if marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker == 0xE0 and body[:4] == b"JFIF":
            jfif = True
        elif marker in _FRAME_HEADERS and len(body) >= 6:
            rows, columns, components = int.from_bytes(body[1:3]), int.from_bytes(body[3:5]), body[5]
            ids = tuple(body[6 : 6 + 3 * components : 3])
            return Codestream(
                marker,
                body[0],
                rows,
                columns,
                components,
                ids=ids,
                adobe=adobe,
                jfif=jfif,
                scan=at + 2 + length,
            )
        at += 2 + length
    raise CodecFault("holds a JPEG codestream without its frame header; send it again")


def codestream_of_jpeg2000(data: bytes) -> tuple[Codestream, bytes]:
    """The SIZ segment, and the codestream without the boxes of a JP2 file around it."""
    if data[:12] == _BOX:
        start = data.find(b"\xff\x4f\xff\x51")
        data = data[start:] if start > 0 else b""
    if data[:4] != b"\xff\x4f\xff\x51" or len(data) < 45:
        raise CodecFault("holds a frame that is no JPEG 2000 codestream; send it again")
    right, low, left, top = (int.from_bytes(data[n : n + 4]) for n in (8, 12, 16, 20))
    wide, high = (int.from_bytes(data[n : n + 4]) for n in (24, 28))
    components = int.from_bytes(data[40:42])
    sizes = [data[42 + 3 * n : 45 + 3 * n] for n in range(min(components, 4))]
    if not sizes or len(set(sizes)) != 1 or len(sizes[0]) < 3 or sizes[0][1:] != b"\x01\x01":
        raise CodecFault("holds a JPEG 2000 frame whose components differ in size or type, which is not read")
    if not wide or not high or right <= left or low <= top or (right * low) // (wide * high) > 65_535:
        raise CodecFault("holds a JPEG 2000 frame whose size contradicts itself; send it again")
    depth = sizes[0][0]
    found = Codestream(0x51, (depth & 0x7F) + 1, low - top, right - left, components, signed=depth > 0x7F)
    return found, data


def require_fit(found: Codestream, layout: Layout) -> None:
    """Raise CodecFault unless rows, columns, components and container agree with the header."""
    said = (found.rows, found.columns, found.components)
    expected = (layout.rows, layout.columns, layout.samples)
    if said != expected:
        raise CodecFault(
            f"holds a compressed frame of (rows, columns, samples) {said} where {expected} were expected; "
            "send it again"
        )
    if not 0 < found.precision <= max(8, layout.bits_allocated):
        raise CodecFault(
            f"holds compressed values of {found.precision} bits where at most {layout.bits_allocated} were "
            "expected; send it again"
        )
