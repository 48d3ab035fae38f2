"""Smooth functions of space kept on a coarse grid: random waves, distances, and the points of a grid.

An anatomy is not a picture: it is such functions and a rule that turns their values at any point into tissue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from hounsfield.applications.brain_mri.shapes import Floats
from hounsfield.core.compiled import compiled

__all__ = ["Grid", "depth_of", "gradient", "waves"]

Doubles = npt.NDArray[np.float64]
_NODES, _WAVES = 80, 13  # of a random field's side


@dataclass(frozen=True)
class Grid:
    """Nodes in the atlas frame: the first one's place, the step, and how many along (z, y, x)."""

    origin_mm: tuple[float, float, float]
    step_mm: float
    shape: tuple[int, int, int]

    @classmethod
    def over(cls, low: tuple[float, float, float], high: tuple[float, float, float], step_mm: float) -> Grid:
        """The grid that covers a box given by two corners (x, y, z)."""
        counts = [int(np.ceil((h - b) / step_mm)) + 1 for b, h in zip(low, high, strict=True)]
        return cls(low, step_mm, (counts[2], counts[1], counts[0]))

    def points(self) -> Floats:
        """All nodes (n, 3) as x, y, z, in the order of a (z, y, x) array."""
        x, y, z = (
            self.origin_mm[n] + self.step_mm * np.arange(self.shape[2 - n], dtype=np.float32)
            for n in range(3)
        )
        out = np.empty((*self.shape, 3), np.float32)
        out[..., 0], out[..., 1], out[..., 2] = x, y[:, None], z[:, None, None]
        return out.reshape(-1, 3)

    def laid(self, values: Floats) -> Floats:
        """Values of all nodes (n,) as (z, y, x)."""
        return values.reshape(self.shape)


def waves(
    rng: np.random.Generator, points: Floats, *, length_mm: float, spread: float = 0.15, fine: bool = False
) -> Floats:
    """A random field of mean 0 and variance 1 whose waves are about `length_mm` long, at points (n, 3).

    `spread` is the deviation of the wave number, in parts of it. The field repeats after some thirteen waves.
    A `fine` one has a smoother slope.

    >>> line = np.zeros((2000, 3), np.float32)
    >>> line[:, 0] = np.arange(2000) / 8
    >>> field = waves(np.random.default_rng(0), line, length_mm=20.0)
    >>> 5 < int((np.diff(np.sign(field)) != 0).sum()) < 50
    True
    """
    count, period_mm = _NODES * (2 if fine else 1), _WAVES * length_mm
    f = fft.fftfreq(count, 1 / count)
    number = np.sqrt(f[:, None, None] ** 2 + f[None, :, None] ** 2 + f[None, None, : count // 2 + 1] ** 2)
    band = np.exp(-0.5 * ((number * length_mm / period_mm - 1) / spread) ** 2)
    noise = rng.standard_normal((count, count, count), dtype=np.float32)
    field = fft.irfftn(fft.rfftn(noise) * band.astype(np.float32), s=noise.shape)
    field /= field.std()
    out = np.empty(len(points), np.float32)
    _periodic(field.astype(np.float32), points, count / period_mm, out)
    return out


@compiled
def _periodic(field, points, scale, out):  # type: ignore[no-untyped-def]
    # Linear between the nodes of a cube that repeats.
    count = field.shape[0]
    for n in range(points.shape[0]):
        u, v, w = points[n, 0] * scale, points[n, 1] * scale, points[n, 2] * scale
        i, j, k = math.floor(u), math.floor(v), math.floor(w)
        a, b, c = u - i, v - j, w - k
        i, j, k = int(i) % count, int(j) % count, int(k) % count
        p, q, r = (i + 1) % count, (j + 1) % count, (k + 1) % count
        low = (field[k, j, i] * (1 - a) + field[k, j, p] * a) * (1 - b)
        low += (field[k, q, i] * (1 - a) + field[k, q, p] * a) * b
        high = (field[r, j, i] * (1 - a) + field[r, j, p] * a) * (1 - b)
        high += (field[r, q, i] * (1 - a) + field[r, q, p] * a) * b
        out[n] = low * (1 - c) + high * c


def depth_of(shape: Floats, step_mm: float) -> Floats:
    """How deep each node of a (z, y, x) array lies in a shape given by its signed values; negative outside.

    Near the surface the shape's own values count, which place it between the nodes; elsewhere the true
    distance does.
    """
    inside = shape < 0
    far = ndimage.distance_transform_edt(inside, sampling=step_mm)
    far -= ndimage.distance_transform_edt(~inside, sampling=step_mm)
    far -= np.sign(far) * 0.5 * step_mm
    far = far.astype(np.float32)
    weight = np.clip(np.abs(far) / step_mm - 0.5, 0, 1).astype(np.float32)
    mixed: Floats = weight * far - (1 - weight) * np.clip(shape, -2 * step_mm, 2 * step_mm)
    return ndimage.gaussian_filter(mixed, 0.6, output=np.float32)  # type: ignore[no-any-return]


def gradient(values: Floats, step_mm: float) -> Floats:
    """The gradient of a (z, y, x) array as (n, 3): along x, y, z."""
    along = np.gradient(values, step_mm)
    return np.stack([along[2].ravel(), along[1].ravel(), along[0].ravel()], -1).astype(np.float32, copy=False)
