"""The brain found in an upright head, by no learned weights: a hull that grows, then tissue kept by its
thickness.

The deformable hull (`surface`) says about where the brain is. Within and just beyond it, bright tissue is
kept that hangs together with the middle of the brain through necks of more than some millimetres; dura,
sinuses, nerves and the walls of the orbits hang by less. What comes back is filled, with its sulci.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.errors import BadInput
from hounsfield.steps.brain.bias import Field, field_of
from hounsfield.steps.brain.surface import filled, grown, sphere
from hounsfield.steps.brain.tissue import Levels, levels_of
from hounsfield.steps.brain.upright import Upright

__all__ = ["Found", "brain_hull", "find_brain", "largest"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
_LEAST_LIT = 1000  # of every eighth cube
_UPPER_MM = 150.0  # of the head, from the top, that the first guess looks at
_BEYOND_MM = 4.0
_NECK_MM = 2.2  # half the width of the thinnest bridge that is believed
_CLOSE_MM = 6.0
_BULGE_MM, _BASE = 13.0, 0.45
_THIN_MM = 3.0
_LEAST_ML, _MOST_ML = 500.0, 2300.0


@dataclass(frozen=True)
class Found:
    """A brain in its head: `hull` with sulci and ventricles, the even image (white matter is 1), field,
    tissues.
    """

    hull: Bools
    even: Floats
    field: Field
    levels: Levels
    scale: float


def find_brain(head: Upright, also: Bools | None = None) -> Found:
    """Find the brain of an upright head of about 1 mm cubes; it is looked for in `also` (K, J, I) too.

    Raises BadInput where nothing of a brain's size and make is there.
    """
    rough = brain_hull(head.data, head.step_mm)
    rough = rough if also is None else rough | also
    volume = rough.sum() * head.step_mm**3 / 1000.0
    if not _LEAST_ML < volume < _MOST_ML:
        raise BadInput(
            f"no brain was found in a scan (what looked most like it measures {volume:.0f} ml); expected a "
            "T1-weighted scan of a head; check the series and its voxel size"
        )
    field = field_of(head, ndimage.binary_erosion(rough, iterations=max(1, round(4.0 / head.step_mm))))
    even = head.data / field.on(head.affine, head.data.shape)
    levels = levels_of(even[ndimage.binary_erosion(rough, iterations=max(1, round(2.0 / head.step_mm)))][::3])
    if levels.grey <= levels.csf or levels.white - levels.grey < 0.08 * levels.white:
        raise BadInput(
            "the tissues of a scan do not look T1-weighted (white matter brighter than grey, grey than "
            "CSF); choose the T1-weighted series"
        )
    refined = _refined(even, rough, levels, head.step_mm)
    levels = levels_of(even[refined][::3], start=(levels.csf, levels.grey, levels.white))
    scale = 1.0 / levels.white
    a, b, c = (s * scale for s in levels.spread)
    one = Levels(levels.csf * scale, levels.grey * scale, 1.0, (a, b, c), levels.amounts)
    return Found(refined, (even * np.float32(scale)), field, one, scale)


def brain_hull(data: Floats, step_mm: float) -> Bools:
    """About where the brain is, with its sulci, in an upright head of any contrast that leaves CSF's rim
    dark.
    """
    smooth = ndimage.gaussian_filter(data, 0.4)
    few = smooth[::2, ::2, ::2]
    lit = few[few > 0]
    low, high = np.percentile(lit, (2, 98)) if len(lit) else (0.0, 0.0)
    edge = low + 0.1 * (high - low)
    if len(lit) < _LEAST_LIT or not (few > edge).any():
        raise BadInput(
            f"a scan with {len(lit)} bright places was given as a head; expected a head that fills a good "
            "part of the image; choose the T1-weighted series"
        )
    places = np.argwhere(few > edge) * 2.0
    top = np.percentile(places[:, 0], 99.9)
    places = places[places[:, 0] > top - _UPPER_MM / step_mm]
    weight = np.minimum(few[tuple((places // 2).astype(int).T)], high)
    middle = (places * weight[:, None]).sum(0) / weight.sum()
    radius = (len(places) * 8 * 3 / (4 * np.pi)) ** (1 / 3)
    near = places[((places - middle) ** 2).sum(1) < radius**2]
    median = float(np.median(few[tuple((near // 2).astype(int).T)]))
    ball = sphere()
    level = np.array([low, edge, median, high])
    points = grown(smooth, middle + 0.5 * radius * ball[0], level, step_mm=step_mm, ball=ball)
    return _without_bulges(filled(points, data.shape, ball), step_mm)


def _without_bulges(hull: Bools, step_mm: float) -> Bools:
    # Where the skull is thin the surface slips out; above the brain's base nothing of a brain is so narrow.
    every = max(1, round(2.0 / step_mm))
    few = hull[::every, ::every, ::every]
    core = _depth(few, step_mm * every) > _BULGE_MM
    kept = _depth(~core, step_mm * every) <= _BULGE_MM + step_mm * every
    for axis in range(3):
        kept = np.repeat(kept, every, axis)
    kept = kept[tuple(slice(0, n) for n in hull.shape)] & hull
    rows = np.flatnonzero(hull.any((1, 2)))
    if len(rows):
        base = int(rows[0] + _BASE * (rows[-1] - rows[0]))
        kept[:base] = hull[:base]
    return kept


def _refined(even: Floats, hull: Bools, levels: Levels, step_mm: float) -> Bools:
    room = max(4, round(12 / step_mm))
    box = tuple(
        slice(max(s.start - room, 0), s.stop + room) for s in ndimage.find_objects(hull.astype(np.uint8))[0]
    )
    inner = _depth(hull[box], step_mm)
    near = _depth(~hull[box], step_mm) <= _BEYOND_MM
    bright = ndimage.gaussian_filter(even[box], 0.5 / step_mm)
    tissue = near & (bright > 0.5 * (levels.csf + levels.grey)) & (bright < 1.3 * levels.white)
    core = largest(_depth(tissue, step_mm) > _NECK_MM)
    away = _depth(~core, step_mm)
    kept = largest((away <= _NECK_MM + 0.8) & tissue)
    # Gyri thinner than the bridges come back step by step where the hull holds them.
    reach = max(1, round(_THIN_MM / step_mm))
    kept |= ndimage.binary_dilation(kept, iterations=reach, mask=tissue & (inner > 1.5))
    kept = largest(ndimage.binary_opening(kept) | core)
    padded = np.pad(kept, room)
    wide = _depth(~padded, step_mm) <= _CLOSE_MM
    closed = _depth(wide, step_mm) > _CLOSE_MM
    out = np.zeros_like(hull)
    out[box] = ndimage.binary_fill_holes(closed)[(slice(room, -room),) * 3] | kept
    return out


def _depth(mask: Bools, step_mm: float) -> Floats:
    # How deep each voxel lies within a mask, in mm.
    return ndimage.distance_transform_edt(mask, step_mm).astype(np.float32)  # type: ignore[no-any-return]


def largest(mask: Bools) -> Bools:
    """The largest piece of a mask, or the mask where it has one piece or none."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    found: Bools = labels == sizes.argmax()
    return found
