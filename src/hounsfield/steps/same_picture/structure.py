"""The fine structure of a picture, without what all pictures of its set have in common.

The outline of a body, or the disc of a fundus photograph, is the strongest edge in an image and says little
of whose it is. So a plane is band-passed, its local energy evened out, and the first principal components of
the whole set (in all eight orientations, so that a mirrored copy is treated alike) are projected out. What is
left agrees between copies and hardly between patients: `benchmarks/duplicates.py` measures both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.steps.same_picture.looks import SIDE, TURNS, turned

__all__ = ["Common", "band", "blurred", "common_of", "correlation", "telling"]

Planes = NDArray[np.float32]
MOST_COMPONENTS = 8
ENOUGH = 4
SAMPLED = 600


@dataclass(frozen=True, eq=False)
class Common:
    """What the pictures of a set have in common, to be projected out: orthonormal rows (k, SIDE²)."""

    rows: NDArray[np.float32]

    @property
    def is_known(self) -> bool:
        """False where too few pictures are there to have anything in common."""
        return len(self.rows) > 0

    def without(self, planes: Planes) -> Planes:
        """The fine structure of planes (M, SIDE, SIDE) less what is common, of mean 0."""
        flat = band(planes).reshape(len(planes), -1)
        flat = flat - flat.mean(1, keepdims=True)
        return np.asarray(flat - (flat @ self.rows.T) @ self.rows).reshape(planes.shape)


def common_of(planes: NDArray[Any], *, seed: int = 0) -> Common:
    """The common part of the fine structure of planes (N, SIDE, SIDE), from as many components as images
    allow.
    """
    wanted = min(MOST_COMPONENTS, max(len(planes) // 10, int(len(planes) >= ENOUGH)))
    nothing = Common(np.zeros((0, SIDE * SIDE), np.float32))
    if not wanted:
        return nothing
    chosen = np.random.default_rng(seed).choice(len(planes), min(SAMPLED, len(planes)), replace=False)
    return Common(_components(nothing.without(planes[chosen].astype(np.float32)), wanted))


def _components(maps: Planes, wanted: int) -> NDArray[np.float32]:
    """The first principal components, not centred, in all eight orientations: orthonormal rows."""
    flat = maps.reshape(len(maps), -1)
    _, vectors = np.linalg.eigh(flat @ flat.T)
    rows = (vectors[:, ::-1][:, :wanted].T @ flat).reshape(wanted, *maps.shape[1:])
    rows /= np.maximum(np.linalg.norm(rows, axis=(1, 2), keepdims=True), 1e-9)
    every = np.concatenate([turned(rows, turn) for turn in range(len(TURNS))]).reshape(-1, flat.shape[1])
    values, vectors = np.linalg.eigh(every @ every.T)
    kept = values > 1e-3
    return np.ascontiguousarray((vectors[:, kept] / np.sqrt(values[kept])).T @ every, np.float32)


def telling(planes: Planes) -> NDArray[np.bool_]:
    """Where planes (M, SIDE, SIDE) show anything: not where all around is cut off at black or at white."""
    import cv2

    cut = ((planes < 0.004) | (planes > 0.996)).astype(np.uint8)
    return np.asarray(np.stack([cv2.erode(c, np.ones((3, 3), np.uint8)) for c in cut]) == 0)


def band(planes: Planes, *, fine: float = 0.8, coarse: float = 4.0, around: float = 4.0) -> Planes:
    """Planes (M, J, I) between two blurs (sigma in pixels), their local energy evened out."""
    import cv2

    found = np.empty(planes.shape, np.float32)
    for row, plane in enumerate(planes):
        flat = np.ascontiguousarray(plane, np.float32)
        detail = cv2.GaussianBlur(flat, (0, 0), fine) - cv2.GaussianBlur(flat, (0, 0), coarse)
        energy = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), around))
        found[row] = detail / (energy + 0.1 * energy.max() + 1e-6)
    return found


def blurred(planes: Planes, sigma: float) -> Planes:
    """Planes (M, J, I), blurred."""
    import cv2

    return np.stack([cv2.GaussianBlur(p, (0, 0), sigma) for p in planes])


def correlation(x: Planes, y: Planes, mask: Planes) -> NDArray[np.float32]:
    """Pearson's correlation (M,) of planes (M, J, I) within masks of 0 and 1."""
    count = mask.sum((1, 2)) + 1e-6
    x, y = ((p - ((p * mask).sum((1, 2)) / count)[:, None, None]) * mask for p in (x, y))
    return np.asarray((x * y).sum((1, 2)) / np.sqrt((x * x).sum((1, 2)) * (y * y).sum((1, 2)) + 1e-12))
