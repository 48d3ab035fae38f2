"""Where a camera's pixels lie on the retina.

Retina coordinates are millimetres on the retina with the fovea at the origin, x towards the nose and y
upwards, alike for both eyes; only the picture turns over: in a photograph of a right eye the nose, and with
it the optic disc, is on the right. One degree of the visual field is taken for 0.29 mm (Gullstrand's eye;
Drasdo & Fowler, Br J Ophthalmol 1974;58:709).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["MM_A_DEGREE", "Doubles", "Eye", "Field", "Floats"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Eye = Literal["R", "L"]

MM_A_DEGREE = 0.29


@dataclass(frozen=True)
class Field:
    """The pixels of one photograph: `shape` (H, W), the circle that light reaches, and what it looks at.

    `centre_mm` is the place of the retina in the middle of the circle, `turn` the roll of the eye in radians.

    >>> field = Field((100, 120), radius=45.0, mm_a_pixel=0.1, centre_mm=(2.0, 0.0), turn=0.0, eye="R")
    >>> field.pixels(np.array([[2.0, 0.0], [4.0, 1.0]])).tolist()
    [[59.5, 49.5], [79.5, 39.5]]
    """

    shape: tuple[int, int]
    radius: float
    mm_a_pixel: float
    centre_mm: tuple[float, float]
    turn: float
    eye: Eye

    @property
    def middle(self) -> tuple[float, float]:
        """Row and column of the middle of the circle."""
        return (self.shape[0] - 1) / 2, (self.shape[1] - 1) / 2

    def pixels(self, points_mm: Doubles) -> Doubles:
        """Columns and rows (n, 2) of places on the retina (n, 2)."""
        x, y = points_mm[:, 0] - self.centre_mm[0], points_mm[:, 1] - self.centre_mm[1]
        c, s = math.cos(self.turn), math.sin(self.turn)
        across, up = (c * x - s * y) / self.mm_a_pixel, (s * x + c * y) / self.mm_a_pixel
        row, column = self.middle
        side = 1.0 if self.eye == "R" else -1.0
        return np.column_stack([column + side * across, row - up])

    def places(self) -> tuple[Floats, Floats]:
        """The place on the retina of every pixel: x and y (H, W) in mm."""
        row, column = self.middle
        side = 1.0 if self.eye == "R" else -1.0
        across = (side * (np.arange(self.shape[1]) - column) * self.mm_a_pixel).astype(np.float32)[None]
        up = ((row - np.arange(self.shape[0])) * self.mm_a_pixel).astype(np.float32)[:, None]
        c, s = math.cos(self.turn), math.sin(self.turn)
        x: Floats = (c * across + s * up + self.centre_mm[0]).astype(np.float32)
        y: Floats = (c * up - s * across + self.centre_mm[1]).astype(np.float32)
        return x, y

    def out(self) -> Floats:
        """Distance of every pixel (H, W) from the middle, in parts of the circle's radius."""
        row, column = self.middle
        down = (np.arange(self.shape[0], dtype=np.float32) - row)[:, None]
        over = (np.arange(self.shape[1], dtype=np.float32) - column)[None]
        away: Floats = (np.hypot(down, over) / self.radius).astype(np.float32)
        return away
