"""A head on an upright grid of cubes: axes along the patient's, whatever plane the scanner cut.

All that is found in one visit (field, brain, tissues) is found here; what is compared between visits is
resampled once from the scanner's own voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.steps.brain.sampling import Shape, between, cubic, inside_of, spline_of

__all__ = ["Upright", "upright"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
_TALL_MM = 190.0  # from the top of the head down: what lies lower is neck
_MOST_MM = 260.0


@dataclass(frozen=True)
class Upright:
    """A head (K, J, I) with i to the left, j to the back and k to the top; `seen` marks the field of view."""

    data: Floats
    affine: Doubles
    seen: NDArray[np.bool_]

    @property
    def step_mm(self) -> float:
        return float(self.affine[0, 0])

    def places(self, voxels: NDArray[Any]) -> Doubles:
        """Voxels (n, 3) as (k, j, i) in LPS mm (n, 3)."""
        found: Doubles = voxels[:, ::-1] @ self.affine[:3, :3].T + self.affine[:3, 3]
        return found


def upright(image: NDArray[Any], affine: Doubles, *, step_mm: float = 1.0) -> Upright:
    """The head of an image (K, J, I) on cubes of `step_mm`, without the neck and the empty air.

    >>> ball = np.zeros((20, 20, 20), np.float32)
    >>> ball[5:15, 5:15, 5:15] = 100
    >>> upright(ball, np.diag([10.0, 10, 10, 1]), step_mm=10.0).data.shape
    (12, 12, 12)
    """
    low, high = _box(image, affine)
    shape: Shape = tuple(int(n) for n in np.ceil((high - low) / step_mm)[::-1])  # type: ignore[assignment]
    grid = np.diag([step_mm, step_mm, step_mm, 1.0])
    grid[:3, 3] = low + 0.5 * step_mm
    matrix = between(grid, affine)
    data = cubic(spline_of(image), matrix, shape)
    np.maximum(data, 0.0, out=data)
    return Upright(data, grid, inside_of(image.shape, matrix, shape))


def head_threshold(image: NDArray[Any]) -> float:
    """What separates a head from air: a tenth of the way from the 2nd to the 98th percentile (Smith 2002)."""
    few = image[::2, ::2, ::2] if min(image.shape) > 64 else image
    low, high = np.percentile(few, (2, 98))
    return float(low + 0.1 * (high - low))


def _box(image: NDArray[Any], affine: Doubles) -> tuple[Doubles, Doubles]:
    # The head's extent in mm: robust to specks of noise, as a row must have a hundredth of its voxels filled.
    step = np.maximum(np.round(3.0 / np.linalg.norm(affine[:3, :3], axis=0)).astype(int), 1)[::-1]
    few = image[:: step[0], :: step[1], :: step[2]]
    from scipy.ndimage import median_filter

    filled = np.argwhere(median_filter(np.asarray(few, np.float32), 3) > head_threshold(image)) * step
    if len(filled) < 50:
        filled = np.argwhere(np.ones(few.shape, bool)) * step
    places = filled[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]
    low, high = np.percentile(places, 0.05, axis=0) - 12.0, np.percentile(places, 99.95, axis=0) + 12.0
    low[2] = max(low[2], high[2] - 12.0 - _TALL_MM)
    middle = 0.5 * (low + high)
    low, high = np.maximum(low, middle - _MOST_MM / 2), np.minimum(high, middle + _MOST_MM / 2)
    corners = np.array([[i, j, k] for i in (-0.5, image.shape[2] - 0.5) for j in (-0.5, image.shape[1] - 0.5)
                        for k in (-0.5, image.shape[0] - 0.5)])  # fmt: skip
    ends = corners @ affine[:3, :3].T + affine[:3, 3]
    return np.maximum(low, ends.min(0)), np.minimum(high, ends.max(0))
