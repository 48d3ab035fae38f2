"""Letters, markers and tags burnt into an image: small, bright, sharply bounded, on an even ground.

A white top-hat takes away all that is larger than a letter; what stands out of it is kept if it has a
letter's size and shape, is nearly as bright as the image gets, and is surrounded by something even and much
darker. Ribs, clavicles, vessels, tubes and skin edges, which the top-hat finds too, fade out over more than
two pixels or lie on uneven ground. Three such in a row are a line of text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Letter", "Letters", "letters_in"]

LARGEST = 512
SMALL = 100
"""Images up to this side hold no letters but perhaps a tag; it must not touch the border."""
STANDS_OUT, CONTRAST, LEVEL, UNEVEN = 0.3, 0.3, 0.6, 0.4
MOST = 400
"""More things than this that stand out are a texture; none of them is a letter."""
LINE = 3
MARGIN = 0.18
"""A single letter counts this near the border only: a nodule or a calcification may be as sharp as it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Where something like a letter stands: top, left, height and width as fractions of the image's longer
    side.
    """

    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True, slots=True)
class Letters:
    """All of an image; `in_lines` counts those that stand in rows of three and more."""

    found: tuple[Letter, ...]
    in_lines: int


def letters_in(plane: NDArray[Any]) -> Letters:
    """The letters of a 2D image (J, I).

    >>> plane = np.zeros((200, 200), np.float32); plane[20:30, 20:26] = 1.0
    >>> len(letters_in(plane).found)
    1
    """
    import cv2

    shrink = max(plane.shape) / LARGEST
    if shrink > 1:
        size = (max(1, round(plane.shape[1] / shrink)), max(1, round(plane.shape[0] / shrink)))
        plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    side = max(plane.shape)
    low, usual, high = np.percentile(plane, (0.5, 99.5, 99.9))
    if usual <= low:  # an even image with little on it
        low, high = float(plane.min()), float(plane.max())
    spread = float(high - low)
    if side < 24 or spread <= 0:
        return Letters((), 0)
    width = max(5, round(side * (0.25 if side < SMALL else 0.06))) | 1
    opened = cv2.morphologyEx(plane, cv2.MORPH_OPEN, np.ones((width, width), np.uint8))
    standing = (plane - opened > STANDS_OUT * spread).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(standing, connectivity=8)
    if count > MOST:
        return Letters((), 0)
    found = [
        Letter(*(float(v) / side for v in (box[1], box[0], box[3], box[2])))
        for number, box in enumerate(boxes[1:], 1)
        if _has_size(box, side, plane.shape) and _is_printed(plane, labels, number, box, float(low), spread)
    ]
    lined = _in_lines(found)
    height, width = (length / side for length in plane.shape)
    kept = [x for x, line in zip(found, lined, strict=True) if line or _at_margin(x, height, width)]
    return Letters(tuple(kept), sum(lined))


def _at_margin(letter: Letter, height: float, width: float) -> bool:
    down, along = letter.top + letter.height / 2, letter.left + letter.width / 2
    return min(down, height - down) < MARGIN * height or min(along, width - along) < MARGIN * width


def _has_size(box: NDArray[np.int32], side: int, shape: tuple[int, ...]) -> bool:
    left, top, width, height, area = (int(v) for v in box)
    small = side < SMALL
    least, most, fill = (2, 0.2 * side, 4) if small else (5, 0.1 * side, 8)
    if small and (left == 0 or top == 0 or left + width == shape[1] or top + height == shape[0]):
        return False
    fits = least <= height <= most and 2 <= width <= most and area >= fill
    return fits and width <= 3 * height and height <= 6 * width


def _is_printed(
    plane: NDArray[Any],
    labels: NDArray[Any],
    number: int,
    box: NDArray[np.int32],
    low: float,
    spread: float,
) -> bool:
    import cv2

    left, top, width, height, _ = (int(v) for v in box)
    part = np.s_[max(0, top - 3) : top + height + 3, max(0, left - 3) : left + width + 3]
    inside, values = (labels[part] == number).astype(np.uint8), plane[part]
    near = cv2.dilate(inside, np.ones((3, 3), np.uint8))
    ring = values[(cv2.dilate(near, np.ones((3, 3), np.uint8)) > 0) & (near == 0)]
    if len(ring) < 6:
        return False
    level = float(np.median(values[inside > 0]))
    dark, bright = np.percentile(ring, (10, 90))
    contrast = level - float(np.percentile(ring, 75))
    return bool(
        contrast > CONTRAST * spread and level - low > LEVEL * spread and bright - dark < UNEVEN * spread
    )


def _in_lines(letters: list[Letter]) -> list[bool]:
    """Which letters have two neighbours of like height at like level, near enough to be one line."""
    if len(letters) < LINE:
        return [False] * len(letters)
    boxes = np.array([(x.top + x.height / 2, x.left + x.width / 2, x.height) for x in letters])
    level, place, height = boxes.T
    tall = np.maximum(height[:, None], height)
    beside = (np.abs(level[:, None] - level) < 0.5 * tall) & (np.abs(place[:, None] - place) < 4.5 * tall)
    alike = (np.minimum(height[:, None], height) > 0.6 * tall) & beside
    return [bool(k >= LINE) for k in alike.sum(1)]
