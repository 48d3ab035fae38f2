"""How much brain went between two visits: the boundary's shift, from images brought half-way (Freeborough &
Fox, IEEE TMI 1997;16:623; Leung et al., NeuroImage 2010;50:516).

What differs smoothly between the two images is the coil (Lewis & Fox, NeuroImage 2004;23:75) and is taken
out. Values then become 0 at CSF's and 1 at grey matter's level, the same for both images, cut off a little
within both, so that noise and the inside of tissues have no say. The sum of these over the brain and its
rim scales exactly as the volume does when a head is stretched; so the logarithm of the sums' ratio is that of
the volumes, with no other calibration, and swapping the visits turns its sign.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.steps.brain.halfway import Halfway
from hounsfield.steps.brain.tissue import Levels, levels_of

__all__ = ["Shift", "boundary_shift", "evened"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
WINDOW = (0.15, 0.85)
"""Where between CSF's (0) and grey matter's (1) level values are cut off."""
_SMOOTH_MM = 7.0
_COARSE = 3
_RIM_MM = 2.1
_ROOM_MM = 2.0
_MOST_APART = 0.06


@dataclass(frozen=True)
class Shift:
    """The natural logarithm of the second volume's ratio to the first, of brain and of ventricles; sums in
    ml.

    `difference` (K, J, I) is the second image's filling less the first's, `spread` what noise alone would do
    to the logarithm of the brain's ratio, `unrest` the deviation of the smooth field between the two images.
    """

    brain: float
    ventricles: float
    brain_ml: float
    difference: Floats
    spread: float
    unrest: float
    levels: Levels


def evened(pair: Halfway) -> tuple[Halfway, float]:
    """The pair without what differs smoothly, half of it taken from each; and that field's deviation."""
    both = pair.hulls[0] & pair.hulls[1] & pair.seen
    mean = 0.5 * (pair.first + pair.second)
    solid = both & (mean > 0.55) & (pair.first > 0.3) & (pair.second > 0.3)
    ratio = np.zeros_like(mean)
    ratio[solid] = np.log(pair.second[solid] / pair.first[solid])
    # Where the image is steep a shift of the edge would pass for light.
    slope = ndimage.gaussian_gradient_magnitude(mean, 0.8)
    weight = np.where(solid, 1.0 / (1.0 + (slope / 0.06) ** 2), 0.0).astype(np.float32)
    field = np.zeros_like(mean)
    for width in (None, 3.0, *(2.5,) * 6):
        # What is left is smoothed again: one pass would lag behind a field that bends.
        off = ratio - field
        used = weight
        if width is not None:
            spread = max(1.4826 * float(np.median(np.abs(off[solid]))), 1e-4)
            used = np.where(np.abs(off) < width * spread, weight, 0.0).astype(np.float32)
        field = field + _smoothed(off, used)
    half = np.exp(0.5 * field).astype(np.float32)
    unrest = float(field[both].std())
    return replace(pair, first=pair.first * half, second=pair.second / half), unrest


def _smoothed(values: Floats, weight: Floats) -> Floats:
    # The weighted mean about each voxel, on a coarser grid and back.
    shape = tuple(-(-n // _COARSE) * _COARSE for n in values.shape)
    room = [(0, a - b) for a, b in zip(shape, values.shape, strict=True)]
    blocks = tuple(x for n in shape for x in (n // _COARSE, _COARSE))
    top, below = (np.pad(v, room).reshape(blocks).sum((1, 3, 5)) for v in (values * weight, weight))
    width = _SMOOTH_MM / _COARSE
    top, below = (ndimage.gaussian_filter(v, width, mode="constant", truncate=3.5) for v in (top, below))
    coarse = top / np.maximum(below, 1e-3 * below.max())
    fine = [
        np.clip((np.arange(n) - 0.5 * (_COARSE - 1)) / _COARSE, 0, m - 1)
        for n, m in zip(values.shape, coarse.shape, strict=True)
    ]
    for axis, at in enumerate(fine):
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, coarse.shape[axis] - 1)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        coarse = np.take(coarse, low, axis) * (1 - share) + np.take(coarse, high, axis) * share
    made: Floats = coarse.astype(np.float32)
    return made


def filling(image: Floats, levels: Levels) -> Floats:
    """How much of each voxel is brain, from its value: 0 at CSF's, 1 at grey matter's, cut off within
    both.
    """
    low = levels.csf + WINDOW[0] * (levels.grey - levels.csf)
    high = levels.csf + WINDOW[1] * (levels.grey - levels.csf)
    made: Floats = np.clip((image - low) / (high - low), 0.0, 1.0).astype(np.float32)
    return made


def _near_levels(values: Floats, pair: Halfway) -> Levels:
    # One set for both images: fitted to each, they would move the sum by half a per cent.
    csf, grey, white = (
        0.5 * (getattr(pair.levels[0], name) + getattr(pair.levels[1], name))
        for name in ("csf", "grey", "white")
    )
    found = levels_of(values, start=(csf, grey, white))
    room = _MOST_APART * (white - csf)
    csf = float(np.clip(found.csf, csf - room, csf + room))
    return replace(found, csf=csf, grey=float(np.clip(found.grey, grey - room, grey + room)))


def boundary_shift(pair: Halfway) -> Shift:
    """The change of brain and ventricles between two visits on one grid in the middle."""
    even, unrest = evened(pair)
    both = pair.hulls[0] & pair.hulls[1] & pair.seen
    levels = _near_levels((0.5 * (even.first + even.second))[both][::2], pair)
    step = float(pair.affine[0, 0])
    around = ndimage.distance_transform_edt(~(pair.hulls[0] | pair.hulls[1]), step) <= _RIM_MM
    around &= pair.seen
    full = [filling(image, levels) for image in (even.first, even.second)]
    difference = np.where(around, full[1] - full[0], 0.0).astype(np.float32)
    sums = [float(f[around].sum(dtype=np.float64)) for f in full]
    room = ndimage.binary_dilation(
        pair.ventricles[0] | pair.ventricles[1], iterations=max(1, round(_ROOM_MM / step))
    )
    water = [float((1.0 - f[room]).sum(dtype=np.float64)) for f in full]
    noise = 1.4826 * float(np.median(np.abs((even.second - even.first)[both])))
    edge = around & (full[0] + full[1] > 0.1) & (full[0] + full[1] < 1.9)
    spread = noise / (levels.grey - levels.csf) * np.sqrt(float(edge.sum())) / max(0.5 * sum(sums), 1.0)
    return Shift(
        brain=float(np.log(sums[1] / sums[0])),
        ventricles=float(np.log(max(water[1], 1.0) / max(water[0], 1.0))),
        brain_ml=0.5 * sum(sums) * step**3 / 1000.0,
        difference=difference,
        spread=float(spread),
        unrest=unrest,
        levels=levels,
    )
