"""Lay one plane over another by scale and shift along each axis, and say how well they agree.

Gauss-Newton on band-passed planes, 32×32 first; those that come near are laid over each other at 64×64 (Lucas
& Kanade, IJCAI 1981). A scale and a shift an axis is what cropping and rescaling do to an image that is seen
as a square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.steps.same_picture.looks import SIDE
from hounsfield.steps.same_picture.structure import Common, band, blurred, correlation, telling

__all__ = ["Reduced", "laid_over", "near", "reduced", "seen_alike"]

Planes = NDArray[np.float32]
Place = NDArray[np.float32]
"""Scale and shift along j, scale and shift along i, in pixels of the grid about its middle: (M, 4)."""

CHUNK = 128
SCALES = (0.75, 1.34)
LEAST_OVERLAP = 0.55
LEAST_SHOWN = 0.3
BAND_STEPS, STRUCTURE_STEPS = 4, 4


@dataclass(frozen=True, eq=False)
class Reduced:
    """Structure of planes at half their size, softer and finer: (M, SIDE / 2, SIDE / 2) each."""

    soft: Planes
    fine: Planes


def reduced(planes: Planes) -> Reduced:
    """Of planes (M, SIDE, SIDE) what the first registration looks at."""
    n, j, i = planes.shape
    fine = band(planes.reshape(n, j // 2, 2, i // 2, 2).mean((2, 4)), fine=1.2, coarse=5.0, around=5.0)
    return Reduced(blurred(fine, 2.0), fine)


def near(a: Reduced, b: Reduced, *, scale: NDArray[np.float32]) -> tuple[NDArray[np.float32], Place]:
    """How well b agrees with a when laid over it at half size, from a first `scale` (M,), and where it lies.

    The agreement (M,) is negative where b is the negative of a.
    """
    scores, places = [], []
    for start in range(0, len(a.fine), CHUNK):
        rows = slice(start, start + CHUNK)
        soft, fine = (a.soft[rows], b.soft[rows]), (a.fine[rows], b.fine[rows])
        zero = np.zeros(len(soft[0]), np.float32)
        place = np.stack([scale[rows], zero, scale[rows], zero], 1).astype(np.float32)
        laid, mask = laid_over(soft[1], place)
        sign = np.where(correlation(soft[0], laid, mask) < 0, -1, 1).astype(np.float32)
        place = _stepped(soft[0], soft[1] * sign[:, None, None], place, 5)
        place = _stepped(fine[0], fine[1] * sign[:, None, None], place, 3)
        laid, mask = laid_over(fine[1], place)
        scores.append(np.where(mask.mean((1, 2)) < LEAST_OVERLAP, 0, correlation(fine[0], laid, mask)))
        place[:, [1, 3]] *= SIDE / fine[0].shape[1]
        places.append(place)
    return np.concatenate(scores), np.concatenate(places)


def seen_alike(
    a: Planes,
    b: Planes,
    structure: tuple[Planes, Planes],
    place: Place,
    common: Common,
    *,
    sign: NDArray[np.float32],
) -> tuple[NDArray[np.float32], Place]:
    """The agreement of planes (M, SIDE, SIDE) laid over each other, from where they nearly lie, and where
    they do.

    `structure` is what the planes show without what is common; `sign` (M,) is -1 where b is a negative.

    It is measured in the frame of the plane that shows more, where both show something: the one that was
    cropped is laid into the other, so that no edge of the crop is taken for structure.
    """
    signs = sign[:, None, None]
    place = _stepped(band(a, fine=1.2), band(b, fine=1.2) * signs, place, BAND_STEPS)
    nearer = _stepped(structure[0], structure[1] * signs, place, STRUCTURE_STEPS)
    score, best = _overlapping(a, b, place, common), _overlapping(a, b, nearer, common)
    better = np.abs(best) >= np.abs(score)
    return np.where(better, best, score), np.where(better[:, None], nearer, place)


def _overlapping(a: Planes, b: Planes, place: Place, common: Common) -> NDArray[np.float32]:
    """The agreement where both show something, in the frame of the plane that shows more."""
    wider = place[:, 0] * place[:, 2] < 1  # a spans less of b: b is the original
    within = np.where(wider[:, None], _inverse(place), place)
    whole, part = (np.where(wider[:, None, None], x, y) for x, y in ((b, a), (a, b)))
    laid, mask = laid_over(part, within)
    count = mask.sum((1, 2)) + 1e-6
    means = [((p * mask).sum((1, 2)) / count)[:, None, None] for p in (whole, laid)]
    rest = [(p - m) * mask for p, m in zip((whole, laid), means, strict=True)]
    gain = (rest[0] * rest[1]).sum((1, 2)) / ((rest[1] ** 2).sum((1, 2)) + 1e-6)
    filled = mask * (gain[:, None, None] * (laid - means[1]) + means[0]) + (1 - mask) * whole
    inner = _eroded(mask) * telling(whole) * telling(laid)
    score = correlation(common.without(whole), common.without(filled.astype(np.float32)), inner)
    known = (mask.mean((1, 2)) > LEAST_OVERLAP) & (inner.mean((1, 2)) > LEAST_SHOWN) & (gain != 0)
    return np.asarray(np.where(known, score * np.sign(gain), 0), np.float32)


def _stepped(a: Planes, b: Planes, place: Place, steps: int) -> Place:
    """Gauss-Newton steps that lay b over a, each no further than a fortieth of the plane."""
    side = a.shape[1]
    centre = (np.arange(side) - (side - 1) / 2).astype(np.float32)
    maps = np.stack([b, *(np.gradient(b, axis=axis) for axis in (1, 2))], 1).astype(np.float32)
    limit = np.array([0.04, side / 40, 0.04, side / 40], np.float32)
    for _ in range(steps):
        rows, columns, mask = _maps(place, side)
        seen, along_j, along_i = np.moveaxis(rows[:, None] @ maps @ columns[:, None], 1, 0)
        inside = a * mask
        gain = (inside * seen).sum((1, 2)) / ((seen * seen).sum((1, 2)) + 1e-6)
        rest = (inside - gain[:, None, None] * seen).reshape(len(a), -1)
        parts = (along_j * centre[:, None], along_j, along_i * centre, along_i)
        jacobian = np.stack([p.reshape(len(a), -1) for p in parts], 1) * gain[:, None, None]
        normal = jacobian @ jacobian.transpose(0, 2, 1)
        damping = 1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 4 + 1e-9
        step = np.linalg.solve(normal + damping * np.eye(4, dtype=np.float32), jacobian @ rest[:, :, None])
        place = place + np.clip(step[:, :, 0], -limit, limit)
        place[:, [0, 2]] = np.clip(place[:, [0, 2]], *SCALES)
    return place


def _maps(place: Place, side: int) -> tuple[Planes, Planes, Planes]:
    """Matrices that interpolate along j and i, nought outside, and a mask of what lies inside."""
    rows, in_j = _axis(place[:, 0], place[:, 1], side)
    columns, in_i = _axis(place[:, 2], place[:, 3], side)
    return rows, np.ascontiguousarray(columns.transpose(0, 2, 1)), in_j[:, :, None] * in_i[:, None, :]


def _axis(scale: NDArray[np.float32], shift: NDArray[np.float32], side: int) -> tuple[Planes, Planes]:
    middle = np.float32((side - 1) / 2)
    along = np.arange(side, dtype=np.float32)
    at = scale[:, None] * (along - middle) + shift[:, None] + middle
    inside = np.asarray((at >= 0) & (at <= side - 1), np.float32)
    weights = np.maximum(0, 1 - np.abs(at[:, :, None] - along)) * inside[:, :, None]
    return np.asarray(weights, np.float32), inside


def laid_over(planes: Planes, place: Place) -> tuple[Planes, Planes]:
    """Planes (M, J, I) as they lie over others, and a mask of where they do."""
    rows, columns, mask = _maps(place, planes.shape[1])
    return np.asarray(rows @ planes @ columns, np.float32), mask


def _inverse(place: Place) -> Place:
    scale, shift = place[:, [0, 2]], place[:, [1, 3]]
    return np.stack(
        [1 / scale[:, 0], -shift[:, 0] / scale[:, 0], 1 / scale[:, 1], -shift[:, 1] / scale[:, 1]], 1
    )


def _eroded(masks: NDArray[Any]) -> Planes:
    import cv2

    edge = cv2.BORDER_CONSTANT
    return np.stack(
        [
            cv2.erode(m.astype(np.float32), np.ones((7, 7), np.uint8), borderType=edge, borderValue=1)
            for m in masks
        ]
    )
