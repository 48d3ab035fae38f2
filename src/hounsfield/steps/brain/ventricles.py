"""The ventricles among the brain's CSF: what lies deep, hangs together and is no cleft between folds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["find_ventricles"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
_SEED_DEPTH_MM, _LEAST_DEPTH_MM = 26.0, 15.0
_MIDDLE, _WIDEST = 0.36, 0.60  # of half the brain's width, from the midline
_REACH_MM, _CLEFT_MM = 50.0, 1.2
_FISSURE, _LOWEST_SEED, _FORE, _AFT = 0.05, 0.45, 0.22, 0.62


def find_ventricles(csf: Floats, hull: Bools, step_mm: float) -> Bools:
    """The ventricles (K, J, I) of an upright brain, from the part of CSF in each voxel.

    >>> hull, csf = np.zeros((90, 120, 90), bool), np.zeros((90, 120, 90), np.float32)
    >>> hull[5:85, 5:115, 5:85] = True
    >>> csf[40:52, 45:75, 36:42] = 1.0
    >>> int(find_ventricles(csf, hull, 1.0).sum())
    2160
    """
    box = ndimage.find_objects(hull.astype(np.uint8))[0]
    inner = hull[box]
    depth = ndimage.distance_transform_edt(np.pad(inner, 1), step_mm)[1:-1, 1:-1, 1:-1]
    width, height = inner.shape[2], inner.shape[0]
    aside = np.abs((np.arange(width) + 0.5) / width * 2 - 1)[None, None, :]
    upper = ((np.arange(height) + 0.5) / height > _LOWEST_SEED)[:, None, None]
    along = ((np.arange(inner.shape[1]) + 0.5) / inner.shape[1])[None, :, None]
    upper = upper & (along > _FORE) & (along < _AFT)
    water = csf[box] > 0.5
    seed = water & (depth > _SEED_DEPTH_MM) & (aside > _FISSURE) & (aside < _MIDDLE) & upper
    seed = ndimage.binary_opening(seed, iterations=max(1, round(1.0 / step_mm)))
    out = np.zeros_like(hull)
    if not seed.any():
        return out
    labels, _ = ndimage.label(seed)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    seed = np.isin(labels, np.flatnonzero(sizes > 0.12 * sizes.max()))
    room = water & (depth > _LEAST_DEPTH_MM) & (aside < _WIDEST)
    # Clefts of one voxel are sulci and cisterns: what is grown through has a voxel of water on either side.
    deep = ndimage.distance_transform_edt(np.pad(room, 1), step_mm)[1:-1, 1:-1, 1:-1] > _CLEFT_MM
    wide = (ndimage.distance_transform_edt(~deep, step_mm) <= _CLEFT_MM + 0.2) & room
    body = ndimage.binary_dilation(seed, iterations=round(_REACH_MM / step_mm), mask=wide | seed)
    out[box] = ndimage.binary_dilation(body, iterations=2, mask=room | body)
    return out
