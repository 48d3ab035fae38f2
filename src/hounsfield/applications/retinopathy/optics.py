"""What a lens adds to a photograph: light from the iris at the rim, specks of dust, the camera's tab."""

from __future__ import annotations

import math

import numpy as np

from hounsfield.applications.retinopathy.cameras import Camera
from hounsfield.applications.retinopathy.field import Field, Floats

__all__ = ["dust", "glow", "notch"]


def glow(colours: Floats, camera: Camera, field: Field, rng: np.random.Generator) -> None:
    """Grey or orange light at the rim, where the iris reflects the flash."""
    angle = rng.uniform(0, 2 * math.pi)
    row, column = field.middle
    down = (np.arange(field.shape[0], dtype=np.float32) - row)[:, None] / field.radius
    over = (np.arange(field.shape[1], dtype=np.float32) - column)[None] / field.radius
    side = over * math.cos(angle) + down * math.sin(angle)
    strength = np.clip((side - 0.52) / 0.48, 0, 1) ** 2 * camera.rim_glow * abs(rng.normal(0, 0.7))
    colour = (0.62, 0.62, 0.45) if rng.random() < 0.6 else (1.0, 0.60, 0.30)
    ring = np.clip((np.hypot(over, down) - 0.955) / 0.045, 0, 1) ** 2 * 0.25 * rng.random()
    for channel in range(3):
        amount = np.clip(strength * 0.6 + ring, 0, 0.9)
        colours[channel] += amount * (colour[channel] * 0.75 - colours[channel])


def dust(image: Floats, camera: Camera, field: Field, rng: np.random.Generator) -> None:
    """Specks on the lens, out of focus: soft grey rounds, each a few pixels wide."""
    for _ in range(int(rng.poisson(camera.dust))):
        row, column = rng.uniform(0.1, 0.9, 2) * field.shape
        size = rng.uniform(2.0, 6.0)
        rows = slice(max(0, int(row - 3 * size)), int(row + 3 * size) + 1)
        columns = slice(max(0, int(column - 3 * size)), int(column + 3 * size) + 1)
        down = (np.arange(*rows.indices(field.shape[0])) - row)[:, None]
        over = (np.arange(*columns.indices(field.shape[1])) - column)[None]
        soft = (rng.uniform(0.05, 0.22) * np.exp(-((np.hypot(down, over) / size) ** 4)))[..., None]
        image[rows, columns] *= (1 - soft).astype(np.float32)


def notch(image: Floats, field: Field) -> None:
    """The tab at the circle's upper right that tells which way the picture lies."""
    row, column = field.middle
    angle = math.radians(42)
    y, x = row - math.sin(angle) * field.radius, column + math.cos(angle) * field.radius
    down = (np.arange(field.shape[0], dtype=np.float32) - y)[:, None]
    over = (np.arange(field.shape[1], dtype=np.float32) - x)[None]
    tab = np.clip(0.036 * field.radius - np.hypot(down, over), 0, 1) * (field.out() > 0.995)
    colour = np.median(image[int(y) + 24 : int(y) + 40, int(x) - 40 : int(x) - 24].reshape(-1, 3), 0)
    image += tab[..., None] * (colour * 0.8 - image)
