"""A head at one moment, and what a grid of voxels sees of it: intensity, labels, parts of tissue, volumes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hounsfield.applications.brain_mri.atrophy import MOVES
from hounsfield.applications.brain_mri.brain import BOX, Brain, Folds
from hounsfield.applications.brain_mri.head import AROUND, Head
from hounsfield.applications.brain_mri.shapes import Floats
from hounsfield.applications.brain_mri.tissue import GREY, LABELS, TISSUES, WHITE, measure, see

__all__ = ["Scene", "View", "Voxels", "measured", "scene_of", "seen"]

Doubles = npt.NDArray[np.float64]
_SIDES = np.array([LABELS[t] for t in TISSUES], np.uint8)
_KINDS = np.array(
    [1 if t in ("csf", "ventricle") else 2 if t in GREY else 3 if t in WHITE else 0 for t in TISSUES],
    np.int64,
)


class Scene(NamedTuple):
    """Fields around and inside the skull, what moved (z, y, x, 3) and receded in mm, lesions (n, 6).

    `grids` holds origin and step of the fields and of the displacement.
    """

    around: Floats
    inside: Floats
    move: Floats
    lesions: Doubles
    grids: Doubles
    folds: Folds
    recede: float


class View(NamedTuple):
    """From voxel (i, j, k) to the atlas: to the scanner (3, 4), its distortion (6,), to the head (3, 4).

    The distortion is a scale along x, y, z, and what is added to it at 100 mm from the isocentre.
    """

    to_scanner: Doubles
    distortion: Doubles
    to_head: Doubles


class Voxels(NamedTuple):
    """What a grid sees: intensity (K, J, I), labels; parts of CSF, grey, white, lesion (4, K, J, I)."""

    intensity: Floats
    labels: npt.NDArray[np.uint8]
    parts: Floats


def scene_of(
    head: Head,
    brain: Brain,
    *,
    move: Floats | None = None,
    lesions: Doubles | None = None,
    recede_mm: float = 0.0,
) -> Scene:
    """The head as it is, or with its brain moved, its cortex receded and lesions in it."""
    still = np.zeros((*MOVES.shape, 3), np.float32)
    return Scene(
        head.fields,
        brain.fields,
        still if move is None else move,
        np.zeros((0, 6)) if lesions is None else lesions,
        np.array([(*grid.origin_mm, grid.step_mm) for grid in (AROUND, BOX, MOVES)]),
        brain.folds,
        recede_mm,
    )


def spots(side: int = 0) -> Doubles:
    """Points in a voxel (n, 4): offsets in parts of it, and how wide each one's box is; four, or side**3.

    >>> spots().shape, spots(3).shape, spots(3)[:, :3].mean(0).round(9).tolist()
    ((4, 4), (27, 4), [0.0, 0.0, 0.0])
    """
    if side == 0:  # the corners of a tetrahedron
        return np.array([[1, 1, 1, 2.4], [1, -1, -1, 2.4], [-1, 1, -1, 2.4], [-1, -1, 1, 2.4]]) / 4
    along = (np.arange(side) + 0.5) / side - 0.5
    places = np.stack(np.meshgrid(along, along, along, indexing="ij"), -1).reshape(-1, 3)
    return np.column_stack([places, np.full(len(places), 1.0 / side)])


def seen(
    scene: Scene, view: View, shape: tuple[int, int, int], *, values: Doubles, grains: Doubles
) -> Voxels:
    """What voxels (K, J, I) see of a head; `values` and `grains` are each tissue's mean and its unrest.

    A voxel that a boundary crosses is the mean of four points in it.
    """
    size = float(np.linalg.norm(view.to_head[:, :3] @ view.to_scanner[:, :3], axis=0).mean())
    intensity, labels = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    parts = np.zeros((4, *shape), np.float32)
    see(view, scene, values, grains, _SIDES, _KINDS, spots(), size, intensity, labels, parts)
    return Voxels(intensity, labels, parts)


def measured(scene: Scene, *, step_mm: float = 1.0, side: int = 0, shift: float = 0.0) -> dict[str, Doubles]:
    """The volume of each tissue (left, right) in mm3 of the atlas frame, summed over a grid of that step.

    A voxel that a boundary crosses is the mean of four points in it, or of side**3. `shift` moves the grid by
    so much of a step, which shows how far the sum depends on the grid.
    """
    low, high = np.array([-71.5, -106.0, -74.0]), np.array([71.5, 76.0, 84.0])
    counts = np.ceil((high - low) / step_mm).astype(int)
    start = -0.5 * (counts - 1) * step_mm + 0.5 * (low + high) + shift * step_mm
    view = View(np.column_stack([np.eye(3) * step_mm, start]), np.zeros(6), np.eye(3, 4))
    sums = np.zeros((22, 2))
    measure(scene, view, (int(counts[2]), int(counts[1]), int(counts[0])), spots(side), step_mm, sums)
    return {name: sums[n] * step_mm**3 for n, name in enumerate(TISSUES) if n >= 6}
