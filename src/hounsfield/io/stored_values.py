"""From stored numbers to meant numbers: slope and intercept, and no value that is not a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput

__all__ = ["require_finite", "rescaled"]


def rescaled(stored: NDArray[np.generic], slope: float, intercept: float) -> NDArray[np.generic]:
    """slope * stored + intercept: integers stay integers (int16, else int32) when both are whole.

    Unchanged values keep their stored type; anything else becomes float32 (DICOM PS3.3 C.11.1.1.2).
    Raises BadInput where slope or intercept is not a usable number.

    >>> rescaled(np.array([0, 4095], np.uint16), 1, -1024)
    array([-1024,  3071], dtype=int16)
    >>> rescaled(np.array([2], np.uint8), .5, 0)
    array([1.], dtype=float32)
    """
    if not (np.isfinite(slope) and np.isfinite(intercept)) or slope == 0:
        raise BadInput(f"its rescale slope {slope} and intercept {intercept} cannot be used; send it again")
    if slope == 1 and intercept == 0:
        return stored
    whole = float(slope).is_integer() and float(intercept).is_integer()
    if whole and np.issubdtype(stored.dtype, np.integer) and stored.size:
        bounds = [int(slope) * int(v) + int(intercept) for v in (stored.min(), stored.max())]
        for kind in (np.int16, np.int32):
            if np.iinfo(kind).min <= min(bounds) and max(bounds) <= np.iinfo(kind).max:
                return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(kind)
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def require_finite(values: NDArray[np.generic]) -> None:
    """Raise BadInput if floating-point values hold NaN or infinity."""
    if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
        bad = int(values.size - np.isfinite(values).sum())
        raise BadInput(
            f"holds {bad} of {values.size} values that are not numbers (NaN or infinite); "
            "replace them or leave the image out"
        )
