"""A chest made of ellipsoids, with blobs for vessels and balls for nodules, whose truth is a closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.volume import Volume

LUNG_HU, STEP_MM = -860.0, 2.5
SHAPE = (88, 96, 128)


@dataclass(frozen=True)
class Ball:
    """A nodule in the chest's own millimetres, its middle at 0; `core_mm` is the diameter of a solid core."""

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    hu: float = 35.0
    core_mm: float = 0.0


def chest(
    balls: Sequence[Ball] = (),
    *,
    person: int = 0,
    noise: int = 0,
    moved: tuple[int, int, int] = (0, 0, 0),
    turned_degrees: float = 0.0,
    lungs: bool = True,
) -> tuple[Volume, NDArray[np.float64]]:
    """The scan in HU and the nodules' centres in its LPS mm.

    `moved` shifts the person on the table by so many voxels (i, j, k), `turned_degrees` turns the table with
    the person; `person` draws the vessels.
    """
    shift = np.array(moved, np.float64) * STEP_MM
    axes = [(np.arange(n) - (n - 1) / 2) * STEP_MM - s for n, s in zip(SHAPE, shift[::-1], strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)

    def part(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(0.5 - distance / STEP_MM, 0.0, 1.0)

    def ellipsoid(at: tuple[float, float, float], half: tuple[float, float, float]) -> NDArray[np.float64]:
        square = sum(((v - c) / h) ** 2 for v, c, h in zip((x, y, z), at, half, strict=True))
        return part((np.sqrt(square) - 1.0) * min(half))

    hu = np.full(SHAPE, -1000.0)
    hu += part((np.sqrt((x / 145) ** 2 + (y / 100) ** 2) - 1.0) * 100 + 0 * z) * 1030.0
    if lungs:
        inner = LUNG_HU + np.roll(_vessels(person), moved[::-1], (0, 1, 2))
        for side in (-1.0, 1.0):
            filled = ellipsoid((side * 65, 0, 0), (50, 75, 95))
            hu += filled * (inner - hu)
        hu += ellipsoid((0, 5, 80), (9, 9, 70)) * (-980.0 - hu)  # the windpipe
    for ball in balls:
        gap = np.sqrt(sum((v - c) ** 2 for v, c in zip((x, y, z), ball.centre_mm, strict=True)))
        for diameter, value in ((ball.diameter_mm, ball.hu), (ball.core_mm, 35.0)):
            hu += part(gap - diameter / 2) * (diameter > 0) * np.maximum(value - hu, 0.0)
    hu = ndimage.gaussian_filter(hu, (0.0, 0.5, 0.5))
    hu += np.random.default_rng(noise).normal(0, 12, SHAPE)
    return _placed(hu, balls, shift, turned_degrees)


def _placed(
    hu: NDArray[np.float64], balls: Sequence[Ball], shift: NDArray[np.float64], degrees: float
) -> tuple[Volume, NDArray[np.float64]]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn * STEP_MM
    affine[:3, 3] = [7.0, -160.0, -200.0] - turn @ ((np.array(SHAPE[::-1]) - 1) / 2 * STEP_MM)
    centres = np.array([b.centre_mm for b in balls]).reshape(-1, 3)
    volume = Volume(np.rint(hu).astype(np.int16)[None], affine, (), True)
    return volume, (centres + shift) @ turn.T + [7.0, -160.0, -200.0]


def _vessels(person: int) -> NDArray[np.float64]:
    rng = np.random.default_rng([person, 9])
    dots = (rng.random(SHAPE) < 0.004).astype(np.float64)
    return np.minimum(ndimage.gaussian_filter(dots, 1.0, mode="wrap") * 2000.0, 150.0)
