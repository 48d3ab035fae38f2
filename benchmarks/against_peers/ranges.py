"""The random change that every library is asked for, and how two checks hold them to it.

Rotation to 20 degrees, shifts to a fifth of the image, zoom .8 to 1.2, shear to 11.31 degrees (a slope of .2,
flat images only), each axis mirrored in half of the images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pictures import ramp
from scipy import ndimage

__all__ = ["ROTATION", "SHEAR", "SHIFT", "ZOOM", "error_against_scipy", "mean_move"]

ROTATION, SHIFT, SHEAR, ZOOM = 20.0, 0.2, 11.31, 0.2

Array = NDArray[Any]


def mean_move(change: Callable[[Array], Array], size: tuple[int, ...], *, draws: int) -> list[float]:
    """How far images are moved along each axis, as a fraction of it: the mean over draws and voxels.

    `change` makes one random change of one image (*size). Ramps tell where each voxel came from; libraries
    that draw from the same ranges agree within the error of the mean.
    """
    moves = []
    for axis in range(len(size)):
        straight = ramp(size, axis)
        moves.append(float(np.mean([np.abs(change(straight) - straight).mean() for _ in range(draws)])))
    return [round(m, 4) for m in moves]


def error_against_scipy(given: Array, got: Array, matrix: Array, *, border: str = "nearest") -> float:
    """Largest difference from `scipy.ndimage.affine_transform`, as a fraction of the image's range.

    `matrix` (d, d + 1) goes from places of the output to places of the input, in voxels from the first. With
    border "constant" voxels that show the outermost half voxel are left out: libraries fade there or stop.
    """
    d = given.ndim
    truth = ndimage.affine_transform(
        given.astype(np.float64), matrix[:, :d], matrix[:, d], order=1, mode=border, cval=0.0
    )
    differences = np.abs(truth - got)
    if border == "constant":
        outputs = np.moveaxis(np.indices(got.shape), 0, -1)
        source = outputs @ matrix[:, :d].T + matrix[:, d]
        ends = np.array(given.shape) - 1
        inside = ((source >= 0) & (source <= ends)).all(-1)
        outside = ((source < -1) | (source > ends + 1)).any(-1)
        differences = differences[inside | outside]
    return float(differences.max() / np.ptp(given))
