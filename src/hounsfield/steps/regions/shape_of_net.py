"""Grid, patch and network that fit the images: spacing, size, strides and kernels (after Isensee 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hounsfield.steps.regions.fingerprint import RegionFacts

__all__ = ["Fitted", "fitted_grid"]

Three = tuple[int, int, int]
_ANISOTROPIC = 3.0
_LEAST_CELLS = 4
_MOST_STAGES = 6
_COARSE = 48
"""An image of more patches than these at the usual spacing is made coarser, or context would be lost."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Spacing (k, j, i) or empty, patch, strides and kernels a stage, and why."""

    spacing_mm: tuple[float, ...]
    patch: Three
    strides: tuple[Three, ...]
    kernels: tuple[Three, ...]
    shape: Three
    reasons: dict[str, str]


def fitted_grid(facts: RegionFacts, *, most_voxels: int, keep_fine: bool = False) -> Fitted:
    """The grid for these images where a patch may have `most_voxels`.

    The spacing is the median of the images', of an axis that is three times as coarse as the others a tenth
    of the finest (Isensee 2021); it is made coarser where a patch would see too little of the image, unless
    `keep_fine`. The patch has the images' aspect. Axes are halved while four cells are left and while they
    are not yet twice as coarse as the finest; before that their kernels are 1.
    """
    reasons: dict[str, str] = {}
    spacing = _spacing(facts, reasons)
    shape = _shape(facts, spacing)
    if spacing and not keep_fine and (factor := _too_fine(shape, most_voxels)) > 1:
        spacing = tuple(round(s * factor, 4) for s in spacing)
        shape = _shape(facts, spacing)
        reasons["grid.spacing_mm"] += f"; {factor:.2g} times as coarse, since a patch would show too little"
    patch = _patch(shape, spacing, most_voxels)
    strides, kernels = _stages(patch, spacing)
    divisor = [math.prod(s[axis] for s in strides) for axis in range(3)]
    rounded = [max(d, math.ceil(n / d) * d) for n, d in zip(patch, divisor, strict=True)]
    patch = (rounded[0], rounded[1], rounded[2])
    whole = all(p >= n for p, n in zip(patch, shape, strict=True))
    aspect = "a patch holds it whole" if whole else "its aspect"
    reasons["grid.patch"] = (
        f"the median image has {_by(shape)} voxels there; {aspect}, at most {most_voxels:,} voxels a patch "
        "on this machine"
    )
    reasons["network.strides"] = (
        "every axis is halved while 4 cells are left and it is not coarser than the others"
    )
    return Fitted(spacing, patch, strides, kernels, shape, reasons)


def _spacing(facts: RegionFacts, reasons: dict[str, str]) -> tuple[float, ...]:
    if facts.spacings.shape[1] != 3:
        reasons["grid.spacing_mm"] = "the images do not say their spacing: their voxels are kept"
        return ()
    if facts.flat:
        held = np.unique(np.round(facts.spacings[:, 1:], 4), axis=0)
        if len(held) == 1:
            reasons["grid.spacing_mm"] = "all images have the same"
            return tuple(np.round(facts.spacings[0], 4).tolist())
    median = np.median(facts.spacings, 0)
    why = f"the median of {len(facts.spacings)} development images"
    coarse = int(np.argmax(median))
    others = np.delete(median, coarse).max()
    if median[coarse] >= _ANISOTROPIC * others:
        fine = float(np.percentile(facts.spacings[:, coarse], 10))
        median[coarse] = max(fine, float(others))
        why += "; of the coarse axis a tenth of the finest, so that thin slices are not lost"
    reasons["grid.spacing_mm"] = why
    return tuple(round(float(s), 4) for s in median)


def _shape(facts: RegionFacts, spacing: Sequence[float]) -> Three:
    """The median shape on the grid."""
    shapes = facts.shapes.astype(float)
    if spacing:
        shapes = shapes * facts.spacings / np.array(spacing)
    k, j, i = (max(1, round(float(n))) for n in np.median(shapes, 0))
    return (1 if facts.flat else k), j, i


def _too_fine(shape: Three, most_voxels: int) -> float:
    axes = 2 if shape[0] == 1 else 3
    return float(max(1.0, (math.prod(shape) / (_COARSE * most_voxels)) ** (1 / axes)))


def _patch(shape: Three, spacing: Sequence[float], most_voxels: int) -> Three:
    """The images' extent in mm shrunk until it has so few voxels; an axis stops at the image's own."""
    fine = min(spacing[1:]) if spacing else 1.0
    target = [float(n) for n in shape]
    axes = [a for a in range(3) if shape[a] > 1]
    for _ in range(64):
        if math.prod(target) <= most_voxels:
            break
        free = max(axes, key=lambda a: target[a] * (spacing[a] / fine if spacing else 1.0))
        target[free] = max(4.0, target[free] * 0.92)
    k, j, i = (max(1, round(n)) for n in target)
    return k, j, i


def _stages(patch: Three, spacing: Sequence[float]) -> tuple[tuple[Three, ...], tuple[Three, ...]]:
    held, size = list(spacing or (1.0, 1.0, 1.0)), [float(n) for n in patch]
    axes = [a for a in range(3) if patch[a] > 1]
    strides: list[Three] = [(1, 1, 1)]
    kernels: list[Three] = [_kernel(held, axes)]
    while len(strides) < _MOST_STAGES:
        finest = (
            min(held[a] for a in axes if size[a] >= 2 * _LEAST_CELLS)
            if any(size[a] >= 2 * _LEAST_CELLS for a in axes)
            else math.inf
        )
        step = [
            2 if a in axes and size[a] >= 2 * _LEAST_CELLS and held[a] < 2 * finest else 1 for a in range(3)
        ]
        if max(step) == 1:
            break
        held = [h * s for h, s in zip(held, step, strict=True)]
        size = [math.ceil(n / s) for n, s in zip(size, step, strict=True)]
        strides.append((step[0], step[1], step[2]))
        kernels.append(_kernel(held, axes))
    return tuple(strides), tuple(kernels)


def _kernel(spacing: Sequence[float], axes: Sequence[int]) -> Three:
    finest = min((spacing[a] for a in axes), default=math.inf)
    k, j, i = (3 if a in axes and spacing[a] < 2 * finest else 1 for a in range(3))
    return k, j, i


def _by(numbers: Sequence[float]) -> str:
    return "×".join(f"{n:g}" for n in numbers)
