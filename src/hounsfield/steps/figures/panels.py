"""Pictures as PNG data URIs that together stay under a limit of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hounsfield.core.evidence import Picture

__all__ = ["data_uris"]

MOST_BYTES = 2_000_000
COARSER = ((128, 1.0), (48, 1.0), (64, 0.75), (64, 0.5), (32, 0.33))


def data_uris(pictures: Sequence[Picture]) -> tuple[list[list[str]], bool]:
    """For each picture the data URI of each panel, and whether any lost detail to stay small.

    A panel is stored without loss where its share of the limit allows, else with fewer colours, then
    smaller; the caller says so to the reader.

    >>> picture = Picture("a", "right", "", (("image", np.zeros((4, 4, 3), np.uint8)),))
    >>> uris, reduced = data_uris([picture])
    >>> uris[0][0][:22], reduced
    ('data:image/png;base64,', False)
    """
    share = MOST_BYTES // max(sum(len(p.panels) for p in pictures), 1)
    stored = [[_png(pixels, most=share) for _, pixels in picture.panels] for picture in pictures]
    uris = [["data:image/png;base64," + base64.b64encode(png).decode() for png, _ in row] for row in stored]
    return uris, any(reduced for row in stored for _, reduced in row)


def _png(pixels: NDArray[np.uint8], *, most: int) -> tuple[bytes, bool]:
    grey = pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())
    image = Image.fromarray(pixels if pixels.ndim == 2 else pixels[..., 0] if grey else pixels)
    png = _encoded(image)
    if len(png) <= most:
        return png, False
    for colours, scale in COARSER:
        png = _encoded(_coarser(image, colours, scale))
        if len(png) <= most:
            break
    return png, True


def _coarser(image: Image.Image, colours: int, scale: float) -> Image.Image:
    if scale < 1:
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        image = image.resize(size, Image.Resampling.BOX)
    if image.mode == "L":
        step = 256 // colours
        return image.point([min(v // step * step + step // 2, 255) for v in range(256)])
    return image.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def _encoded(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=4)
    return stream.getvalue()
