"""From stored numbers to meant numbers: slope and intercept, and no value that is not a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput

__all__ = ["require_finite", "require_lowest_bits", "require_usable", "rescaled", "turned_over"]


def rescaled(stored: NDArray[np.generic], slope: float, intercept: float) -> NDArray[np.generic]:
    """slope * stored + intercept: integers stay integers (int16, else int32) when both are whole.

    Unchanged values keep their stored type; anything else becomes float32 (DICOM PS3.3 C.11.1.1.2).
    Raises BadInput where slope or intercept is not a usable number.

    >>> rescaled(np.array([0, 4095], np.uint16), 1, -1024)
    array([-1024,  3071], dtype=int16)
    >>> rescaled(np.array([2], np.uint8), .5, 0)
    array([1.], dtype=float32)
    """
    require_usable(slope, intercept)
    if slope == 1 and intercept == 0:
        return stored
    whole = float(slope).is_integer() and float(intercept).is_integer()
    if whole and np.issubdtype(stored.dtype, np.integer) and stored.size:
        bounds = [int(slope) * int(v) + int(intercept) for v in (stored.min(), stored.max())]
        for kind in (np.int16, np.int32):
            if np.iinfo(kind).min <= min(bounds) and max(bounds) <= np.iinfo(kind).max:
                return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(kind)
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def require_usable(slope: float, intercept: float) -> None:
    """Raise BadInput unless slope and intercept are finite and the slope is not zero."""
    if not (np.isfinite(slope) and np.isfinite(intercept)) or slope == 0:
        raise BadInput(f"its rescale slope {slope} and intercept {intercept} cannot be used; send it again")


def require_lowest_bits(allocated: int, stored: int, high: int) -> None:
    """Raise BadInput unless the stored bits are the lowest ones, as the standard has had it since 1993."""
    if 1 <= stored < allocated and high != stored - 1:
        raise BadInput(
            f"stores {stored} bits below bit {high} where bit {stored - 1} was expected; send it again"
        )


def turned_over(stored: NDArray[np.generic], *, bits_stored: int) -> NDArray[np.generic]:
    """MONOCHROME1 as MONOCHROME2: the largest stored value becomes the smallest (PS3.3 C.7.6.3.1.2).

    >>> turned_over(np.array([0, 4095], np.uint16), bits_stored=12)
    array([4095,    0], dtype=uint16)
    """
    if stored.dtype.kind == "f":
        return np.negative(stored)
    if stored.dtype.kind == "i":
        return np.invert(stored)
    return np.asarray(stored.dtype.type((1 << bits_stored) - 1) - stored)


def require_finite(values: NDArray[np.generic]) -> None:
    """Raise BadInput if floating-point values hold NaN or infinity."""
    if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
        bad = int(values.size - np.isfinite(values).sum())
        raise BadInput(
            f"holds {bad} of {values.size} values that are not numbers (NaN or infinite); "
            "replace them or leave the image out"
        )
