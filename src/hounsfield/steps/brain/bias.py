"""The coil's unevenness of one scan: N4 (Tustison et al., IEEE TMI 2010;29:1310) on a coarse head, kept as a
smooth field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.steps.brain.sampling import Shape, between, linear
from hounsfield.steps.brain.upright import Upright

__all__ = ["Field", "field_of"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
_COARSE_MM = 4.0
_ROUNDS = (40, 30, 20)


@dataclass(frozen=True)
class Field:
    """The logarithm of what multiplies the true values, on a coarse grid (K, J, I) with its affine."""

    log: Floats
    affine: Doubles

    def on(self, affine: Doubles, shape: Shape, move: Doubles | None = None) -> Floats:
        """What to divide an image by: the field on another grid; `move` (4, 4) takes that grid's mm to
        here.
        """
        wide, place = np.pad(self.log, 12, mode="edge"), self.affine.copy()
        place[:3, 3] -= 12 * self.affine[:3, :3].sum(1)
        found: Floats = np.exp(linear(wide, between(affine, place, move), shape))
        return found


def field_of(head: Upright, inside: NDArray[np.bool_]) -> Field:
    """The field of a head, found where `inside` is true and smoothly continued beyond."""
    import SimpleITK

    sitk: Any = SimpleITK  # its classes carry no types

    every = max(1, round(_COARSE_MM / head.step_mm))
    coarse = _coarse(head.data, every)
    mask = _coarse(inside.astype(np.float32), every) > 0.5
    affine = head.affine.copy()
    affine[:3, 3] += affine[:3, :3].sum(1) * (every - 1) / 2
    affine[:3, :3] *= every
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(1)
    corrector.SetMaximumNumberOfIterations(_ROUNDS)
    corrector.SetNumberOfControlPoints((4, 4, 4))
    corrector.SetBiasFieldFullWidthAtHalfMaximum(0.15)
    image = sitk.GetImageFromArray(np.maximum(coarse, 1e-3))
    image.SetSpacing((head.step_mm * every,) * 3)
    where = sitk.GetImageFromArray(mask.astype(np.uint8))
    where.SetSpacing(image.GetSpacing())
    corrector.Execute(image, where)
    log = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image)).astype(np.float32)
    log -= float(log[mask].mean())
    return Field(log, affine)


def _coarse(data: NDArray[np.float32], every: int) -> Floats:
    shape = [n // every for n in data.shape]
    cut = data[tuple(slice(0, n * every) for n in shape)]
    found: Floats = cut.reshape(shape[0], every, shape[1], every, shape[2], every).mean((1, 3, 5))
    return found
