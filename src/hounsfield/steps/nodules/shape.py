"""The shape of a nodule in its patch: the threshold whose region, blurred as a scanner blurs, explains the
image.

A fixed half-way threshold makes small nodules too small (a curved surface blurred by s seems s*s/r further
in) and needs the nodule's own density, which no voxel of a small nodule shows. So regions of many thresholds
are grown (`region`), and each, blurred and sampled as the scanner did, is fitted to the image's own voxels by
its density alone; the best wins, with densities that nodules have preferred where the image does not decide.
A second, smaller region inside a faint one is the solid part of a part-solid nodule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.steps.nodules.patch import Patch
from hounsfield.steps.nodules.region import Box, Place, box_of, candidates

__all__ = ["Shape", "shape_in"]

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
_SMOOTH_MM, _SMOOTH_FAINT_MM, _FAINT_RISE_HU = 0.8, 1.4, 420.0
_BLUR_SLICES = 0.29  # the blur across slices in parts of their distance: that of a slice's own thickness
_BASE_PART, _BASE_HU = 0.2, 110.0
_AROUND_MM = 3.5
_SOLID, _FAINT = (35.0, 45.0), (-590.0, 90.0)  # densities preferred, and their spread, in HU
_MOST_DOUBT, _SECOND_COST = 12.0, 14.0
_DENSEST_HU = 600.0  # beyond it no nodule is expected, and doubt grows again
_ALIKE = 5.0  # neighbouring voxels err together: so many count as one
_MOST_CORE = 0.36  # of the volume: where more of it is dense, it is a solid nodule with a soft edge
_LEAST_SHELL_MM, _SHELL_BLURS = 1.4, 2.3  # a thinner faint shell may be no more than blur
_RING_MM, _DENSE_HU = (1.6, 3.0), 300.0  # beyond the blur; that far above the lung it is a vessel or the wall


@dataclass(frozen=True)
class Shape:
    """Masks in a patch: the whole nodule and its solid part; densities in HU of the lung around and of each.

    `core` is empty where there is no part of another density. `noise_hu` is what the shape leaves
    unexplained, `touches_wall` and `escaped` say that it reaches the pleura, and the end of the patch;
    `attached` is the part of its near surroundings in the lung that is dense, where vessels leave it.
    """

    whole: Mask
    core: Mask
    background_hu: float
    whole_hu: float
    core_hu: float
    noise_hu: float
    touches_wall: bool
    escaped: bool
    attached: float


@dataclass(frozen=True)
class _Judged:
    # The image's own voxels by which shapes are judged: above the background, and their places in the box.
    above: Doubles
    at: Doubles
    blur: Doubles

    def expected(self, mask: Mask) -> Doubles:
        """What part of each voxel a shape fills, after the scanner's blur."""
        soft = ndimage.gaussian_filter(mask.astype(np.float32), self.blur)
        part: Doubles = ndimage.map_coordinates(soft, self.at, order=1, mode="nearest", output=float)
        return part


@dataclass(frozen=True)
class _Fit:
    # Places of the masks among the candidates (core -1: none), levels above the background, and the doubt.
    whole: int
    core: int
    level: float
    core_level: float
    cost: float


def shape_in(patch: Patch, *, blur_px: float) -> Shape | None:
    """The nodule in the middle of a patch; None where nothing stands out from the lung there.

    `blur_px` is the scan's blur in pixels, as `sharpness.blur_px` tells it.
    """
    smooth = ndimage.gaussian_filter(patch.hu, _SMOOTH_MM / patch.step_mm)
    background, noise = _background(patch, smooth)
    seed = _seed(patch)
    rise = float(smooth[seed]) - background
    if rise < _FAINT_RISE_HU:
        smooth = ndimage.gaussian_filter(patch.hu, _SMOOTH_FAINT_MM / patch.step_mm)
        background, noise = _background(patch, smooth)
        rise = float(smooth[seed]) - background
    if rise < max(90.0, 3 * noise):
        return None
    above = smooth - np.float32(background)
    grown = candidates(above, rise, patch.depth_mm > 0, seed, patch.step_mm)
    if not grown:
        return None
    box = box_of(grown[-1], int(np.ceil((_AROUND_MM + 4.0) / patch.step_mm)))
    masks = [mask[box] for mask in grown]
    judged = _judged(patch, above, masks[-1], box, max(_BASE_PART * rise, _BASE_HU), background, blur_px)
    if len(judged.above) < 8:
        return None
    shell = max(_LEAST_SHELL_MM, _SHELL_BLURS * blur_px * float(patch.voxel_mm[1:].mean()))
    fit, spread = _best(masks, judged, background, 2 * shell / patch.step_mm)
    whole, core = np.zeros(above.shape, np.bool_), np.zeros(above.shape, np.bool_)
    whole[box] = masks[fit.whole]
    if fit.core >= 0:
        core[box] = masks[fit.core]
    edge = whole.copy()
    edge[1:-1, 1:-1, 1:-1] = False
    return Shape(
        whole,
        core,
        background,
        background + fit.level,
        background + fit.core_level,
        spread,
        touches_wall=bool((whole & (patch.depth_mm < 1.5)).any()),
        escaped=bool(edge.any()),
        attached=_attached(patch, above, whole),
    )


def _attached(patch: Patch, above: Floats, whole: Mask) -> float:
    """The part of a ring around a shape, in the lung and clear of its blur, that is dense."""
    away = ndimage.distance_transform_edt(~whole) * patch.step_mm
    ring = (away > _RING_MM[0]) & (away <= _RING_MM[1]) & (patch.depth_mm > _RING_MM[1])
    return float((above[ring] > _DENSE_HU).mean()) if ring.any() else 0.0


def _background(patch: Patch, smooth: Floats) -> tuple[float, float]:
    """The density of the lung around, without its vessels, and its spread."""
    values = smooth[(patch.depth_mm > 2.0) & (smooth < -500)]
    if len(values) < 200:
        values = smooth[smooth < -500]
    if len(values) < 50:
        return -850.0, 30.0
    middle = float(np.percentile(values, 40))
    spread = 1.4826 * float(np.median(np.abs(values[values <= middle] - middle)))
    kept = values[np.abs(values - middle) < 3 * spread + 20]
    return float(np.median(kept)), spread


def _seed(patch: Patch) -> Place:
    """The middle of what is densest near the point given."""
    radius = patch.radius_mm
    broad = ndimage.gaussian_filter(patch.hu, 1.5 / patch.step_mm) - 15.0 * radius**2
    broad[(radius > 3.0) | (patch.depth_mm < 0.3)] = -9999.0
    k, j, i = np.unravel_index(int(broad.argmax()), broad.shape)
    return int(k), int(j), int(i)


def _judged(
    patch: Patch, above: Floats, base: Mask, box: Box, threshold: float, background: float, blur_px: float
) -> _Judged:
    """The voxels near the nodule, clear of other structures and of the wall."""
    step = patch.step_mm
    away = ndimage.distance_transform_edt(~base) * step
    other = (above[box] > threshold) & (away > 1.0)
    near = away <= _AROUND_MM
    if other.any():
        near &= ndimage.distance_transform_edt(~other) * step > 1.4
    near = (near | base) & (patch.depth_mm[box] > 1.0)
    at = patch.measured_at - np.array([[s.start] for s in box])
    place = np.rint(at).astype(int)
    held = ((place >= 0) & (place < np.array(near.shape)[:, None])).all(0)
    held[held] = near[tuple(place[:, held])]
    parts = np.array([_BLUR_SLICES, blur_px, blur_px])
    hu = patch.measured_hu[held].astype(np.float64)
    return _Judged(hu - background, at[:, held], parts * patch.voxel_mm / step)


def _doubt(level: float) -> float:
    """How far a density is from those that nodules have; calcium is as far as it gets."""
    beyond = max(level - _DENSEST_HU, 0.0) / _SOLID[1]
    return min(min(((level - m) / s) ** 2 for m, s in (_SOLID, _FAINT)), _MOST_DOUBT) + beyond**2


def _best(masks: list[Mask], judged: _Judged, background: float, shell: float) -> tuple[_Fit, float]:
    """The best explanation, and how many HU it leaves; cores are at least `shell` voxels less in diameter."""
    design = np.stack([judged.expected(mask) for mask in masks])
    data = judged.above
    gram, moment, power = design @ design.T, design @ data, float(data @ data)
    singles = [
        (power - moment[n] ** 2 / max(gram[n, n], 1e-9), n, moment[n] / max(gram[n, n], 1e-9))
        for n in range(len(masks))
    ]
    spread = _ALIKE * max(min(s[0] for s in singles) / len(data), 25.0)
    fits = [
        _Fit(n, -1, level, level, left / spread + _doubt(background + level)) for left, n, level in singles
    ]
    sizes = [int(mask.sum()) for mask in masks]
    widths = [float(np.cbrt(6 / np.pi * size)) for size in sizes]
    for outer in range(len(masks)):
        for inner in range(len(masks)):
            if sizes[inner] > _MOST_CORE * sizes[outer] or widths[outer] - widths[inner] < shell:
                continue
            pair = np.ix_([outer, inner], [outer, inner])
            if np.linalg.det(gram[pair]) < 1e-6 * gram[outer, outer] * gram[inner, inner]:
                continue
            first, second = np.linalg.solve(gram[pair], moment[[outer, inner]])
            faint, solid = background + first, background + first + second
            if -760 < faint < -350 and solid > -250:
                left = power - first * moment[outer] - second * moment[inner]
                doubt = ((faint - _FAINT[0]) / _FAINT[1]) ** 2 + ((solid - _SOLID[0]) / 90.0) ** 2
                cost = left / spread + min(doubt, _MOST_DOUBT) + _SECOND_COST
                fits.append(_Fit(outer, inner, float(first), float(first + second), cost))
    best = min(fits, key=lambda fit: fit.cost)
    return best, float(np.sqrt(spread / _ALIKE))
