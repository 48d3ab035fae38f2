"""The largest diameter of a lesion within one slice, as RECIST 1.1 measures it (Eisenhauer et al., 2009).

A mask is measured between the middles of the outer edges of its pixels, so that a row of n pixels is n pixels
long; a box by its longer side in the plane, which is the diameter of the largest lesion of round shape in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.detection_objects import Boxes
from hounsfield.metrics.patients import FloatArray

__all__ = ["Diameter", "box_diameters_mm", "mask_diameter"]


@dataclass(frozen=True, slots=True)
class Diameter:
    """The longest diameter in mm, the largest across it at a right angle, and the slice k it lies in."""

    long_mm: float
    short_mm: float
    slice: int


def mask_diameter(mask: npt.ArrayLike, *, spacing_mm: Sequence[float]) -> Diameter:
    """The largest diameter within a slice of one lesion's mask (K, J, I) or (J, I), of zeros and ones.

    `spacing_mm` has the order of the axes. Raises BadInput for an empty mask, which has no diameter.

    >>> mask = np.zeros((3, 20, 20), bool)
    >>> mask[1, 5, 4:16] = True
    >>> mask_diameter(mask, spacing_mm=(5.0, 0.5, 0.5))
    Diameter(long_mm=6.0, short_mm=0.5, slice=1)
    """
    marked = np.asarray(mask)
    if marked.ndim not in (2, 3) or len(spacing_mm) != marked.ndim or min(spacing_mm) <= 0:
        raise BadInput(
            f"the mask has the shape {marked.shape} and the spacing {tuple(spacing_mm)}; "
            "expected 2 or 3 axes, each with a length above 0 mm."
        )
    if marked.size and (marked.min() < 0 or marked.max() > 1):
        raise BadInput(
            f"the mask runs from {marked.min()} to {marked.max()}; expected zeros and ones. "
            "Measure one structure at a time: labels == 2."
        )
    volume = (marked > 0).reshape(-1, *marked.shape[-2:])
    slices = np.flatnonzero(volume.any(axis=(1, 2)))
    if not len(slices):
        raise BadInput("the mask is empty; expected at least one voxel, for nothing has no diameter.")
    plane = np.asarray(spacing_mm[-2:], np.float64)
    return max((_in_slice(volume[k], plane, int(k)) for k in slices), key=lambda one: one.long_mm)


def box_diameters_mm(boxes: Boxes, *, spacing_mm: Sequence[float]) -> FloatArray:
    """The longer in-plane side (N,) of boxes in voxels, whose last two axes are the rows and columns.

    >>> box_diameters_mm(Boxes.of([[0, 2, 3, 4, 12, 9]], image=[0]), spacing_mm=(5.0, 0.5, 1.0)).tolist()
    [6.0]
    """
    axes = boxes.corners.shape[1] // 2
    if len(spacing_mm) != axes or min(spacing_mm) <= 0:
        raise BadInput(
            f"the spacing is {tuple(spacing_mm)} for boxes of {axes} axes; "
            "expected a length above 0 mm for each."
        )
    sides = (boxes.corners[:, axes:] - boxes.corners[:, :axes]) * np.asarray(spacing_mm, np.float64)
    return np.asarray(sides[:, -2:].max(axis=1))


def _in_slice(marked: npt.NDArray[np.bool_], plane: FloatArray, k: int) -> Diameter:
    points = _rim(marked) * plane
    across = points[:, None] - points[None]
    squared = (across**2).sum(axis=2)
    at = np.unravel_index(int(squared.argmax()), squared.shape)
    long_mm = float(np.sqrt(squared[at]))
    direction = across[at] / long_mm
    aside = points @ np.array([-direction[1], direction[0]])
    return Diameter(round(long_mm, 9), round(float(np.ptp(aside)), 9), k)


def _rim(marked: npt.NDArray[np.bool_]) -> FloatArray:
    """The middles of edges (P, 2) of the first and last pixel of each row and each column."""
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    wide, high = marked.shape[1], marked.shape[0]
    left = marked[rows].argmax(axis=1)
    right = wide - 1 - marked[rows, ::-1].argmax(axis=1)
    top = marked[:, columns].argmax(axis=0)
    bottom = high - 1 - marked[::-1, columns].argmax(axis=0)
    ends = [
        np.column_stack([rows, left - 0.5]),
        np.column_stack([rows, right + 0.5]),
        np.column_stack([top - 0.5, columns]),
        np.column_stack([bottom + 0.5, columns]),
    ]
    return np.concatenate(ends)
