"""Small pictures of a brain for a report: slices with the outline of brain and ventricles, tissues, and what
changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.volume import Volume
from hounsfield.steps.brain.differences import Shift
from hounsfield.steps.brain.halfway import Halfway
from hounsfield.steps.brain.lesions_change import LesionsChange
from hounsfield.steps.brain.sampling import between, linear
from hounsfield.steps.brain.visit import Measured

__all__ = [
    "BrainPicture",
    "picture_of_change",
    "picture_of_hippocampi",
    "picture_of_lesions",
    "picture_of_tissues",
    "picture_of_visit",
]

Bytes = NDArray[np.uint8]
_SLICES, _APART = 3, 6
_EDGE, _ROOM = (255, 120, 40), (60, 200, 120)
_RED, _BLUE = np.array([235, 60, 50.0]), np.array([60, 130, 240.0])
_TISSUES = np.array([[20, 20, 24], [70, 110, 200], [150, 150, 150], [238, 238, 232]], np.uint8)


@dataclass(frozen=True)
class BrainPicture:
    """Red, green and blue (rows, columns, 3) with what is to be said below it."""

    pixels: Bytes
    caption: str


def picture_of_visit(found: Measured) -> BrainPicture:
    """Three planes of a head with the outlines of the brain that was found and of its ventricles."""
    panels = []
    for plane in _planes(found.found.hull):
        grey = _grey(_cut(found.found.even, plane))
        _outline(grey, _cut(found.found.hull, plane), _EDGE)
        _outline(grey, _cut(found.ventricles, plane), _ROOM)
        panels.append(grey)
    return BrainPicture(_beside(panels), "The brain that was measured (orange) and its ventricles (green)")


def picture_of_tissues(found: Measured) -> BrainPicture:
    """The same planes with CSF blue, grey matter grey and white matter white."""
    other = np.full((1, *found.parts.shape[1:]), 0.34, np.float32)
    labels = np.concatenate([other, found.parts]).argmax(0)
    panels = [_TISSUES[_cut(labels, plane)] for plane in _planes(found.found.hull)]
    return BrainPicture(_beside(panels), "Tissues: CSF blue, grey matter grey, white matter white")


def picture_of_hippocampi(found: Measured) -> BrainPicture:
    """Both hippocampi outlined where each is largest: seen from the front, and from the side, enlarged."""
    panels = []
    for one in (found.hippocampi.right, found.hippocampi.left):
        box = tuple(slice(a, a + n) for a, n in zip(one.low, one.probability.shape, strict=True))
        image, mask = found.found.even[box], one.probability > 0.5
        for axis in (1, 2):
            others = tuple(a for a in range(3) if a != axis)
            plane = (axis, int(mask.sum(others).argmax()))
            grey = _grey(_cut(image, plane)).repeat(2, 0).repeat(2, 1)
            _outline(grey, _cut(mask, plane).repeat(2, 0).repeat(2, 1), _EDGE)
            panels.append(grey)
    return BrainPicture(_beside(panels), "The hippocampi that were measured: the right one, then the left")


def picture_of_change(pair: Halfway, shift: Shift) -> BrainPicture:
    """The first visit half-way, red where brain went and blue where it came."""
    smooth = ndimage.gaussian_filter(shift.difference, 0.8)
    panels = []
    for plane in _planes(pair.hulls[0]):
        grey = _grey(_cut(pair.first, plane)).astype(np.float32)
        change = np.asarray(_cut(smooth, plane), np.float32)
        for colour, part in ((_RED, -change), (_BLUE, change)):
            share = np.clip((part - 0.12) * 2.0, 0, 0.85)[..., None]
            grey = grey * (1 - share) + colour * share
        panels.append(np.clip(grey, 0, 255).astype(np.uint8))
    return BrainPicture(
        _beside(panels), "What changed: red where brain became CSF, blue where CSF became brain"
    )


def picture_of_lesions(second: Volume, found: LesionsChange) -> BrainPicture:
    """The second visit in the three slices with most change: lesions that came or grew red, others blue."""
    shape = found.labels.shape
    image = linear(second.data[0], between(found.affine, second.affine, found.to_second), shape)
    image = image / max(float(np.percentile(image[image > 0], 98)) if (image > 0).any() else 1.0, 1e-6)
    came = np.array([False, *(one.kind in ("new", "grown") for one in found.lesions)])
    changed = (found.labels > 0).sum((1, 2))
    slices: list[int] = []
    for k in np.argsort(-changed, kind="stable").tolist():
        if changed[k] and len(slices) < _SLICES and all(abs(k - other) > _APART for other in slices):
            slices.append(k)
    panels = []
    for k in sorted(slices) or [shape[0] // 2]:
        grey = _grey(1.25 * image[k])
        red = came[found.labels[k]]
        _outline(grey, red, _RED)
        _outline(grey, (found.labels[k] > 0) & ~red, _BLUE)
        panels.append(grey)
    return BrainPicture(
        _beside(panels),
        "Lesions of the later visit that came or grew (red), and places where they shrank or went (blue)",
    )


def _planes(hull: NDArray[np.bool_]) -> list[tuple[int, int]]:
    box = ndimage.find_objects(hull.astype(np.uint8))[0]
    share = (0.58, 0.5, 0.5)
    return [
        (axis, int(s.start + part * (s.stop - s.start)))
        for axis, (s, part) in enumerate(zip(box, share, strict=True))
    ]


def _cut(data: NDArray[np.generic], plane: tuple[int, int]) -> NDArray[np.generic]:
    taken = np.take(data, plane[1], axis=plane[0])
    return np.asarray(taken if plane[0] == 0 else taken[::-1])


def _grey(values: NDArray[np.generic]) -> Bytes:
    scaled = np.clip(values.astype(np.float32) / 1.25, 0, 1) * 255
    return np.repeat(scaled.astype(np.uint8)[..., None], 3, -1)


def _outline(pixels: Bytes, mask: NDArray[np.generic], colour: Sequence[int] | NDArray[np.float64]) -> None:
    inside = mask.astype(bool)
    pixels[inside & ~ndimage.binary_erosion(inside)] = colour


def _beside(panels: list[Bytes]) -> Bytes:
    tall = max(p.shape[0] for p in panels)
    framed = [np.pad(p, ((0, tall - p.shape[0]), (0, 4), (0, 0))) for p in panels]
    return np.ascontiguousarray(np.concatenate(framed, 1)[:, :-4])
