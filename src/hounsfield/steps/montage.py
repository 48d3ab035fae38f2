"""Panels side by side on a dark ground: one picture with letters, scale bar, legend and caption."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

__all__ = ["Panel", "Wording", "composed", "png_bytes"]

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
Rows = list[list[list[int]]]  # of stacks of panels, by number

WIDEST, TALLEST = 1560, 1000
_LARGEST_ZOOM = 12.0
_MARGIN, _GAP = 16, 10
_MOST_LINES = 4  # of a title
_GROUND: Colour = (17, 18, 21)
_PLAIN: Colour = (196, 198, 204)
_QUIET: Colour = (128, 132, 141)
_MARK: Colour = (233, 196, 106)
_FAULT: Colour = (240, 140, 90)
_NICE_MM = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
_IN_FONT = {"×": "x", "–": "-", "−": "-", "µ": "u", "“": '"', "”": '"', "’": "'"}


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One image (H, W, 3); size of its pixels (down, across), in mm if `in_mm`; edge letters (left, right,
    top, bottom), "" for none; a title above it, in lines if it is long."""

    pixels: Picture
    pixel_size: tuple[float, float] = (1.0, 1.0)
    in_mm: bool = False
    letters: tuple[str, str, str, str] = ("", "", "", "")
    title: str = ""


@dataclass(frozen=True, slots=True)
class Wording:
    """What stands around the panels: faults above, caption and legend below."""

    caption: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    legend: tuple[tuple[Colour, str], ...] = ()


def composed(
    panels: Sequence[Panel], wording: Wording | None = None, *, widest: int = WIDEST, tallest: int = TALLEST
) -> Picture:
    """The picture (H, W, 3): panels in rows at one scale, never wider or taller than asked by their images.

    Without `wording` the panels alone are drawn, for a terminal in which small letters cannot be read.

    >>> import numpy as np
    >>> composed([Panel(np.zeros((4, 8, 3), np.uint8))], widest=40, tallest=40).shape
    (20, 40, 3)
    """
    bare = wording is None
    gap = 2 if bare else _GAP
    for lines in range(1, _MOST_LINES + 1):
        strip = 4 + 18 * lines if not bare and any(p.title for p in panels) else 0
        rows, scale = _arranged(panels, widest, tallest, gap, strip)
        sizes = [
            (max(1, int(h * scale + 1e-6)), max(1, int(w * scale + 1e-6))) for h, w in map(_extent, panels)
        ]
        titles = [_titled(p.title, w) for p, (_, w) in zip(panels, sizes, strict=True)]
        if not strip or max(map(len, titles)) <= lines:
            break
    corners, height, width = _corners(rows, sizes, gap, strip)
    canvas = np.full((height, width, 3), _GROUND, np.uint8)
    for panel, (top, left), size in zip(panels, corners, sizes, strict=True):
        canvas[top : top + size[0], left : left + size[1]] = _resized(panel.pixels, size)
    if wording is None:
        return canvas
    return _worded(_marked(canvas, panels, titles, corners, sizes), wording)


def png_bytes(picture: Picture) -> bytes:
    """The picture as a PNG file without any text chunk.

    >>> import numpy as np
    >>> png_bytes(np.zeros((2, 2, 3), np.uint8))[1:4]
    b'PNG'
    """
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", compress_level=4)
    return out.getvalue()


def _extent(panel: Panel) -> tuple[float, float]:
    """Height and width of a panel in its own unit."""
    return panel.pixels.shape[0] * panel.pixel_size[0], panel.pixels.shape[1] * panel.pixel_size[1]


def _arranged(panels: Sequence[Panel], widest: int, tallest: int, gap: int, strip: int) -> tuple[Rows, float]:
    """The rows of stacks of panels that let them become largest, and the scale: pixels for a unit."""
    n = len(panels)
    layouts: list[Rows] = [
        [[[m] for m in range(start, min(start + columns, n))] for start in range(0, n, columns)]
        for columns in range(n, 0, -1)
    ]
    if n == 3:  # the planes of a thin volume: the two flat ones above each other, beside the first
        layouts = [layouts[0], [[[0], [1, 2]]]]
    extents = [_extent(p) for p in panels]
    largest = _LARGEST_ZOOM / min(min(p.pixel_size) for p in panels)

    def scale(rows: Rows) -> float:
        across = max(sum(max(extents[m][1] for m in stack) for stack in row) for row in rows)
        down = sum(max(sum(extents[m][0] for m in stack) for stack in row) for row in rows)
        deep = sum(max(map(len, row)) for row in rows)
        wide = widest - gap * (max(map(len, rows)) - 1)
        high = tallest - gap * (deep - 1) - strip * deep
        return min(max(wide, widest // 2) / across, max(high, tallest // 2) / down, largest)

    best = max(layouts, key=scale)
    return best, scale(best)


def _corners(
    rows: Rows, sizes: Sequence[tuple[int, int]], gap: int, strip: int
) -> tuple[list[tuple[int, int]], int, int]:
    """The upper left corner of every panel, and the height and width of all."""
    corners: list[tuple[int, int]] = [(0, 0)] * len(sizes)
    bottom = right = start = 0
    for row in rows:
        left = 0
        for stack in row:
            top = start
            for n in stack:
                corners[n] = (top + strip, left)
                top += strip + sizes[n][0] + gap
            left += max(sizes[n][1] for n in stack) + gap
            bottom = max(bottom, top - gap)
        right = max(right, left - gap)
        start = bottom + gap
    return corners, bottom, right


def _resized(pixels: Picture, size: tuple[int, int]) -> Picture:
    import cv2

    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    smaller = size[0] < height or size[1] < width
    resized = cv2.resize(
        np.ascontiguousarray(pixels),
        (size[1], size[0]),
        interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR,
    )
    return np.asarray(resized, np.uint8)


def _titled(title: str, width: int) -> list[str]:
    """The title in lines that fit; one that is too long for so many ends in dots."""
    if _font(14).getlength(_drawable(title)) <= width:
        return [title] if title else []
    lines = _wrapped(title, width, 14)
    rest = " ".join(lines[_MOST_LINES - 1 : _MOST_LINES + 1])
    return [*lines[: _MOST_LINES - 1], *([_fitting(rest, width, 14)] if rest else [])]


def _marked(
    canvas: Picture,
    panels: Sequence[Panel],
    titles: Sequence[list[str]],
    corners: Sequence[tuple[int, int]],
    sizes: Sequence[tuple[int, int]],
) -> Picture:
    """Titles above, letters at the edges, and a scale bar in the first panel that has room for it."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    for panel, title, (top, left), (height, width) in zip(panels, titles, corners, sizes, strict=True):
        for n, line in enumerate(reversed(title)):
            draw.text((left, top - 5 - 18 * n), _fitting(line, width, 14), _QUIET, _font(14), anchor="ls")
        places = (
            (left + 5, top + height / 2, "lm"),
            (left + width - 5, top + height / 2, "rm"),
            (left + width / 2, top + 4, "mt"),
            (left + width / 2, top + height - 4, "mb"),
        )
        if min(height, width) >= 60:
            for letter, (x, y, anchor) in zip(panel.letters, places, strict=True):
                _shadowed(draw, (x, y), letter, anchor)
    _scale_bar(draw, panels, corners, sizes)
    return np.asarray(image)


def _scale_bar(
    draw: ImageDraw,
    panels: Sequence[Panel],
    corners: Sequence[tuple[int, int]],
    sizes: Sequence[tuple[int, int]],
) -> None:
    for panel, (top, left), (height, width) in zip(panels, corners, sizes, strict=True):
        if not panel.in_mm or height < 60 or width < 90:
            continue
        per_mm = width / (panel.pixels.shape[1] * panel.pixel_size[1])
        lengths = [mm for mm in _NICE_MM if 30 <= mm * per_mm <= 0.4 * width]
        if not lengths:
            continue
        mm = min(lengths, key=lambda v: abs(v * per_mm - 0.2 * width))
        right, y = left + width - 12, top + height - 14
        start = right - mm * per_mm
        draw.rectangle((start - 1, y - 1, right + 1, y + 3), fill=(0, 0, 0))
        draw.rectangle((start, y, right, y + 2), fill=_PLAIN)
        text = f"{mm:g} mm"
        _shadowed(draw, ((start + right) / 2, y - 4), text, "mb", colour=_PLAIN)
        return


def _shadowed(
    draw: ImageDraw, place: tuple[float, float], text: str, anchor: str, *, colour: Colour = _MARK
) -> None:
    draw.text(place, text, colour, _font(16), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def _worded(canvas: Picture, wording: Wording) -> Picture:
    """Put the picture on its ground with faults above, legend and caption below, wrapped to its width."""
    from PIL import Image, ImageDraw

    width = max(canvas.shape[1], 420)
    above = [line for text in wording.faults for line in _wrapped(text, width, 15)]
    below = [line for text in wording.caption for line in _wrapped(text, width, 15)]
    legend = _legend_rows(wording.legend, width)
    head = 22 * len(above) + 8 * bool(above)
    foot = 22 * (len(below) + len(legend)) + 10 * bool(below or legend)
    size = (width + 2 * _MARGIN, canvas.shape[0] + head + foot + 2 * _MARGIN)
    image = Image.new("RGB", size, _GROUND)
    left = _MARGIN + (width - canvas.shape[1]) // 2
    image.paste(Image.fromarray(canvas), (left, _MARGIN + head))
    draw = ImageDraw.Draw(image)
    for n, line in enumerate(above):
        draw.text((_MARGIN, _MARGIN + 22 * n + 15), line, _FAULT, _font(15), anchor="ls")
    y = _MARGIN + head + canvas.shape[0] + 26
    for row in legend:
        for x, colour, text in row:
            draw.rectangle((x, y - 11, x + 11, y), fill=colour)
            draw.text((x + 18, y), text, _PLAIN, _font(14), anchor="ls")
        y += 22
    for n, line in enumerate(below):
        draw.text((_MARGIN, y), line, _PLAIN if n == 0 else _QUIET, _font(15), anchor="ls")
        y += 22
    return np.asarray(image)


def _legend_rows(legend: Sequence[tuple[Colour, str]], width: int) -> list[list[tuple[float, Colour, str]]]:
    rows: list[list[tuple[float, Colour, str]]] = []
    x = math.inf
    for colour, text in legend:
        text = _fitting(text, width - 20, 14)
        needed = 18 + _font(14).getlength(text) + 22
        if x + needed - 22 > width + _MARGIN:
            rows.append([])
            x = float(_MARGIN)
        rows[-1].append((x, colour, text))
        x += needed
    return rows


def _wrapped(text: str, width: int, size: int) -> list[str]:
    """Lines of words that fit; a word too long for a line is cut."""
    lines: list[str] = []
    for word in _drawable(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_fitting(word, width, size))
    return lines


def _fitting(text: str, width: int, size: int) -> str:
    text = _drawable(text)
    while text and _font(size).getlength(text) > width:
        text = text[:-2].rstrip(".… ") + "…" if len(text) > 2 else ""
    return text


def _drawable(text: str) -> str:
    """The text in the letters that Pillow's own font holds."""
    plain = "".join(_IN_FONT.get(c, c) for c in text)
    return "".join(c if c.isascii() or c in "·°…" else "?" for c in plain)


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)
