"""Rotation, tilt, shear, zoom, mirroring and shift multiplied into one matrix from output to input voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["affine_matrices", "inverse_affine", "place"]

Real = NDArray[np.float64]


def affine_matrices(
    shape: Sequence[int],
    *,
    rotation_deg: Real,
    tilt_deg: Real,
    shear_deg: Real,
    zoom: Real,
    flipped: NDArray[np.bool_],
    shift: Real,
    order: NDArray[np.int64] | None = None,
    spacing_mm: Sequence[float] | None = None,
) -> Real:
    """Matrices (N, d, d + 1) that take a voxel of the changed image to the voxel of the image it shows.

    Axes are those of the array, (j, i) or (k, j, i). What the image shows is turned by `rotation_deg`
    (counter-clockwise as displayed, rows downwards), in a volume then by the two tilts `tilt_deg` (N, 2)
    about its axes i and j, sheared (columns lean by `shear_deg`), enlarged by `zoom`, mirrored along the
    axes where `flipped` (N, d), all about the middle of the image, and moved by `shift` (N, d) of its size
    towards higher indices. Last, axis a of the changed image shows axis `order` (N, d) [a], of equal length.
    With `spacing_mm` of the axes, turning and shearing are those of millimetres.

    >>> still = dict(tilt_deg=np.zeros((1, 2)), shear_deg=np.zeros(1), shift=np.zeros((1, 2)))
    >>> turned = affine_matrices((3, 3), rotation_deg=np.array([90.0]), zoom=np.ones(1),
    ...                          flipped=np.zeros((1, 2), bool), **still)
    >>> place(turned[0], np.array([[0.0, 1.0]])).round(9).tolist()  # the top shows what was on the right
    [[1.0, 2.0]]
    """
    n, d = len(zoom), len(shape)
    angle, lean = np.radians(rotation_deg), np.tan(np.radians(shear_deg))
    cos, sin = np.cos(angle), np.sin(angle)
    square = np.zeros((n, d, d))
    square[:, 0, 0] = 1
    square[:, -2, -1], square[:, -1, -1] = sin, cos
    if d == 3 and tilt_deg.any():
        square[:, -2, -2], square[:, -1, -2] = cos, -sin
        square = square @ _turn(n, 0, 1, tilt_deg[:, 0]) @ _turn(n, 0, 2, tilt_deg[:, 1])
        square[:, :, -2] += square[:, :, -1] * lean[:, None]
    else:
        square[:, -2, -2], square[:, -1, -2] = cos + sin * lean, cos * lean - sin
    if spacing_mm is not None:
        sides = np.asarray(spacing_mm, np.float64)
        square *= sides / sides[:, None]
    square *= (np.where(flipped, -1.0, 1.0) / zoom[:, None])[:, None, :]
    size = np.asarray(shape, np.float64)
    middle = (size - 1) / 2
    made = np.empty((n, d, d + 1))
    made[:, :, :d] = square
    made[:, :, d] = middle - (square @ (middle + shift * size)[..., None])[..., 0]
    if order is not None:
        made[:, :, :d] = np.take_along_axis(made[:, :, :d], order[:, None], 2)
    return made


def inverse_affine(matrix: Real) -> Real:
    """The matrices (…, d, d + 1) of the way back.

    >>> inverse_affine(np.array([[2.0, 0, 3], [0, 1, 0]])).tolist()
    [[0.5, 0.0, -1.5], [0.0, 1.0, 0.0]]
    """
    square = np.linalg.inv(matrix[..., :-1]) + 0.0  # no negative zeros
    return np.concatenate((square, 0.0 - square @ matrix[..., -1:]), -1)


def place(matrix: Real, points: Real) -> Real:
    """Points (n, d) under one matrix (d, d + 1)."""
    return points @ matrix[:, :-1].T + matrix[:, -1]


def _turn(n: int, first: int, second: int, angle_deg: Real) -> Real:
    """Rotations (N, 3, 3) in the plane of two axes."""
    angle = np.radians(angle_deg)
    made = np.zeros((n, 3, 3))
    made[:] = np.eye(3)
    made[:, first, first] = made[:, second, second] = np.cos(angle)
    made[:, first, second] = np.sin(angle)
    made[:, second, first] = -made[:, first, second]
    return made
