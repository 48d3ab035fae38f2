"""Tubes that taper (vessels, airways, the aorta, spicules), and what part of each voxel they fill."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hounsfield.core.compiled import compiled

__all__ = ["chain", "distance_to", "fill_tubes"]

Doubles = npt.NDArray[np.float64]
_FINE = 3  # samples a side of a voxel


def chain(points_mm: Doubles, radii_mm: Doubles) -> Doubles:
    """Tubes (n - 1, 8) along n points (n, 3): start, end, radius at each.

    >>> chain(np.zeros((3, 3)), np.array([3.0, 2.0, 1.0])).shape
    (2, 8)
    """
    return np.column_stack([points_mm[:-1], points_mm[1:], radii_mm[:-1], radii_mm[1:]])


def distance_to(points_mm: Doubles, tubes: Doubles) -> Doubles:
    """Distance (n, m) of points (n, 3) to the surfaces of tubes (m, 8); negative inside.

    >>> tube = chain(np.array([[0.0, 0, 0], [0, 0, 10]]), np.array([2.0, 2.0]))
    >>> distance_to(np.array([[5.0, 0, 5], [0, 0, 13]]), tube).ravel().tolist()
    [3.0, 1.0]
    """
    start, along = tubes[:, :3], tubes[:, 3:6] - tubes[:, :3]
    offset = points_mm[:, None] - start
    square = np.maximum((along**2).sum(1), 1e-12)
    part = np.clip((offset * along).sum(2) / square, 0.0, 1.0)
    gap = np.linalg.norm(offset - part[..., None] * along, axis=2)
    distances: Doubles = gap - (tubes[:, 6] + part * (tubes[:, 7] - tubes[:, 6]))
    return distances


@compiled
def _fill(tubes, origin, spacing, fine, out):  # type: ignore[no-untyped-def]
    shape = out.shape
    reach = 0.5 * math.sqrt(spacing[0] ** 2 + spacing[1] ** 2 + spacing[2] ** 2)
    for n in range(tubes.shape[0]):
        t = tubes[n]
        widest = max(t[6], t[7])
        ax, ay, az = t[3] - t[0], t[4] - t[1], t[5] - t[2]
        square = max(ax * ax + ay * ay + az * az, 1e-12)
        low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for axis in range(3):  # x, y, z
            size = shape[2 - axis]
            near = min(t[axis], t[axis + 3]) - widest - spacing[axis]
            far = max(t[axis], t[axis + 3]) + widest + spacing[axis]
            low[axis] = max(0, math.floor((near - origin[axis]) / spacing[axis]))
            high[axis] = min(size - 1, math.ceil((far - origin[axis]) / spacing[axis]))
        for k in range(low[2], high[2] + 1):
            for j in range(low[1], high[1] + 1):
                for i in range(low[0], high[0] + 1):
                    if out[k, j, i] >= 1.0:
                        continue
                    x = origin[0] + i * spacing[0] - t[0]
                    y = origin[1] + j * spacing[1] - t[1]
                    z = origin[2] + k * spacing[2] - t[2]
                    part = min(max((x * ax + y * ay + z * az) / square, 0.0), 1.0)
                    gap = math.sqrt((x - part * ax) ** 2 + (y - part * ay) ** 2 + (z - part * az) ** 2)
                    gap -= t[6] + part * (t[7] - t[6])
                    if gap > reach:
                        continue
                    if gap < -reach:
                        out[k, j, i] = 1.0
                        continue
                    hits = 0
                    for a in range(fine):
                        dx = x + spacing[0] * ((a + 0.5) / fine - 0.5)
                        for b in range(fine):
                            dy = y + spacing[1] * ((b + 0.5) / fine - 0.5)
                            for c in range(fine):
                                dz = z + spacing[2] * ((c + 0.5) / fine - 0.5)
                                part = min(max((dx * ax + dy * ay + dz * az) / square, 0.0), 1.0)
                                radius = t[6] + part * (t[7] - t[6])
                                far2 = (dx - part * ax) ** 2 + (dy - part * ay) ** 2 + (dz - part * az) ** 2
                                if far2 < radius * radius:
                                    hits += 1
                    filled = hits / fine**3
                    if filled > out[k, j, i]:
                        out[k, j, i] = filled


def fill_tubes(
    tubes: Doubles, shape: tuple[int, int, int], *, origin_mm: Doubles, spacing_mm: Doubles
) -> npt.NDArray[np.float32]:
    """What part of each voxel (K, J, I) lies in a tube; of several tubes the fullest counts.

    `origin_mm` and `spacing_mm` are along x, y, z, the origin at the centre of the first voxel.

    >>> tube = chain(np.array([[0.4, -0.2, 0], [0.4, -0.2, 20]]), np.array([3.0, 3.0]))
    >>> part = fill_tubes(tube, (11, 9, 9), origin_mm=np.array([-8.0, -8, 0]), spacing_mm=np.full(3, 2.0))
    >>> area = part[5].sum() * 4
    >>> bool(abs(area - np.pi * 9) < 1.5)
    True
    """
    out = np.zeros(shape, np.float32)
    if len(tubes):
        _fill(np.ascontiguousarray(tubes), origin_mm, spacing_mm, _FINE, out)
    return out
