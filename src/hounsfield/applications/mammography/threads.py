"""The threads of the breast: ducts converge on the nipple, ligaments run to the skin, vessels wander.

Ducts branch as in the phantom of Bakic et al., Med Phys 2002;29:2131; the ligaments of Cooper hang
the gland on the skin. They are curves in space, so that both views show the same ones.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hounsfield.applications.mammography.anatomy import Breast, Floats

__all__ = ["threads"]

_STRIDE_MM = 0.3  # between two points of a thread


@lru_cache(maxsize=8)  # both views of a breast show the same threads
def threads(breast: Breast) -> tuple[tuple[Floats, Floats, float], ...]:
    """Threads by width: points (n, 3) as (behind, lateral, superior), volume (n,) in mm3, width in mm.

    >>> from hounsfield.applications.mammography.anatomy import sample_breasts
    >>> left, _ = sample_breasts(np.random.default_rng(0), density="b")
    >>> [points.shape[1] for points, volume_mm3, width_mm in threads(left)]
    [3, 3]
    """
    rng = np.random.default_rng([breast.seed, 2])
    ducts = [_points(curves, section_mm2=1.8) for curves in _ducts(breast, rng)]
    ligaments = _points(_ligaments(breast, rng), section_mm2=1.1)
    points, volume_mm3 = zip(*ducts, ligaments, strict=True)
    vessels = _points(_vessels(breast, rng), section_mm2=3.0)
    return (np.concatenate(points), np.concatenate(volume_mm3), 0.36), (*vessels, 0.6)


def _points(curves: Floats, *, section_mm2: float) -> tuple[Floats, Floats]:
    # Curves (n, steps, 3) as points and the volume of each, which no view changes.
    fade = np.linspace(1.2, 0.4, curves.shape[1], dtype=np.float32)
    volume_mm3 = np.broadcast_to(fade * section_mm2 * _STRIDE_MM, curves.shape[:2])
    return curves.reshape(-1, 3), volume_mm3.ravel().astype(np.float32)


def _walk(
    rng: np.random.Generator, start: Floats, heading: Floats, *, length_mm: float, wander: float
) -> Floats:
    # Curves (n, steps, 3): a heading that drifts smoothly.
    steps = int(length_mm / _STRIDE_MM)
    drift = rng.standard_normal((len(start), 3, 3), dtype=np.float32) * np.float32(wander)
    t = np.linspace(0, 1, steps, dtype=np.float32)
    waves = np.stack([t, np.sin(5 * t), np.sin(11 * t + 1)], 0)
    direction = heading[:, None, :] + np.einsum("ndk,ks->nsd", drift, waves)
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    path = start[:, None, :] + np.cumsum(direction, axis=1) * np.float32(_STRIDE_MM)
    return path.astype(np.float32)


def _headings(rng: np.random.Generator, n: int, *, behind: float, spread: float) -> Floats:
    # Directions (n, 3) about the axis that runs from the nipple to the chest wall.
    across = rng.normal(0, spread, (n, 2))
    return np.column_stack([np.full(n, behind), across]).astype(np.float32)


def _ducts(breast: Breast, rng: np.random.Generator) -> list[Floats]:
    length = 0.6 * breast.depth_mm
    heading = _headings(rng, 14, behind=1.0, spread=0.55)
    trunks = _walk(rng, np.zeros((14, 3), np.float32), heading, length_mm=length, wander=0.2)
    parent = trunks[rng.integers(0, 14, 46), rng.integers(20, trunks.shape[1], 46)]
    side = _headings(rng, 46, behind=1.0, spread=0.9)
    return [trunks, _walk(rng, parent, side, length_mm=0.45 * length, wander=0.3)]


def _ligaments(breast: Breast, rng: np.random.Generator) -> Floats:
    n = 170
    behind = rng.uniform(0.04, 0.95, n) * breast.depth_mm
    spread = rng.normal(0, 0.55, (n, 2)) * breast.half_width_mm
    start = np.column_stack([behind, spread]).astype(np.float32)
    heading = _headings(rng, n, behind=-0.9, spread=0.75)
    heading[:, 0] += rng.normal(0, 0.8, n)
    return _walk(rng, start, heading, length_mm=20.0, wander=0.5)


def _vessels(breast: Breast, rng: np.random.Generator) -> Floats:
    n = int(rng.integers(2, 5))
    side = rng.uniform(-0.75, 0.75, (n, 2)) * breast.half_width_mm
    start = np.column_stack([np.full(n, 0.95 * breast.depth_mm), side]).astype(np.float32)
    heading = _headings(rng, n, behind=-1.0, spread=0.25)
    return _walk(rng, start, heading, length_mm=0.8 * breast.depth_mm, wander=0.25)
