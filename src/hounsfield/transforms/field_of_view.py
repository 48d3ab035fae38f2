"""The field of view of a fundus photograph: the circle that light reaches, found, centred and cut out.

Cameras differ in where the circle lies, how large it is and whether the sensor cuts it off; a tab or a corner
tells the camera. All of that goes: what is left is the circle in a square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FieldOfView", "brightness", "crop_to_field", "field_of_view"]

_REDUCED = 256  # longest side on which the circle is looked for
_LEAST_STEP = 0.012  # of the image's range: so much brighter than the corners is light
_SHARE = 0.06  # of the way from the corners to the brightest: beyond that the field begins
_TRIES, _NEAR = 300, 0.012  # circles through three points; points so near the circle, in radii, speak for it
_LEAST_SUPPORT = 0.35  # of the points of the rim
_SMALLEST, _LARGEST = 0.2, 1.1  # radius in parts of the longest side


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """A circle: `row` and `column` of its middle and its `radius` in pixels; `support` is the share of the
    rim's points that lie on it, `shown` the share of its area that lies in the image.
    """

    row: float
    column: float
    radius: float
    support: float
    shown: float


def brightness(data: NDArray[Any]) -> NDArray[np.float32]:
    """The brightest channel (J, I) of a flat image (C, 1, J, I), from 0 to 1 of the range of its type.

    >>> brightness(np.full((3, 1, 1, 1), 51, np.uint8)).tolist()
    [[0.20000000298023224]]
    """
    top = data[:, 0].max(0).astype(np.float32)
    most = float(np.iinfo(data.dtype).max) if data.dtype.kind in "iu" else max(float(top.max()), 1.0)
    if data.dtype.kind in "iu" and data.dtype.itemsize > 1:  # 10 or 12 bits in 16: what is there counts
        most = max(float(2 ** math.ceil(math.log2(max(float(top.max()), 1.0) + 1)) - 1), 255.0)
    return top / np.float32(most)


def field_of_view(data: NDArray[Any]) -> FieldOfView | None:
    """The circle of light of a flat image (C, 1, J, I), None where no circle stands out from the corners.

    The darkest corners tell what no light is; the field is the largest part brighter than them by more than
    their noise. Its rim, where it is not the image's own edge, is fitted by the circle that most of it lies
    on (Fischler & Bolles 1981, with a fixed seed; then by least squares, Kåsa 1976): a circle cut at top and
    bottom, a tab, a shadow in it do not move it.

    >>> j, i = np.mgrid[:120, :160]
    >>> disc = (np.hypot(j - 60, i - 80) < 70).astype(np.uint8) * 90
    >>> found = field_of_view(np.repeat(disc[None, None], 3, 0))
    >>> found is not None and abs(found.radius - 70) < 1 and abs(found.column - 80) < 1
    True
    """
    import cv2

    bright = brightness(data)
    shape = bright.shape
    scale = max(1.0, max(shape) / _REDUCED)
    size = (max(8, round(shape[1] / scale)), max(8, round(shape[0] / scale)))
    small = cv2.resize(bright, size, interpolation=cv2.INTER_AREA)
    level = _level(small)
    if level is None:
        return None
    points = _rim(_largest(small > level), small, level)
    if len(points) < 24:
        return None
    circle = _circle(points, max(size))
    if circle is None:
        return None
    row, column, radius, support = circle
    by_row, by_column = shape[0] / size[1], shape[1] / size[0]
    row, column = (row + 0.5) * by_row - 0.5, (column + 0.5) * by_column - 0.5
    radius *= (by_row + by_column) / 2
    return FieldOfView(row, column, radius, support, _shown(row, column, radius, shape))


def crop_to_field(data: NDArray[Any], field: FieldOfView | None) -> NDArray[Any]:
    """The square (C, 1, D, D) around the circle; black (the type's 0) outside it and where it was cut off.

    An image without a circle is returned whole.

    >>> data = np.ones((3, 1, 40, 60), np.uint8)
    >>> cut = crop_to_field(data, FieldOfView(19.5, 29.5, 25.0, 1.0, 0.9))
    >>> cut.shape, int(cut[0, 0, 0, 0]), int(cut[0, 0, 25, 25]), int(cut[0, 0, 2, 25])
    ((3, 1, 50, 50), 0, 1, 0)
    """
    if field is None:
        return data
    half = max(1, round(field.radius))
    top, left = round(field.row + 0.5) - half, round(field.column + 0.5) - half
    out = np.zeros((*data.shape[:2], 2 * half, 2 * half), data.dtype)
    rows = slice(max(0, top), min(data.shape[2], top + 2 * half))
    columns = slice(max(0, left), min(data.shape[3], left + 2 * half))
    there = (..., slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    out[there] = data[..., rows, columns]
    out *= disc_of(2 * half).astype(data.dtype)
    return out


def disc_of(side: int) -> NDArray[np.bool_]:
    """True inside the circle that a square (side, side) holds, a hundredth of its radius within the rim."""
    from_middle = np.arange(side, dtype=np.float32) - (side - 1) / 2
    inside: NDArray[np.bool_] = from_middle[:, None] ** 2 + from_middle[None] ** 2 < (0.495 * side) ** 2
    return inside


def _level(small: NDArray[np.float32]) -> float | None:
    """The brightness at which the field begins; None where the corners are as bright as the rest."""
    side = max(2, round(0.04 * min(small.shape)))
    corners = [
        small[a, b] for a in (slice(side), slice(-side, None)) for b in (slice(side), slice(-side, None))
    ]
    medians = sorted(float(np.median(c)) for c in corners)
    dark = float(np.mean(medians[:2]))  # a label or a glow may brighten two corners
    quiet = min(corners, key=lambda c: float(np.median(c)))
    noise = 1.4826 * float(np.median(np.abs(quiet - np.median(quiet))))
    high = float(np.percentile(small, 95))
    step = max(_LEAST_STEP, 4 * noise, _SHARE * (high - dark))
    return dark + step if high > dark + 1.25 * step else None


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    import cv2

    _, parts, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if len(facts) < 2:
        return mask
    largest: NDArray[np.bool_] = parts == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())
    return largest


def _rim(mask: NDArray[np.bool_], small: NDArray[np.float32], level: float) -> NDArray[np.float64]:
    """Where brightness crosses the level at both ends of each row and column (n, 2): row, column."""
    found = [_ends(mask, small, level), _ends(mask.T, small.T, level)[:, ::-1]]
    return np.concatenate(found)


def _ends(mask: NDArray[np.bool_], small: NDArray[np.float32], level: float) -> NDArray[np.float64]:
    rows = np.flatnonzero(mask.any(1))
    width = mask.shape[1]
    ends = []
    for first, step in ((mask[rows].argmax(1), -1), (width - 1 - mask[rows, ::-1].argmax(1), 1)):
        inner = (first > 0) & (first < width - 1)  # at the image's edge the circle may be cut
        at, lines = first[inner], rows[inner]
        inside, outside = small[lines, at], small[lines, at + step]
        part = np.clip((inside - level) / np.maximum(inside - outside, 1e-6), 0, 1)
        ends.append(np.column_stack([lines, at + step * part]))
    return np.concatenate(ends).astype(np.float64)


def _circle(points: NDArray[np.float64], longest: int) -> tuple[float, float, float, float] | None:
    """Row, column, radius and support of the circle that most points lie on."""
    rng = np.random.default_rng(0)
    a, b, c = (points[rng.integers(0, len(points), _TRIES)] for _ in range(3))
    middles, radii = _through(a, b, c)
    fit = (radii > _SMALLEST * longest) & (radii < _LARGEST * longest)
    middles, radii = middles[fit], radii[fit]
    if not len(radii):
        return None
    voters = points[:: max(1, len(points) // 150)].astype(np.float32)
    near_by = np.maximum(_NEAR * radii, 1.0)
    square = (voters[:, 0] - middles[:, :1].astype(np.float32)) ** 2
    square += (voters[:, 1] - middles[:, 1:].astype(np.float32)) ** 2
    votes = ((square > ((radii - near_by) ** 2)[:, None]) & (square < ((radii + near_by) ** 2)[:, None])).sum(
        1
    )
    best = int(votes.argmax())
    middle, radius = middles[best], float(radii[best])
    for _ in range(4):
        near = np.abs(np.hypot(*(points - middle).T) - radius) < max(_NEAR * radius, 1.0)
        if near.sum() < 12:
            return None
        middle, radius = _fitted(points[near])
    if not _SMALLEST * longest < radius < _LARGEST * longest:
        return None
    support = float(np.mean(np.abs(np.hypot(*(points - middle).T) - radius) < max(_NEAR * radius, 1.0)))
    return (float(middle[0]), float(middle[1]), radius, support) if support >= _LEAST_SUPPORT else None


def _through(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middles (n, 2) and radii (n,) of circles through three points each; radius 0 for points in a line."""
    u, v = b - a, c - a
    cross = 2 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    sure = np.where(np.abs(cross) < 1.0, np.inf, cross)
    uu, vv = (u**2).sum(1), (v**2).sum(1)
    way = np.column_stack([v[:, 1] * uu - u[:, 1] * vv, u[:, 0] * vv - v[:, 0] * uu]) / sure[:, None]
    return a + way, np.hypot(*way.T)


def _fitted(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The circle of least squares (Kåsa 1976)."""
    mean = points.mean(0)
    near = points - mean
    solved, *_ = np.linalg.lstsq(
        np.column_stack([2 * near, np.ones(len(near))]), (near**2).sum(1), rcond=None
    )
    return mean + solved[:2], float(math.sqrt(max(solved[2] + solved[0] ** 2 + solved[1] ** 2, 0.0)))


def _shown(row: float, column: float, radius: float, shape: tuple[int, ...]) -> float:
    """The share of a circle's area that lies in an image of that shape."""
    down = np.linspace(-1, 1, 201)
    rows = row + radius * down
    half = radius * np.sqrt(1 - down**2)
    inside = np.minimum(column + half, shape[1] - 0.5) - np.maximum(column - half, -0.5)
    inside[(rows < -0.5) | (rows > shape[0] - 0.5)] = 0
    return float(np.clip(inside, 0, None).sum() / max(2 * half.sum(), 1e-9))
