"""Loss of tissue as a smooth deformation: ventricles widen, hippocampi shrink, the cortex recedes.

The displacement is the flow of a steady velocity, so that no two points meet (Arsigny et al., MICCAI 2006):
outwards from the ventricles and inwards to the hippocampi, fading within millimetres and ending before the
skull. On top of it the folded surface recedes along its own normal, less so the deeper a point lies: sulci
open and the cortex thins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hounsfield.applications.brain_mri.brain import BOX, Brain
from hounsfield.applications.brain_mri.fields import Grid, gradient
from hounsfield.applications.brain_mri.shapes import Floats
from hounsfield.applications.brain_mri.structures import cavity

__all__ = ["MOVES", "Course", "Loss", "loss_after", "moved"]

MOVES = Grid(BOX.origin_mm, 2 * BOX.step_mm, tuple((n + 1) // 2 for n in BOX.shape))  # type: ignore[arg-type]
_STEPS = 6  # of the flow
# How much goes with a millimetre, measured on the phantom: part of the brain with recession and with
# widening, part of a hippocampus with shrinking.
_BRAIN_BY_CORTEX, _BRAIN_BY_VENTRICLE, _HIPPOCAMPUS_BY_SHRINKING = 0.248, 0.006, 0.25


@dataclass(frozen=True)
class Course:
    """What a person loses a year, as a fraction: of the brain, and of the hippocampi left and right.

    `ventricle_share` is the part of the brain's loss that the ventricles take.
    """

    brain: float
    hippocampus: tuple[float, float]
    ventricle_share: float


@dataclass(frozen=True)
class Loss:
    """What is lost since the first visit, in millimetres: recession, widening, shrinking (left, right)."""

    cortex_mm: float = 0.0
    ventricle_mm: float = 0.0
    hippocampus_mm: tuple[float, float] = (0.0, 0.0)


def loss_after(course: Course, years: float) -> Loss:
    """About what a course takes in so many years; what it took in truth is measured on the anatomy.

    >>> loss_after(Course(0.01, (0.03, 0.03), 0.3), 0.0) == Loss()
    True
    """
    brain = course.brain * years
    left, right = (part * years / _HIPPOCAMPUS_BY_SHRINKING for part in course.hippocampus)
    return Loss(
        cortex_mm=brain * (1 - course.ventricle_share) / _BRAIN_BY_CORTEX,
        ventricle_mm=brain * course.ventricle_share / _BRAIN_BY_VENTRICLE,
        hippocampus_mm=(left, right),
    )


def moved(brain: Brain, loss: Loss) -> Floats:
    """From each node of `MOVES` to where it lay at the first visit: (z, y, x, 3) in mm."""
    velocity = _velocity(brain, loss)
    points = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float64) for n in MOVES.shape), indexing="ij"))
    start = points.copy()
    per_step = 1.0 / (_STEPS * MOVES.step_mm)
    for _ in range(_STEPS):
        half = points + 0.5 * per_step * _at(velocity, points)
        points = points + per_step * _at(velocity, half)
    shift = (points - start) * MOVES.step_mm
    return np.ascontiguousarray(np.stack([shift[2], shift[1], shift[0]], -1), np.float32)


def _at(velocity: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.stack([ndimage.map_coordinates(v, points, order=1, mode="nearest") for v in velocity])


def _velocity(brain: Brain, loss: Loss) -> npt.NDArray[np.float64]:
    # Backwards in time: from where a point lies now to where it lay. Along z, y, x, on MOVES.
    every = brain.fields[::2, ::2, ::2]
    side = np.minimum(every[..., 10], every[..., 11] + 1.5)
    medial = np.minimum(every[..., 16], every[..., 17])
    apart = 1.0 - np.exp(
        -((np.maximum(medial, 0.0) / 9.0) ** 2)
    )  # the temporal horn opens as its wall shrinks
    out = -loss.ventricle_mm * apart[..., None] * _along(side, reach_mm=12.0)
    p = MOVES.points()
    left = 1.0 / (1.0 + np.exp(-MOVES.laid(p[:, 0]) / 3.0))
    shrink = loss.hippocampus_mm[0] * left + loss.hippocampus_mm[1] * (1 - left)
    out += shrink[..., None] * _along(medial, reach_mm=6.0)
    depth = -MOVES.laid(cavity(p))
    out *= np.clip((depth - 2.0) / 10.0, 0, 1)[..., None] ** 2
    return np.moveaxis(out[..., ::-1], -1, 0).astype(np.float64)


def _along(distance: Floats, *, reach_mm: float) -> Floats:
    # Unit steps away from a shape's surface, fading with the distance from it on either side.
    smooth = ndimage.gaussian_filter(distance, 0.7)
    away = gradient(smooth, MOVES.step_mm).reshape(*distance.shape, 3)
    fade = np.exp(-((np.maximum(smooth, 0) / reach_mm) ** 2) - (np.minimum(smooth, 0) / reach_mm) ** 2)
    return (away * fade[..., None]).astype(np.float32)
