"""One nodule measured at a marked or detected place: volume, diameters, density, mass and kind.

Kinds: a part whose density is above -300 HU is solid (Scholten et al., PLoS One 2013;8:e80249, found that
threshold to agree best with readers' solid parts); with a fainter part around it the nodule is part-solid,
without any solid part it is ground glass. Density is that of the fitted shape, so that the blur of small
solid nodules does not make them faint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.steps.nodules.lungs import Lungs
from hounsfield.steps.nodules.patch import Patch, patch_at
from hounsfield.steps.nodules.shape import Shape, shape_in
from hounsfield.steps.nodules.sharpness import blur_px

__all__ = ["SOLID_HU", "Density", "NoduleMeasures", "measure_nodules"]

Doubles = NDArray[np.float64]
Density = Literal["solid", "part-solid", "ground-glass"]
SOLID_HU = -300.0
_HALVES_MM = (15.0, 26.0, 42.0)  # the patch grows where the nodule does not fit


@dataclass(frozen=True, slots=True)
class NoduleMeasures:
    """What a nodule measures. `centre_mm` is its centroid in LPS mm, `diameter_mm` that of a sphere of its
    volume.

    `long_axis_mm` and `short_axis_mm` (at a right angle to it) are taken in the slice where it is largest, as
    the Fleischner Society measures (Bankier et al., Radiology 2017;285:584); `solid_mm` is the diameter of
    the solid part; `voxel_mm` the cube root of a voxel of the scan, on which the error of the volume depends;
    `attached` the part of the near surroundings that is dense, where vessels reach the nodule.
    """

    centre_mm: tuple[float, float, float]
    volume_mm3: float
    diameter_mm: float
    long_axis_mm: float
    short_axis_mm: float
    mean_hu: float
    mass_mg: float
    density: Density
    solid_mm: float
    touches_wall: bool
    voxel_mm: float
    attached: float = 0.0

    @property
    def axes_mean_mm(self) -> float:
        """The mean of both axes, to whole millimetres as it is reported."""
        return float(round((self.long_axis_mm + self.short_axis_mm) / 2))


def measure_nodules(
    volume: Volume, centres_mm: Doubles, lungs: Lungs, *, blur: float | None = None
) -> list[NoduleMeasures | None]:
    """Each nodule at the centres (n, 3) in LPS mm of a CT in HU; None where nothing stands out from the lung.

    A centre may be off by about 3 mm. `blur` is the scan's blur in pixels (measured if not given).
    Raises BadInput for a centre outside the image.
    """
    centres = np.asarray(centres_mm, np.float64).reshape(-1, 3)
    shape = np.array(volume.data.shape[1:])
    soft = blur_px(volume) if blur is None else blur
    found = []
    for n, centre in enumerate(centres, start=1):
        place = np.linalg.solve(volume.affine[:3, :3], centre - volume.affine[:3, 3])[::-1]
        if not ((place > -0.5) & (place < shape - 0.5)).all():
            raise BadInput(
                f"nodule {n} lies at voxel {tuple(round(float(p)) for p in place)} of"
                f" {tuple(shape.tolist())} (k, j, i);"
                " expected a place inside the image. Check that the marks belong to this series"
            )
        found.append(_measured(volume, centre, lungs, soft))
    return found


def _measured(volume: Volume, centre: Doubles, lungs: Lungs, blur: float) -> NoduleMeasures | None:
    for half in _HALVES_MM:
        patch = patch_at(volume, centre, lungs, half_mm=half)
        shape = shape_in(patch, blur_px=blur)
        if shape is None or not shape.escaped:
            break
    return None if shape is None else _numbers(patch, shape)


def _numbers(patch: Patch, shape: Shape) -> NoduleMeasures:
    voxels = np.argwhere(shape.whole)
    cube = patch.step_mm**3
    volume = len(voxels) * cube
    x, y, z = patch.place_of(voxels.mean(0))
    long, short = _axes(shape.whole, patch.step_mm)
    mean = shape.whole_hu
    solid = shape.whole_hu >= SOLID_HU
    density: Density = "solid" if solid else "ground-glass"
    core = int(shape.core.sum()) * cube
    if core:
        density = "part-solid"
        mean = shape.whole_hu + core / volume * (shape.core_hu - shape.whole_hu)
    return NoduleMeasures(
        centre_mm=(float(x), float(y), float(z)),
        volume_mm3=volume,
        diameter_mm=_sphere_mm(volume),
        long_axis_mm=long,
        short_axis_mm=short,
        mean_hu=float(mean),
        mass_mg=float(volume * (mean + 1000.0) / 1000.0),
        density=density,
        solid_mm=_sphere_mm(core) if core else (_sphere_mm(volume) if solid else 0.0),
        touches_wall=shape.touches_wall,
        voxel_mm=float(np.cbrt(np.prod(patch.voxel_mm))),
        attached=shape.attached,
    )


def _sphere_mm(volume_mm3: float) -> float:
    return float(np.cbrt(6.0 * volume_mm3 / np.pi))


def _axes(mask: NDArray[np.bool_], step_mm: float) -> tuple[float, float]:
    """The longest line in the largest slice, and the widest extent at a right angle to it."""
    plane = mask[int(mask.sum((1, 2)).argmax())]
    points = np.argwhere(plane & ~_inner(plane)).astype(np.float64)
    gaps = np.linalg.norm(points[:, None] - points, axis=2)
    a, b = np.unravel_index(int(gaps.argmax()), gaps.shape)
    if a == b:
        return step_mm, step_mm
    way = (points[b] - points[a]) / gaps[a, b]
    across = points @ np.array([-way[1], way[0]])
    # From edge to edge of the outermost pixels.
    return float((gaps[a, b] + 1) * step_mm), float((np.ptp(across) + 1) * step_mm)


def _inner(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    wide = np.pad(plane, 1)
    out: NDArray[np.bool_] = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:] & plane
    return out
