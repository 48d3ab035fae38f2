"""Two visits brought to the middle between them, each resampled once, with the scanner's scale taken from
the skull.

The brain says how the head lay; the skull, which does not change, says how much larger the second scanner
shows it (SIENA: Smith et al., NeuroImage 2002;17:479), by an affine fit to what lies around the brain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.errors import BadInput
from hounsfield.steps.brain.align import Fit, Seen, aligned, halves
from hounsfield.steps.brain.sampling import Shape, between, cubic, linear, spline_of
from hounsfield.steps.brain.skull import Skull, skull_between
from hounsfield.steps.brain.tissue import Levels
from hounsfield.steps.brain.visit import Measured

__all__ = ["Halfway", "Laid", "brought_halfway", "hull_of_other", "lay"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
LEAST_AGREEMENT = 0.85
MOST_SCALE = 0.03


@dataclass(frozen=True)
class Laid:
    """How the second visit lies to the first: LPS mm to LPS mm with the skull's scale; `scale` is its volume
    ratio.

    `scale_spread` is how far the natural logarithm of `scale` may stray (one deviation), `agreement` the
    correlation of the brains' values, `residual` the robust difference between them in parts of white matter.
    """

    matrix: Doubles
    scale: float
    scale_spread: float
    agreement: float
    residual: float


@dataclass(frozen=True)
class Halfway:
    """Both visits on one grid (K, J, I) of 1 mm in the middle: even images, hulls, ventricles, fields of
    view.
    """

    affine: Doubles
    first: Floats
    second: Floats
    hulls: tuple[Bools, Bools]
    ventricles: tuple[Bools, Bools]
    seen: Bools
    laid: Laid
    levels: tuple[Levels, Levels]


def lay(first: Measured, second: Measured, *, one_scanner: bool = True) -> Laid:
    """Find how two visits of a patient lie to each other.

    `one_scanner` says how much stretch is believed of the skull. Raises BadInput where their brains or
    skulls do not fit: two patients, or a scan of something else.
    """
    coarse = [_brain_seen(m, blur_mm=4.0, every=3) for m in (first, second)]
    fine = [_brain_seen(m, blur_mm=1.2, every=1) for m in (first, second)]
    start = np.eye(4)
    start[:3, 3] = _middle(second) - _middle(first)
    fit = aligned(coarse[0], coarse[1], start, step_mm=6.0, rounds=40, robust=False)
    fit = aligned(fine[0], fine[1], fit.matrix, step_mm=4.0, rounds=15)
    fit = aligned(fine[0], fine[1], fit.matrix, step_mm=2.5, rounds=8)
    skull = skull_between(first, second, fit.matrix, one_scanner=one_scanner)
    _refuse_strangers(fit, skull)
    final = aligned(fine[0], fine[1], skull.matrix, step_mm=2.5, rounds=8)
    return Laid(final.matrix, skull.believed, skull.spread, final.correlation, final.residual)


def hull_of_other(m: Measured, other: Measured) -> Bools:
    """Where the brain that was found at another visit lies in this one's upright head, (K, J, I)."""
    own = between(m.head.affine, other.head.affine, lay(m, other).matrix)
    return np.asarray(linear(other.found.hull.astype(np.float32), own, m.head.data.shape) > 0.5)


def _refuse_strangers(brain: Fit, skull: Skull) -> None:
    if brain.correlation < LEAST_AGREEMENT or skull.stretch > MOST_SCALE:
        raise BadInput(
            f"the brains or skulls of two visits do not fit each other (correlation {brain.correlation:.2f}, "
            f"skulls {100 * skull.stretch:.1f} % apart); expected visits of one patient; "
            "check whose scans they are"
        )


def _brain_seen(m: Measured, *, blur_mm: float, every: int) -> Seen:
    # Smoothed, and as coarse as that allows.
    step = m.head.step_mm
    data = ndimage.gaussian_filter(np.minimum(m.found.even, 1.2), blur_mm / step, truncate=3.0)
    few = (slice(None, None, every),) * 3
    grow = max(1, round(3.0 * blur_mm / (step * every)))
    weight = ndimage.binary_dilation(m.found.hull[few], iterations=grow) & m.head.seen[few]
    affine = m.head.affine.copy()
    affine[:3, :3] *= every
    return Seen(np.ascontiguousarray(data[few]), affine, weight.astype(np.float32))


def _middle(m: Measured) -> Doubles:
    middle: Doubles = m.head.places(np.array([ndimage.center_of_mass(m.found.hull)]))[0]
    return middle


def brought_halfway(first: Measured, second: Measured, laid: Laid, *, step_mm: float = 1.0) -> Halfway:
    """Resample each visit once, from the scanner's own voxels, onto a grid in the middle."""
    moves = halves(laid.matrix)
    grid, shape = _grid(first, second, moves, step_mm)
    images, hulls, rooms = [], [], []
    seen = np.ones(shape, bool)
    for m, move in zip((first, second), moves, strict=True):
        native = between(grid, m.image.affine, move)
        image = cubic(spline_of(m.image.data[0]), native, shape)
        image *= np.float32(m.found.scale)
        image /= m.found.field.on(grid, shape, move)
        images.append(image)
        own = between(grid, m.head.affine, move)
        hulls.append(linear(m.found.hull.astype(np.float32), own, shape) > 0.5)
        rooms.append(linear(m.ventricles.astype(np.float32), own, shape) > 0.5)
        seen &= linear(m.head.seen.astype(np.float32), own, shape) > 0.99
    both = first.found.levels, second.found.levels
    return Halfway(grid, images[0], images[1], (hulls[0], hulls[1]), (rooms[0], rooms[1]), seen, laid, both)


def _grid(
    first: Measured, second: Measured, moves: tuple[Doubles, Doubles], step_mm: float
) -> tuple[Doubles, Shape]:
    ends = []
    for m, move in zip((first, second), moves, strict=True):
        places = m.head.places(np.argwhere(m.found.hull[::3, ::3, ::3]) * 3.0)
        there = places @ np.linalg.inv(move)[:3, :3].T + np.linalg.inv(move)[:3, 3]
        ends.append((there.min(0) - 14.0, there.max(0) + 14.0))
    low, high = 0.5 * (ends[0][0] + ends[1][0]), 0.5 * (ends[0][1] + ends[1][1])
    half = np.ceil(0.5 * (high - low) / step_mm).astype(int)
    grid = np.diag([step_mm, step_mm, step_mm, 1.0])
    grid[:3, 3] = 0.5 * (low + high) - half * step_mm
    return grid, tuple(int(2 * h + 1) for h in half[::-1])  # type: ignore[return-value]
