"""The surroundings of a point of a CT on a fine cubic grid, with how deep each place lies in the lungs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.volume import Volume
from hounsfield.steps.nodules.lungs import Lungs

__all__ = ["Patch", "patch_at"]

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
_LEAST_STEP_MM, _MOST_STEP_MM = 0.5, 1.0


@dataclass(frozen=True)
class Patch:
    """Hounsfield units (N, N, N) along the image's own axes (k, j, i), in steps of `step_mm`.

    `affine` maps (i, j, k) of the patch to LPS mm; `voxel_mm` is the image's own spacing along (k, j, i).
    `measured_hu` (n,) are the image's own voxels in the cube and `measured_at` (3, n) their places (k, j, i)
    in it.
    """

    hu: Floats
    depth_mm: Floats
    step_mm: float
    voxel_mm: Doubles
    affine: Doubles
    measured_hu: Floats
    measured_at: Doubles

    @property
    def radius_mm(self) -> Floats:
        """Distance (N, N, N) to the middle."""
        side = (np.arange(self.hu.shape[0]) - self.hu.shape[0] // 2) * self.step_mm
        square = side**2
        radius: Floats = np.sqrt(square[:, None, None] + square[:, None] + square).astype(np.float32)
        return radius

    def place_of(self, kji: Doubles) -> Doubles:
        """A place (k, j, i) of the patch in LPS mm."""
        place: Doubles = self.affine[:3, :3] @ kji[::-1] + self.affine[:3, 3]
        return place


def patch_at(volume: Volume, centre_mm: Doubles, lungs: Lungs, *, half_mm: float) -> Patch:
    """The cube of `half_mm` to each side of a point in LPS mm, by cubic splines; the edge goes on outside."""
    voxel = np.array(volume.spacing_mm)
    step = float(np.clip(0.5 * np.cbrt(np.prod(voxel)), _LEAST_STEP_MM, _MOST_STEP_MM))
    reach = int(np.ceil(half_mm / step))
    directions = volume.affine[:3, :3] / voxel[::-1]
    middle = np.linalg.solve(volume.affine[:3, :3], centre_mm - volume.affine[:3, 3])[::-1]
    low = np.maximum(np.floor(middle - half_mm / voxel).astype(int) - 6, 0)
    high = np.minimum(np.ceil(middle + half_mm / voxel).astype(int) + 7, volume.data.shape[1:])
    block = volume.data[0][tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    side = np.arange(-reach, reach + 1) * step
    axes = [middle[n] + side / voxel[n] - low[n] for n in range(3)]
    where = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    hu = ndimage.map_coordinates(block, where, order=3, mode="nearest", output=np.float32)
    affine = np.eye(4)
    affine[:3, :3] = directions * step
    affine[:3, 3] = centre_mm - directions @ np.full(3, reach * step)
    ijk = np.stack(np.meshgrid(*(np.arange(len(side)),) * 3, indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
    depth = lungs.depth_at(ijk @ affine[:3, :3].T + affine[:3, 3]).reshape(hu.shape)
    own = [
        (np.arange(n) + a - m) * v / step + reach
        for n, a, m, v in zip(block.shape, low, middle, voxel, strict=True)
    ]
    at = np.stack(np.meshgrid(*own, indexing="ij")).reshape(3, -1)
    held = ((at >= 0) & (at <= 2 * reach)).all(0)
    return Patch(hu, depth.astype(np.float32), step, voxel, affine, block.ravel()[held], at[:, held])
