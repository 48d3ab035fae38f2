"""Planes of an image as RGB, with outlines, boxes and circles over them in colours that everyone can tell.

What a reader drew is sky blue and solid, what the model drew is orange and dashed (the palette of Okabe and
Ito), both over a dark rim, so that neither hue nor brightness of the image hides them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hounsfield.steps.explain_panels import window_of

__all__ = [
    "MODEL",
    "READER",
    "SIDE",
    "Cut",
    "circled",
    "cropped_to",
    "cut",
    "differing",
    "outlined",
    "pixels_of",
    "width_of",
]

Numbers = NDArray[np.float32]
Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

READER: Colour = (86, 180, 233)
MODEL: Colour = (230, 159, 0)
SIDE = 340
_RIM: Colour = (0, 0, 0)
_BOTH: Colour = (240, 240, 240)
_DASH, _GAP = 9.0, 6.0
_MARGIN, _LEAST_SHARE = 0.35, 0.3


@dataclass(frozen=True, slots=True)
class Cut:
    """A plane of a volume: the axis it is perpendicular to (0 slices, 1 rows, 2 columns), and its place.

    `rows` and `columns` are the part that is shown; of planes along the slices the last slice is on top.
    """

    axis: int
    place: int
    rows: tuple[int, int | None] = (0, None)
    columns: tuple[int, int | None] = (0, None)

    def of(self, volume: NDArray[np.generic]) -> NDArray[np.generic]:
        """The plane (…, H, W) of a volume (…, K, J, I).

        >>> Cut(1, 0).of(np.arange(8).reshape(2, 2, 2)).tolist()
        [[4, 5], [0, 1]]
        """
        plane = np.take(volume, self.place, axis=volume.ndim - 3 + self.axis)
        if self.axis:
            plane = plane[..., ::-1, :]
        return np.asarray(plane[..., slice(*self.rows), slice(*self.columns)])

    def pixel(self, spacing: tuple[float, float, float]) -> tuple[float, float]:
        """The size of a pixel (down, across) of a volume with this spacing (k, j, i)."""
        down, across = (s for axis, s in enumerate(spacing) if axis != self.axis)
        return down, across


def cut(marked: NDArray[np.bool_], axis: int) -> Cut:
    """The plane in which most is marked (K, J, I); of equal ones the one in the middle.

    >>> marked = np.zeros((3, 4, 4), bool)
    >>> marked[2, 1:3, 1:3] = True
    >>> cut(marked, 0).place
    2
    """
    along = marked.sum(axis=tuple(a for a in range(3) if a != axis))
    most = np.flatnonzero(along == along.max())  # all of them where nothing is marked
    return Cut(axis, int(most[len(most) // 2]))


def cropped_to(whole: Cut, marked: NDArray[np.bool_], spacing: tuple[float, float, float]) -> Cut:
    """The same plane, cropped to what is marked (K, J, I) in it with a margin, to a square where that can be.

    At least `_LEAST_SHARE` of the longer side stays, so that what is around can be seen.
    """
    plane = np.asarray(whole.of(marked), np.bool_)
    if not plane.any():
        return whole
    pixel, sizes = whole.pixel(spacing), plane.shape
    held = [np.flatnonzero(plane.any(axis=1 - axis)) for axis in range(2)]
    longest = max(size * p for size, p in zip(sizes, pixel, strict=True))
    reach = max((int(h[-1] - h[0]) + 1) * p for h, p in zip(held, pixel, strict=True)) * (1 + 2 * _MARGIN)
    wanted = max(reach, _LEAST_SHARE * longest, 16 * max(pixel))
    rows, columns = (_span(h, size, round(wanted / p)) for h, size, p in zip(held, sizes, pixel, strict=True))
    return Cut(whole.axis, whole.place, rows, columns)


def _span(held: NDArray[np.intp], size: int, wanted: int) -> tuple[int, int]:
    if wanted >= size:
        return 0, size
    middle = (int(held[0]) + int(held[-1]) + 1) / 2
    low = min(max(round(middle - wanted / 2), 0), size - wanted)
    return low, low + wanted


def pixels_of(
    plane: Numbers, pixel: tuple[float, float], *, window: tuple[float, float] | None = None, side: int = SIDE
) -> Picture:
    """A plane (J, I) in greys or (3, J, I) in colours as RGB (h, w, 3) of true proportions.

    `window` are the values shown black and white; without one they are the plane's own. The longer side has
    `side` pixels.

    >>> pixels_of(np.zeros((4, 8), np.float32), (2.0, 1.0), side=16).shape
    (16, 16, 3)
    """
    import cv2

    planes = plane[None] if plane.ndim == 2 else plane
    low, high = window or window_of(planes)
    shown = np.clip((np.nan_to_num(planes) - low) / max(high - low, 1e-6), 0, 1)
    rgb = np.repeat(shown[:1], 3, 0) if len(shown) < 3 else shown[:3]
    size = _size(planes.shape[-2:], pixel, side)
    how = cv2.INTER_CUBIC if size[0] > planes.shape[-2] else cv2.INTER_AREA
    values = np.ascontiguousarray((rgb * 255).astype(np.uint8).transpose(1, 2, 0))
    return np.asarray(cv2.resize(values, size[::-1], interpolation=how), np.uint8)


def outlined(picture: Picture, mask: NDArray[np.bool_], colour: Colour, *, dashed: bool) -> Picture:
    """The picture (h, w, 3) with the border of a mask (J, I) that covers the same part.

    >>> drawn = outlined(np.zeros((40, 40, 3), np.uint8), np.eye(4, dtype=bool), READER, dashed=False)
    >>> bool((drawn == READER).all(axis=2).any())
    True
    """
    import cv2

    size = picture.shape[1], picture.shape[0]
    fine = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5
    padded = np.pad(fine, 1).astype(np.uint8)
    borders, _ = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    lines = [border[:, 0].astype(np.float64) - 1 for border in borders]
    return _lines(picture, lines, colour, dashed=dashed)


def width_of(mask: NDArray[np.bool_], picture: Picture) -> float:
    """About how many pixels of the picture what is marked (J, I) is wide: twice its area over its border.

    >>> width_of(np.ones((2, 40), bool), np.zeros((20, 400, 3), np.uint8)) > 15
    True
    """
    held = np.pad(mask, 1)
    border = sum(int(np.count_nonzero(np.diff(held.astype(np.int8), axis=axis))) for axis in range(2))
    return float(2 * mask.sum() / max(border, 1) * picture.shape[1] / mask.shape[1])


def differing(picture: Picture, reader: NDArray[np.bool_], model: NDArray[np.bool_]) -> Picture:
    """The picture with both masks (J, I) filled: white where they agree, else in the colour of who marked it.

    For what is too thin to be outlined.

    >>> one = np.eye(2, dtype=bool)
    >>> differing(np.zeros((2, 2, 3), np.uint8), one, ~one)[0].tolist() == [list(READER), list(MODEL)]
    True
    """
    import cv2

    size = picture.shape[1], picture.shape[0]
    large = [
        cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for m in (reader, model)
    ]
    filled = picture // 3 if (reader & model).any() else picture.copy()
    for mask, colour in ((large[0], READER), (large[1], MODEL), (large[0] & large[1], _BOTH)):
        filled[mask] = colour
    return filled


def circled(
    picture: Picture,
    centre: tuple[float, float],
    half: tuple[float, float],
    colour: Colour,
    *,
    dashed: bool,
    box: bool = False,
) -> Picture:
    """The picture with an ellipse, or a box, about a centre (down, across), with these half sizes in pixels.

    >>> drawn = circled(np.zeros((40, 40, 3), np.uint8), (20, 20), (8, 8), MODEL, dashed=True)
    >>> bool((drawn == MODEL).all(axis=2).any())
    True
    """  # fmt: skip
    if box:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]], np.float64)
        steps = np.linspace(0, 1, 60)[:, None]
        around = np.concatenate([a + steps * (b - a) for a, b in pairwise(corners)])
    else:
        turn = np.linspace(0, 2 * np.pi, 240)
        around = np.column_stack([np.cos(turn), np.sin(turn)])
    line = around * np.array(half[::-1]) + np.array(centre[::-1])
    return _lines(picture, [line], colour, dashed=dashed)


def _lines(picture: Picture, lines: list[NDArray[np.float64]], colour: Colour, *, dashed: bool) -> Picture:
    """Closed lines of points (x, y) over a dark rim; `dashed` leaves gaps of equal length."""
    import cv2

    drawn = np.ascontiguousarray(picture.copy())
    for shade, width in ((_RIM, 4), (colour, 2)):
        for line in lines:
            for piece in _dashes(np.concatenate([line, line[:1]])) if dashed else [line]:
                points = np.rint(piece * 16).astype(np.int32)
                cv2.polylines(drawn, [points], not dashed, shade, width, cv2.LINE_AA, 4)
    return drawn


def _dashes(line: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    drawn = along % (_DASH + _GAP) < _DASH
    edges = np.flatnonzero(np.diff(np.concatenate([[False], drawn, [False]]).astype(np.int8)))
    return [line[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1]


def _size(shape: tuple[int, ...], pixel: tuple[float, float], side: int) -> tuple[int, int]:
    """Height and width of a picture of true proportions."""
    extent = shape[0] * pixel[0], shape[1] * pixel[1]
    scale = side / max(extent)
    return max(1, round(extent[0] * scale)), max(1, round(extent[1] * scale))
