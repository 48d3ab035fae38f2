"""How much larger one scanner shows a head than another, from the skull, which does not change.

Both heads are brought half-way by a rigid fit of their brains. What lies around the brain is freed of the
smooth difference of light, fitted by an affine transform (SIENA: Smith et al., NeuroImage 2002;17:479), and
its stretch is believed as far as it is sure: one scanner keeps its scale to a thousandth or so, two differ
by more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.steps.brain.align import Seen, aligned, halves
from hounsfield.steps.brain.sampling import Shape, between, linear
from hounsfield.steps.brain.visit import Measured

__all__ = ["Skull", "skull_between"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
_SHELL_MM = (3.0, 24.0)  # from the brain outwards: CSF's rim, skull and scalp
_LOWEST = 0.35  # of the brain's height: below lie jaw, neck and sinuses, which move
_STEP_MM, _LIGHT_MM = 1.5, 15.0
ONE_SCANNER, TWO_SCANNERS = 0.0005, 0.004
"""How far the logarithm of an axis' scale may differ between scans (one deviation), before the skull is
asked.
"""
_ERROR = 0.0007
"""How far the skull's answer strays, measured on same-day pairs of the phantom (`benchmarks/atrophy.py`)."""


@dataclass(frozen=True)
class Skull:
    """`matrix` (4, 4) takes LPS mm of the first scan to the second, with the stretch that is believed.

    `found` is the ratio of volumes that the skull shows, `believed` the one in `matrix`, `spread` how far the
    logarithm of the latter may stray; `stretch` the largest along any axis.
    """

    matrix: Doubles
    found: float
    believed: float
    spread: float
    stretch: float


def skull_between(first: Measured, second: Measured, rigid: Doubles, *, one_scanner: bool) -> Skull:
    """The stretch of the second scan beside the first, after a rigid fit of the brains."""
    moves = halves(rigid)
    shells = [_shell(m) for m in (first, second)]
    grid, shape = _grid(first, second, moves)
    seen = []
    for m, (data, weight), move in zip((first, second), shells, moves, strict=True):
        matrix = between(grid, m.head.affine, move)
        seen.append(Seen(linear(data, matrix, shape), grid, linear(weight, matrix, shape)))
    fit = aligned(*_same_light(seen[0], seen[1]), np.eye(4), freedom="affine", step_mm=2.0, rounds=12)
    turn, stretch = _polar(fit.matrix[:3, :3])
    prior = ONE_SCANNER if one_scanner else TWO_SCANNERS
    belief = prior**2 / (prior**2 + _ERROR**2)
    values, axes = np.linalg.eigh(stretch)
    kept = np.eye(4)
    kept[:3, :3] = turn @ (axes * np.exp(belief * np.log(values))) @ axes.T
    kept[:3, 3] = fit.matrix[:3, 3]
    return Skull(
        matrix=moves[1] @ kept @ np.linalg.inv(moves[0]),
        found=float(np.prod(values)),
        believed=float(np.prod(values) ** belief),
        spread=float(np.sqrt(3 * belief) * _ERROR),
        stretch=float(np.abs(np.log(values)).max()),
    )


def _polar(matrix: Doubles) -> tuple[Doubles, Doubles]:
    # A turn after a symmetric stretch.
    u, s, v = np.linalg.svd(matrix)
    return u @ v, (v.T * s) @ v


def _shell(m: Measured) -> tuple[Floats, Floats]:
    step = m.head.step_mm
    # Half the voxels suffice to say how far away the brain is.
    away = ndimage.distance_transform_edt(~m.found.hull[::2, ::2, ::2], 2 * step)
    shell = (away > _SHELL_MM[0]) & (away < _SHELL_MM[1])
    rows = np.flatnonzero(m.found.hull[::2].any((1, 2)))
    shell[: int(rows[0] + _LOWEST * (rows[-1] - rows[0]))] = False
    for axis in range(3):
        shell = np.repeat(shell, 2, axis)
    shape = m.found.hull.shape
    weight = (shell[: shape[0], : shape[1], : shape[2]] & m.head.seen).astype(np.float32)
    return ndimage.gaussian_filter(np.minimum(m.found.even, 1.6), 0.9 / step), weight


def _grid(first: Measured, second: Measured, moves: tuple[Doubles, Doubles]) -> tuple[Doubles, Shape]:
    ends = []
    for m, move in zip((first, second), moves, strict=True):
        back = np.linalg.inv(move)
        places = m.head.places(np.argwhere(m.found.hull[::3, ::3, ::3]) * 3.0) @ back[:3, :3].T + back[:3, 3]
        ends.append((places.min(0) - 27.0, places.max(0) + 27.0))
    low, high = 0.5 * (ends[0][0] + ends[1][0]), 0.5 * (ends[0][1] + ends[1][1])
    half = np.ceil(0.5 * (high - low) / _STEP_MM).astype(int)
    grid = np.diag([_STEP_MM, _STEP_MM, _STEP_MM, 1.0])
    grid[:3, 3] = 0.5 * (low + high) - half * _STEP_MM
    x, y, z = (int(2 * n + 1) for n in half)
    return grid, (z, y, x)


def _same_light(first: Seen, second: Seen) -> tuple[Seen, Seen]:
    # The ratio of local sums does not heed where edges lie, only how bright what they enclose is.
    weight = first.weight * second.weight
    every = (slice(None, None, 2),) * 3
    sums = [
        ndimage.gaussian_filter(
            ndimage.uniform_filter(image.data * weight, 2)[every], 0.5 * _LIGHT_MM / _STEP_MM, truncate=3.0
        )
        for image in (first, second)
    ]
    least = 1e-3 * max(float(s.max()) for s in sums)
    half = np.sqrt((sums[0] + least) / (sums[1] + least)).astype(np.float32)
    coarse = np.diag([0.5, 0.5, 0.5])
    depth, height, width = first.data.shape
    place = np.concatenate([coarse, np.full((3, 1), 0.25)], 1)
    back = linear(half, place, (depth, height, width), beyond=1.0)
    return first._replace(data=first.data / back), second._replace(data=second.data * back)
