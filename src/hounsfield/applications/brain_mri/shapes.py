"""Distances to tubes and ellipsoids, in millimetres and negative inside, and how they are joined.

Points are in the atlas frame: x to the left, y to the front, z up, zero at the anterior commissure. Shapes
are given for the left side; a point of the right side is looked up at its mirror image.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hounsfield.core.compiled import compiled

__all__ = ["Floats", "ellipsoid", "joined", "overlap", "tubes"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@compiled
def _tubes(points, ends, out):  # type: ignore[no-untyped-def]
    for n in range(points.shape[0]):
        x, y, z = abs(points[n, 0]), points[n, 1], points[n, 2]
        best = 1e9
        for m in range(ends.shape[0] - 1):
            ax, ay, az = ends[m, 0], ends[m, 1], ends[m, 2]
            dx, dy, dz = ends[m + 1, 0] - ax, ends[m + 1, 1] - ay, ends[m + 1, 2] - az
            part = ((x - ax) * dx + (y - ay) * dy + (z - az) * dz) / (dx * dx + dy * dy + dz * dz)
            part = min(max(part, 0.0), 1.0)
            dx, dy, dz = x - ax - part * dx, y - ay - part * dy, z - az - part * dz
            radius = ends[m, 3] + part * (ends[m + 1, 3] - ends[m, 3])
            best = min(best, (dx * dx + dy * dy + dz * dz) ** 0.5 - radius)
        out[n] = best


@compiled
def _ellipsoid(points, centre, radii, turn, out):  # type: ignore[no-untyped-def]
    c, s = math.cos(turn), math.sin(turn)
    for n in range(points.shape[0]):
        x, y, z = abs(points[n, 0]) - centre[0], points[n, 1] - centre[1], points[n, 2] - centre[2]
        x, y, z = (c * x + s * y) / radii[0], (c * y - s * x) / radii[1], z / radii[2]
        far = math.sqrt(x * x + y * y + z * z)
        x, y, z = x / radii[0], y / radii[1], z / radii[2]
        steep = math.sqrt(x * x + y * y + z * z)
        out[n] = far * (far - 1.0) / steep if steep > 1e-6 else -radii.min()


def tubes(points: Floats, ends: npt.ArrayLike) -> Floats:
    """Distance of points (n, 3) to a chain of tubes through ends (m, 4): x, y, z and radius.

    >>> tubes(np.array([[0.0, 0, 5], [10, 0, 1]], np.float32), [[0, 0, 0, 2.0], [20, 0, 0, 4.0]])
    array([ 3., -2.], dtype=float32)
    """
    out = np.empty(len(points), np.float32)
    _tubes(points, np.asarray(ends, np.float64), out)
    return out


def ellipsoid(points: Floats, centre: npt.ArrayLike, radii: npt.ArrayLike, *, turn: float = 0.0) -> Floats:
    """About the distance of points (n, 3) to an ellipsoid, turned about z by so many radians.

    Near the surface the value is the distance up to terms of second order.

    >>> ellipsoid(np.array([[12.0, 0, 0], [-12, 0, 9]], np.float32), [12, 0, 0], [5, 6, 7])
    array([-5.,  2.], dtype=float32)
    """
    out = np.empty(len(points), np.float32)
    _ellipsoid(points, np.asarray(centre, np.float64), np.asarray(radii, np.float64), turn, out)
    return out


def joined(one: Floats, other: Floats, blend_mm: float = 0.0) -> Floats:
    """The union of two shapes; their meeting is filled over `blend_mm`."""
    low: Floats = np.minimum(one, other)
    if blend_mm > 0:
        low -= np.maximum(blend_mm - np.abs(one - other), 0) ** 2 * np.float32(0.25 / blend_mm)
    return low


def overlap(one: Floats, other: Floats, blend_mm: float = 0.0) -> Floats:
    """What two shapes have in common; the edge is rounded over `blend_mm`."""
    return -joined(-one, -other, blend_mm)
