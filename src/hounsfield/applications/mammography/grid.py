"""The pixels of a detector, and the two things drawn on them: power-law noise and fine threads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from hounsfield.applications.mammography.anatomy import Floats

__all__ = ["Grid", "draw_strands", "enlarge", "power_law"]

Real = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Grid:
    """The pixels of a detector, chest wall at column 0: `x_mm` (W,) and `v_mm` (H,), v upwards.

    >>> Grid(rows=480, columns=384, spacing_mm=0.4).v_mm[[0, -1]].astype(int).tolist()
    [95, -95]
    """

    rows: int
    columns: int
    spacing_mm: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def x_mm(self) -> Floats:
        """Distance of each column's centre from the chest wall."""
        return ((np.arange(self.columns) + 0.5) * self.spacing_mm).astype(np.float32)

    @property
    def v_mm(self) -> Floats:
        """Height of each row's centre over the middle of the detector."""
        return (((self.rows - 1) / 2 - np.arange(self.rows)) * self.spacing_mm).astype(np.float32)

    def pixel(self, x_mm: Real, v_mm: Real) -> tuple[Floats, Floats]:
        """Fractional row and column of points given in millimetres."""
        row = (self.rows - 1) / 2 - v_mm / self.spacing_mm
        return row.astype(np.float32), (x_mm / self.spacing_mm - 0.5).astype(np.float32)


def enlarge(coarse: Floats, shape: tuple[int, ...], factor: float) -> Floats:
    """Linear interpolation to `shape`, where sample (i, j) lies at (i, j) / factor.

    >>> enlarge(np.array([[0.0, 2.0], [0.0, 2.0]], np.float32), (2, 3), 2)[0].tolist()
    [0.0, 1.0, 2.0]
    """
    out = coarse
    for axis in (0, 1):
        at = np.minimum(np.arange(shape[axis]) / factor, out.shape[axis] - 1)
        low = np.minimum(at.astype(np.intp), out.shape[axis] - 2)
        weight = np.expand_dims((at - low).astype(np.float32), 1 - axis)
        out = out.take(low, axis) * (1 - weight) + out.take(low + 1, axis) * weight
    return out


def power_law(rng: np.random.Generator, shape: tuple[int, ...], *, beta: float = 3.0) -> Floats:
    """A random field of mean 0 and deviation 1 whose power falls as 1 / f**beta.

    >>> power_law(np.random.default_rng(0), (32, 32)).shape
    (32, 32)
    """
    gain = _gain(shape, beta)
    spectrum = rng.standard_normal((2, *gain.shape), dtype=np.float32)
    field: Floats = fft.irfftn((spectrum[0] + 1j * spectrum[1]) * gain, s=shape)
    result: Floats = (field / field.std()).astype(np.float32)
    return result


@cache
def _gain(shape: tuple[int, ...], beta: float) -> Floats:
    axes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    squared = np.zeros((1,) * len(shape))
    for axis, frequency in enumerate(axes):
        other = [i for i in range(len(shape)) if i != axis]
        squared = squared + np.expand_dims(frequency**2, other)
    floor = (1.5 / max(shape)) ** 2  # no energy piles up in the lowest frequencies
    gain = np.maximum(squared, floor) ** (-beta / 4)
    gain[(0,) * len(shape)] = 0.0
    return gain.astype(np.float32)


def draw_strands(grid: Grid, x_mm: Real, v_mm: Real, volume_mm3: Real, *, width_mm: float) -> Floats:
    """Tissue (H, W), in millimetres along the beam, of points spread to threads of one width."""
    row, column = grid.pixel(x_mm, v_mm)
    r, c = np.rint(row).astype(np.intp).ravel(), np.rint(column).astype(np.intp).ravel()
    inside = (r >= 0) & (r < grid.rows) & (c >= 0) & (c < grid.columns)
    flat = np.bincount(
        r[inside] * grid.columns + c[inside],
        weights=volume_mm3.ravel()[inside],
        minlength=grid.rows * grid.columns,
    )
    image = flat.reshape(grid.shape).astype(np.float32) / np.float32(grid.spacing_mm**2)
    out: Floats = ndimage.gaussian_filter(image, width_mm / grid.spacing_mm, truncate=3.0)
    return out
