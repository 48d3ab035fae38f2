"""How large one finding of a mask is: its volume, and the greatest distance across it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from hounsfield.core.errors import BadInput

__all__ = ["FindingSize", "finding_size"]

_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class FindingSize:
    """Volume as the sum of the voxels, and the longest straight line within the surface in any direction."""

    volume_mm3: float
    longest_diameter_mm: float


def finding_size(inside: NDArray[np.bool_], affine: NDArray[np.float64]) -> FindingSize:
    """The size of the voxels (K, J, I) that are inside, placed by an affine from (i, j, k) to mm.

    The surface is that of marching cubes halfway between the voxels, so its corners are the middles of the
    outer faces of voxels; the diameter is the greatest distance of two of them, in three dimensions, which
    is not RECIST's longest diameter within a slice. One voxel measures its longest side. Raises BadInput
    where nothing is inside. Source: IBSI, features YEKZ and L0JK.

    >>> finding_size(np.ones((1, 1, 4), bool), np.diag([0.5, 0.5, 1.0, 1.0]))
    FindingSize(volume_mm3=1.0, longest_diameter_mm=2.0)
    """
    found = np.argwhere(inside)
    if not len(found):
        raise BadInput("the size of a finding without a voxel was asked for; leave it out")
    first, last = found.min(axis=0), found.max(axis=0) + 1
    cut = np.pad(np.asarray(inside, bool)[tuple(map(slice, first, last))], 1)
    points = (_face_centres(cut) + first)[:, ::-1] @ np.asarray(affine, np.float64)[:3, :3].T
    voxel_mm3 = abs(float(np.linalg.det(affine[:3, :3])))
    return FindingSize(len(found) * voxel_mm3, _farthest(points[ConvexHull(points).vertices]))


def _face_centres(cut: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, 3) places (k, j, i) between a voxel inside and its neighbour outside; `cut` is padded by 1."""
    centres = []
    for axis in range(3):
        step = np.diff(cut.astype(np.int8), axis=axis) != 0
        places = np.argwhere(step).astype(np.float64)
        places[:, axis] += 0.5
        centres.append(places - 1)
    return np.concatenate(centres)


def _farthest(points: NDArray[np.float64]) -> float:
    return max(
        float(cdist(points[start : start + _AT_ONCE], points).max())
        for start in range(0, len(points), _AT_ONCE)
    )
