"""Pictures: PNG, JPEG, TIFF, BMP, GIF (its first frame), PGM and PPM; 8 and 16 bits are kept.

A palette becomes RGB, transparency is dropped, EXIF orientation is applied.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.io.index_rows import Damaged, rows_by_file, series_from
from hounsfield.io.reader import READERS, Found, Progress
from hounsfield.io.source import Source
from hounsfield.io.stored_values import require_finite

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

__all__ = ["RasterReader"]

_MARKS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"II*\0",
    b"MM\0*",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"P5",
    b"P6",
)
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".pnm")
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM")
_GREY = {"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_COLOUR = {"P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"}
_FAULTS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    ArithmeticError,
)
_ORIENTATION, _PHOTOMETRIC = 0x0112, 262
# EXIF 2.32 orientation: (transpose, flip rows, flip columns) that set the picture upright
_UPRIGHT = {
    2: (False, False, True), 3: (False, True, True), 4: (False, True, False), 5: (True, False, False),
    6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


class RasterReader:
    """Reads pictures with Pillow, and with OpenCV those whose stored values Pillow would change."""

    by_folder = True

    def claims(self, name: str, head: bytes) -> bool:
        """True for a picture's suffix, or its first bytes under a name without a suffix.

        >>> RasterReader().claims("a.png", b""), RasterReader().claims("notes.txt", b"P5 is a mark")
        (True, False)
        """
        bare = "." not in name.rsplit("/", 1)[-1]
        return name.casefold().endswith(_SUFFIXES) or (bare and head.startswith(_MARKS))

    def headers(self, source: Source, members: Sequence[str], progress: Progress) -> Iterator[pa.RecordBatch]:
        """Read the headers."""
        damaged = Damaged(_FAULTS, "a damaged picture; send it again")
        return rows_by_file(source, members, progress, _series, damaged)

    def images(self, source: Source, table: pa.Table) -> Found:  # noqa: ARG002
        """An image a picture."""
        return series_from(table)

    def read(
        self,
        source: Source,
        series: Series,
        *,
        dtype: type[np.float32] | None = None,  # noqa: ARG002
    ) -> Volume:
        """Decode a picture: (1, 1, J, I) grey or (3, 1, J, I) RGB, identity affine."""
        content = source.read_bytes(series.files[0])
        try:
            picture = _opened(io.BytesIO(content))
            turn, by_opencv = _orientation(picture), _needs_opencv(picture)
            picture.load()  # raises where the picture is cut short; OpenCV would fill the rest with grey
            pixels = _opencv_pixels(content) if by_opencv else _pixels(picture)
        except _FAULTS as error:
            raise BadInput("a damaged or cut-short picture; send it again") from error
        require_finite(pixels)
        data = np.moveaxis(_upright(pixels, turn), -1, 0)[:, None]
        return Volume(np.ascontiguousarray(data), np.eye(4), series.files, False)


def _series(source: Source, member: str) -> list[Series]:
    with source.open(member) as file:
        picture = _opened(file)
        return [Series(member, (member,), "raster", _shape(picture), _channels(picture), _bits(picture))]


def _opened(file: object) -> Image:
    """Open a picture without decoding it; BadInput where it is of a kind that is not read."""
    from PIL import Image

    try:
        picture = Image.open(file, formats=_FORMATS)  # type: ignore[arg-type]
    except Image.DecompressionBombError as error:
        raise BadInput("a picture of more than 170 million pixels; make it smaller") from error
    if picture.mode not in _GREY | _COLOUR:
        raise BadInput(f"a picture in the colour model {picture.mode}; convert it to RGB or grey")
    if picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1:
        raise BadInput("a TIFF of several pages; save each page as a file of its own")
    if picture.mode.startswith("I;16") and _tag(picture, _PHOTOMETRIC, 1) == 0:
        raise BadInput("a 16-bit TIFF in which white is zero; save it with black as zero")
    in_digits = any(tile[0] == "ppm_plain" for tile in getattr(picture, "tile", ()))
    if in_digits and (_ppm_white(picture) or 255) < 255:  # Pillow and OpenCV both stretch it
        raise BadInput(f"a PGM in digits in which white is {_ppm_white(picture)}; save it with white as 255")
    return picture


def _tag(picture: Image, number: int, default: int) -> int:
    tags = getattr(picture, "tag_v2", None)
    return default if tags is None else int(tags.get(number, default))


def _orientation(picture: Image) -> int:
    """The EXIF orientation still to be applied; it stands in the header, before any pixel is decoded."""
    from PIL import Image

    if picture.format == "TIFF":  # Pillow and OpenCV both turn a TIFF themselves
        return 1
    exif = Image.Exif()
    if written := picture.info.get("exif"):
        exif.load(written)
    return int(exif.get(_ORIENTATION, 1) or 1)


def _shape(picture: Image) -> tuple[int, int, int]:
    width, height = picture.size
    return (1, width, height) if _orientation(picture) >= 5 else (1, height, width)


def _channels(picture: Image) -> int:
    return 1 if picture.mode in _GREY or _raw_mode(picture).startswith("LA") else 3


def _bits(picture: Image) -> int:
    if picture.mode in ("I", "F"):
        return 16 if picture.format in ("PNG", "PPM") else 32
    deep = ";16" in _raw_mode(picture) or (_ppm_white(picture) or 0) > 255
    return 16 if deep else 8


def _raw_mode(picture: Image) -> str:
    """How the file stores its samples, which may be deeper than Pillow's mode."""
    for tile in getattr(picture, "tile", ()):
        args = tile[3]
        first = args[0] if isinstance(args, tuple) and args else args
        return str(first)
    return picture.mode


def _ppm_white(picture: Image) -> int | None:
    """The value that PGM and PPM declare as white, where Pillow would stretch the pixels by it."""
    for tile in getattr(picture, "tile", ()):
        if tile[0] in ("ppm", "ppm_plain") and isinstance(tile[3], tuple):
            return int(tile[3][1])
    return None


def _needs_opencv(picture: Image) -> bool:
    """True where Pillow would change the stored values: 16-bit colour, and PGM with another white."""
    deep_colour = picture.mode in _COLOUR | {"LA"} and ";16" in _raw_mode(picture)
    return deep_colour or _ppm_white(picture) not in (None, 255)


def _pixels(picture: Image) -> NDArray[np.generic]:
    """Decoded pixels (J, I, C)."""
    if picture.mode == "1":
        picture = picture.convert("L")
    if picture.mode in _GREY:
        grey = np.asarray(picture)
        grey = grey[..., 0] if grey.ndim == 3 else grey
        if picture.mode == "I" and picture.format in ("PNG", "PPM"):
            grey = grey.astype(np.uint16)
        return grey.astype(grey.dtype.newbyteorder("="))[..., None]
    return np.asarray(picture.convert("RGB"))


def _opencv_pixels(content: bytes) -> NDArray[np.generic]:
    """Stored pixels (J, I, C) without their transparency; OpenCV gives BGR."""
    import cv2

    # a PGM in digits may end with its last digit, which OpenCV takes for a cut
    ended = content + b"\n" if content[:1] == b"P" else content
    pixels = cv2.imdecode(np.frombuffer(ended, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode the picture")
    return pixels[..., None] if pixels.ndim == 2 else pixels[..., 2::-1]


def _upright(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    transpose, flip_rows, flip_columns = _UPRIGHT.get(orientation, (False, False, False))
    pixels = pixels.swapaxes(0, 1) if transpose else pixels
    pixels = pixels[::-1] if flip_rows else pixels
    return pixels[:, ::-1] if flip_columns else pixels


READERS.add("raster", RasterReader())
