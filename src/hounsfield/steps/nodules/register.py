"""Two chest CT of one patient laid over each other: a rigid, then an affine transform of coarse images.

SimpleITK searches on cubes of about 4 mm, from the lungs' centres on; correlation is robust to kernel and
dose. What the breath bends beyond that is left to the gate of the matching. Afterwards the vessels must
agree: those of two people do not.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.steps.nodules.lungs import Lungs

__all__ = ["LEAST_AGREEMENT", "Alignment", "aligned"]

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
LEAST_AGREEMENT = 0.4
_WORK_MM, _SAMPLE, _DEEP_MM = 4.0, 0.12, 7.0
_SEEDS = (1, 2, 3)
"""A search that ends where the vessels do not agree is begun anew, with other points."""


@dataclass(frozen=True)
class Alignment:
    """`matrix` (4, 4) maps LPS mm of the first scan to the second; `agreement` correlates their vessels."""

    matrix: Doubles
    agreement: float

    def to_second(self, points_mm: Doubles) -> Doubles:
        """Points (n, 3) of the first scan as places of the second, in LPS mm."""
        points: Doubles = np.asarray(points_mm, np.float64).reshape(-1, 3) @ self.matrix[:3, :3].T
        return points + self.matrix[:3, 3]


def aligned(first: Volume, first_lungs: Lungs, second: Volume, second_lungs: Lungs) -> Alignment:
    """How the second scan of a patient lies to the first.

    Raises BadInput where the vessels of the lungs do not agree: scans of two patients, or one that went
    wrong.
    """
    fixed, fixed_affine = _coarse(first, first_lungs)
    moving, moving_affine = _coarse(second, second_lungs)
    images = _image(fixed, fixed_affine), _image(moving, moving_affine)
    middles = _middle(first_lungs), _middle(second_lungs)
    found = Alignment(np.eye(4), -1.0)
    for seed in _SEEDS:
        matrix = _laid(*images, *middles, seed=seed)
        one = Alignment(matrix, _agreement(first, first_lungs, second, second_lungs, matrix))
        found = max(found, one, key=lambda a: a.agreement)
        if found.agreement >= LEAST_AGREEMENT:
            break
    if found.agreement < LEAST_AGREEMENT:
        raise BadInput(
            f"the vessels of both lungs agree by {found.agreement:.2f} after registration; expected two scans"
            f" of one patient, which agree by at least {LEAST_AGREEMENT}. Check that both belong to the same"
            " patient"
        )
    return found


def _sitk() -> Any:
    # Imported when it is used, since it takes a while.
    return importlib.import_module("SimpleITK")


def _laid(fixed: Any, moving: Any, here: Doubles, there: Doubles, *, seed: int) -> Doubles:
    """The matrix (4, 4) of the second image's places, from the lungs' middles on: rigid, then affine."""
    sitk = _sitk()
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(here.tolist())
    rigid.SetTranslation((there - here).tolist())
    _searched(fixed, moving, rigid, steps=60, seed=seed)
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    _searched(fixed, moving, affine, steps=60, seed=seed)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(affine.GetMatrix()).reshape(3, 3)
    centre = np.array(affine.GetCenter())
    matrix[:3, 3] = np.array(affine.GetTranslation()) + centre - matrix[:3, :3] @ centre
    return matrix


def _searched(fixed: Any, moving: Any, start: Any, *, steps: int, seed: int) -> None:
    """Move `start` to where the images agree best."""
    sitk = _sitk()
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # the same result everywhere
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(_SAMPLE, seed)  # else the clock draws the points
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([4.0, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.05, steps, 0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)


def _middle(lungs: Lungs) -> Doubles:
    middle: Doubles = lungs.points_of(np.argwhere(lungs.labels > 0)).mean(0)
    return middle


def _coarse(volume: Volume, lungs: Lungs) -> tuple[Floats, Doubles]:
    """The box around the lungs on cubes of the working size, from air to soft tissue, and its affine."""
    steps = lungs.affine[:3, :3] / np.linalg.norm(lungs.affine[:3, :3], axis=0) * _WORK_MM
    spacing = np.linalg.norm(lungs.affine[:3, :3], axis=0)[::-1]
    sizes = np.maximum((np.array(lungs.labels.shape) * spacing / _WORK_MM).astype(int), 8)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps, lungs.affine[:3, 3]
    smooth = np.array(volume.spacing_mm)
    hu = ndimage.gaussian_filter(
        volume.data[0].astype(np.float32), 0.35 * np.maximum(_WORK_MM / smooth - 1, 0.3)
    )
    step = np.linalg.solve(volume.affine[:3, :3], steps)[::-1, ::-1]
    start = np.linalg.solve(volume.affine[:3, :3], affine[:3, 3] - volume.affine[:3, 3])[::-1]
    out = ndimage.affine_transform(hu, step, start, output_shape=tuple(sizes.tolist()), order=1, cval=-1000.0)
    return np.clip(out, -1000, 300).astype(np.float32), affine


def _image(values: Floats, affine: Doubles) -> Any:
    image = _sitk().GetImageFromArray(values)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


def _agreement(first: Volume, lungs: Lungs, second: Volume, other: Lungs, matrix: Doubles) -> float:
    """The correlation of what is finer than a lobe and coarser than noise, deep in both lungs."""
    fixed, affine = _coarse(first, lungs)
    moved = Volume(second.data, np.linalg.inv(matrix) @ second.affine, (), True)
    moving, _ = _coarse(moved, lungs)
    kji = np.indices(fixed.shape).reshape(3, -1)
    points = kji[::-1].T @ affine[:3, :3].T + affine[:3, 3]
    deep = lungs.depth_at(points) > _DEEP_MM
    deep[deep] = other.depth_at(points[deep] @ matrix[:3, :3].T + matrix[:3, 3]) > _DEEP_MM
    held = deep.reshape(fixed.shape)
    if held.sum() < 200:
        return 0.0
    parts = []
    for values in (fixed, moving):
        # The wall must not shine in: it is alike in all people.
        low = np.where(held, np.minimum(values, -500), np.minimum(values, -500)[held].mean())
        fine = ndimage.gaussian_filter(low, 0.8) - ndimage.gaussian_filter(low, 3.0)
        parts.append(fine[held])
    return float(np.corrcoef(parts[0], parts[1])[0, 1])
