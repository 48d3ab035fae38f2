"""What segmentation metrics accept: two masks of one shape, their voxel size, and the box that holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput

__all__ = ["Mask", "MaskPair", "check_masks"]

Mask = npt.NDArray[np.bool_]


class MaskPair:
    """A predicted and a reference mask (K, J, I), checked, with the voxel size (k, j, i) in mm.

    `flat` says that they were plane images (J, I), which are held as one slice of 1 mm.
    """

    __slots__ = ("flat", "prediction", "reference", "spacing_mm")

    def __init__(
        self, prediction: Mask, reference: Mask, spacing_mm: tuple[float, float, float], flat: bool
    ) -> None:
        self.prediction, self.reference = prediction, reference
        self.spacing_mm, self.flat = spacing_mm, flat

    @property
    def voxel_ml(self) -> float:
        """The volume of one voxel in millilitres."""
        return math.prod(self.spacing_mm) / 1000

    def cropped(self) -> tuple[Mask, Mask]:
        """Both masks within the least box that holds both; empty arrays where neither marks a voxel.

        >>> mask = np.zeros((5, 5, 5), bool)
        >>> mask[2, 1:3, 4] = True
        >>> check_masks(mask, mask, spacing_mm=(1, 1, 1)).cropped()[0].shape
        (1, 2, 1)
        """
        box = _box(self.prediction, self.reference)
        return self.prediction[box], self.reference[box]


def check_masks(
    prediction: npt.ArrayLike, reference: npt.ArrayLike, *, spacing_mm: Sequence[float]
) -> MaskPair:
    """Two masks of zeros and ones, of one shape (K, J, I) or (J, I), with one length in mm for each axis.

    >>> check_masks([[0, 1]], [[0, 2]], spacing_mm=(1.0, 1.0))
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: the reference mask runs from 0 to 2; expected zeros and ones. \
Compare one structure at a time: labels == 2.
    """
    said = _mask(np.asarray(prediction), "predicted")
    truth = _mask(np.asarray(reference), "reference")
    if said.shape != truth.shape:
        raise BadInput(
            f"the predicted mask has the shape {said.shape} and the reference {truth.shape}; "
            "expected one shape. Bring both to the same geometry first."
        )
    if said.ndim not in (2, 3) or not said.size:
        raise BadInput(f"the masks have the shape {said.shape}; expected (K, J, I) or (J, I).")
    lengths = tuple(float(s) for s in spacing_mm)
    if len(lengths) != said.ndim or not all(math.isfinite(s) and s > 0 for s in lengths):
        raise BadInput(
            f"the voxel size is {lengths} mm for masks of {said.ndim} axes; "
            "expected one length above 0 for each axis, in the order of the axes."
        )
    if said.ndim == 2:
        return MaskPair(said[None], truth[None], (1.0, lengths[0], lengths[1]), True)
    return MaskPair(said, truth, (lengths[0], lengths[1], lengths[2]), False)


def _mask(array: npt.NDArray[np.generic], which: str) -> Mask:
    if array.dtype == np.bool_:
        return np.asarray(array)
    if array.dtype.kind not in "iuf":
        raise BadInput(f"the {which} mask is of type {array.dtype}; expected zeros and ones.")
    mask = array != 0
    if not np.array_equal(mask, array):
        values = np.asarray(array, np.float64)
        low, high = np.nanmin(values), np.nanmax(values)
        raise BadInput(
            f"the {which} mask runs from {low:g} to {high:g}; expected zeros and ones. "
            f"Compare one structure at a time: labels == {high:g}."
        )
    return np.asarray(mask)


def _box(one: Mask, two: Mask) -> tuple[slice, slice, slice]:
    rows = _any(one, 2) | _any(two, 2)
    if not rows.any():
        return (slice(0, 0),) * 3
    k, j = _extent(_any(rows, 1)), _extent(_any(rows, 0))
    return k, j, _extent(_any(one[k, j], (0, 1)) | _any(two[k, j], (0, 1)))


def _any(mask: Mask, axes: int | tuple[int, ...]) -> Mask:
    return np.asarray(np.logical_or.reduce(mask, axis=axes), np.bool_)


def _extent(marked: npt.NDArray[np.bool_]) -> slice:
    inside = np.flatnonzero(marked)
    return slice(int(inside[0]), int(inside[-1]) + 1)
