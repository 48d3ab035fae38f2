"""Regions grown from a seed in a lung at many thresholds, freed of vessels by an opening and of the chest
wall.

What is thinner than half of the nodule is cut off (Kostis et al., IEEE Trans Med Imaging 2003;22:1259;
Kuhnigk et al., IEEE Trans Med Imaging 2006;25:417), and what is not compact is no nodule.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Box", "Place", "box_of", "candidates"]

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]
Place = tuple[int, int, int]
_FRACTIONS = np.geomspace(0.88, 0.12, 22)
_LEAST_RISE_HU = 60.0
_NECK_PARTS, _MOST_NECK_MM = (0.5, 0.8), 3.5
_FAINT_RISE_HU, _BRIGHTER = 420.0, 1.9  # what is so much denser than a faint nodule is a vessel in it
_MOST_SPREAD = 1.75  # diameter of the sphere of equal volume by that of the largest ball inside
_GIVE_UP = 4
_MOST_AWAY, _ROOM_MM = 1.6, 0.5  # from the middle of that ball, in its radii and mm


def candidates(above: Floats, rise: float, inside: Mask, seed: Place, step_mm: float) -> list[Mask]:
    """Compact regions (K, J, I) around the seed, from high to low thresholds in parts of `rise` HU.

    `above` are HU above the lung, `inside` is the closed lung. Every threshold gives one at most.

    >>> side = np.arange(-15, 16)
    >>> gap = np.sqrt((side[:, None, None] ** 2 + side[:, None] ** 2 + side**2).astype(np.float32))
    >>> ball = 900 / (1 + np.exp(2 * (gap - 6)))
    >>> found = candidates(ball, 900.0, gap < 15, (15, 15, 15), 1.0)
    >>> bool(abs((gap[found[len(found) // 2]]).max() - 6) < 1.5)
    True
    """
    out: list[Mask] = []
    failed = 0
    most = _BRIGHTER * rise if rise < _FAINT_RISE_HU else np.inf
    for part in _FRACTIONS:
        if part * rise < _LEAST_RISE_HU or failed >= _GIVE_UP:
            break
        grown = _grown((above > part * rise) & (above < most) & inside, inside, seed, step_mm)
        if grown is None:
            failed += bool(out)
        elif not out or not np.array_equal(grown, out[-1]):
            out.append(grown)
            failed = 0
    return sorted(out, key=lambda mask: int(mask.sum()))


def box_of(mask: Mask, margin: int) -> Box:
    """The smallest box around a mask that is not empty, `margin` voxels wider on each side."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    k, j, i = (
        slice(max(s.start - margin, 0), min(s.stop + margin, n))
        for s, n in zip(found, mask.shape, strict=True)
    )
    return k, j, i


def _grown(dense: Mask, inside: Mask, seed: Place, step_mm: float) -> Mask | None:
    if not dense[seed]:
        return None
    parts, _ = ndimage.label(dense)
    region = parts == parts[seed]
    box = box_of(region, 1)
    own = ndimage.binary_fill_holes(np.pad(region[box], 1))
    # An opening must not round off where the nodule meets the wall.
    joined = own | np.pad(~inside[box], 1, constant_values=False)
    depth = ndimage.distance_transform_edt(joined) * step_mm
    at = tuple(p - s.start + 1 for p, s in zip(seed, box, strict=True))
    for part in _NECK_PARTS:
        opened = _round(_opened(own, depth, at, part, step_mm), step_mm)
        if _is_compact(opened, step_mm):
            break
    else:
        return None
    out: Mask = np.zeros(dense.shape, np.bool_)
    out[box] = opened[1:-1, 1:-1, 1:-1]
    return out


def _opened(own: Mask, depth: Doubles, at: tuple[int, ...], part: float, step_mm: float) -> Mask:
    """The region without what hangs on its middle by a neck thinner than a part of its depth."""
    close = tuple(slice(max(p - 2, 0), p + 3) for p in at)
    neck = min(part * float(depth[close].max()), _MOST_NECK_MM)
    pieces, _ = ndimage.label((depth > neck) & own)
    number = pieces[at] or int(np.max(pieces[close]))
    if not number:
        return own
    kernel = pieces == number
    tight = box_of(kernel, int(np.ceil(neck / step_mm)) + 1)
    opened = np.zeros_like(own)
    reach = ndimage.distance_transform_edt(~kernel[tight]) * step_mm <= neck + 0.5 * step_mm
    opened[tight] = own[tight] & reach
    return opened


def _round(mask: Mask, step_mm: float) -> Mask:
    """The region without what lies far outside the largest ball in it: vessels as wide as the nodule."""
    box = box_of(mask, 0)
    inside = ndimage.distance_transform_edt(np.pad(mask[box], 1))[1:-1, 1:-1, 1:-1] * step_mm
    radius = float(inside.max())
    away = ndimage.distance_transform_edt(inside < radius - 0.5 * step_mm) * step_mm
    out = np.zeros_like(mask)
    out[box] = mask[box] & (away <= _MOST_AWAY * radius + _ROOM_MM)
    return out


def _is_compact(mask: Mask, step_mm: float) -> bool:
    box = box_of(mask, 1)
    ball = 2.0 * float(ndimage.distance_transform_edt(np.pad(mask[box], 1)).max()) * step_mm
    wide = float(np.cbrt(6 / np.pi * float(mask.sum()))) * step_mm
    return wide <= _MOST_SPREAD * ball
