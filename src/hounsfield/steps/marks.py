"""Burnt-in letters and markers as suspected shortcuts: wiped out of images with them, put into the others.

Where the audit sees marks, whether the model uses them is a question of its own: only a change of the image
answers it. What is wiped is filled with what surrounds it; what is put in is cut from a development image
that bears marks and laid at the same place, in the other image's own range of values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.audits.letters import Letter, letters_in
from hounsfield.steps.intervene import Intervention

__all__ = ["mark_interventions"]

Image = NDArray[Any]
Box = tuple[int, int, int, int]
LEAST = 10
"""Development images that must bear marks before they are suspected."""
EDGE = 0.015
"""So much around a mark, as a share of the longer side, goes with it."""
RING = 0.03


def mark_interventions(cases: Sequence[Case], store: PixelStore) -> tuple[Intervention, ...]:
    """What to do to images to see whether marks move the score; nothing where hardly an image bears one.

    `cases` are development cases, of which the mark that is put in is taken. Only flat images are changed.
    """
    bearing = [(c, found) for c in cases if (found := _marks(store.image(c.images[0].id)))]
    if len(bearing) < LEAST:
        return ()
    donor, found = max(bearing, key=lambda pair: (len(pair[1]), pair[0].id))
    image = store.image(donor.images[0].id)
    patch, box = _patch(image, found)

    def removed(image: Image, _case: Case) -> Image | None:
        marks = _marks(image)
        return wiped(image, marks) if marks else None

    def inserted(image: Image, _case: Case) -> Image | None:
        return None if _marks(image) or image.shape[1] > 1 else _laid(image, patch, box)

    return (
        Intervention(
            "marks_removed", "burnt-in letters and markers were wiped out where they stand", removed
        ),
        Intervention(
            "marks_inserted", "the marks of a development image were put into images without any", inserted
        ),
    )


def wiped(image: Image, marks: Sequence[Letter]) -> Image:
    """An image (C, 1, J, I) whose marks are filled with the median of what surrounds each of them.

    >>> image = np.full((1, 1, 200, 200), 7, np.uint8); image[0, 0, 20:30, 20:26] = 255
    >>> int(wiped(image, letters_in(image[0, 0]).found).max())
    7
    """
    out = image.copy()
    side = max(image.shape[-2:])
    for mark in marks:
        top, bottom, left, right = _box([mark], image.shape[-2:])
        grow = max(2, round(RING * side))
        rows = slice(max(0, top - grow), bottom + grow)
        columns = slice(max(0, left - grow), right + grow)
        ring = image[..., rows, columns]
        inside = np.zeros(ring.shape[-2:], bool)
        inside[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = True
        for channel in range(image.shape[0]):
            around = ring[channel, 0][~inside]
            if around.size:
                out[channel, 0, top:bottom, left:right] = np.median(around).astype(image.dtype)
    return out


def _marks(image: Image) -> tuple[Letter, ...]:
    if image.shape[1] > 1:
        return ()
    return letters_in(image[:, 0].mean(0).astype(np.float32)).found


def _box(marks: Sequence[Letter], shape: tuple[int, ...]) -> Box:
    """Rows and columns that hold the marks and a little around them: top, bottom, left, right."""
    side = max(shape)
    edge = max(1, round(EDGE * side))
    top = min(int(m.top * side) for m in marks) - edge
    left = min(int(m.left * side) for m in marks) - edge
    bottom = max(int(np.ceil((m.top + m.height) * side)) for m in marks) + edge
    right = max(int(np.ceil((m.left + m.width) * side)) for m in marks) + edge
    return max(0, top), min(shape[0], bottom), max(0, left), min(shape[1], right)


def _patch(image: Image, marks: Sequence[Letter]) -> tuple[NDArray[np.float32], tuple[float, ...]]:
    """The marks of an image as shares of its range (C, h, w), and where they lie as shares of its sides.

    Of marks far apart only the largest is taken.
    """
    spans = _box(marks, image.shape[-2:])
    if (spans[1] - spans[0]) * (spans[3] - spans[2]) > 0.1 * image.shape[-2] * image.shape[-1]:
        spans = _box([max(marks, key=lambda m: m.height * m.width)], image.shape[-2:])
    top, bottom, left, right = spans
    low, high = float(image.min()), float(image.max())
    cut = (image[:, 0, top:bottom, left:right].astype(np.float32) - low) / max(high - low, 1e-9)
    rows, columns = image.shape[-2:]
    return cut, (top / rows, bottom / rows, left / columns, right / columns)


def _laid(image: Image, patch: NDArray[np.float32], box: tuple[float, ...]) -> Image:
    """The patch at its place, in the image's own range and size."""
    import cv2

    rows, columns = image.shape[-2:]
    top, left = int(box[0] * rows), int(box[2] * columns)
    bottom, right = max(top + 2, int(box[1] * rows)), max(left + 2, int(box[3] * columns))
    bottom, right = min(bottom, rows), min(right, columns)
    low, high = float(image.min()), float(image.max())
    out = image.copy()
    for channel in range(image.shape[0]):
        source = patch[min(channel, len(patch) - 1)]
        made = cv2.resize(source, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        out[channel, 0, top:bottom, left:right] = (low + made * (high - low)).astype(image.dtype)
    return out
