"""Slices cut through a volume in any direction, compiled: nearest voxel or linear between eight."""

from __future__ import annotations

from typing import Any

import numpy as np

from hounsfield.core.compiled import compiled

__all__ = ["linear_plane", "nearest_plane"]


@compiled
def nearest_plane(source: Any, start: Any, steps: Any, beyond: Any, out: Any) -> None:
    """Fill `out` (J, I): its voxel (j, i) lies at start + steps @ (j, i) of `source` (K, J, I)."""
    depth, height, width = source.shape
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            z = np.floor(start[0] + steps[0, 0] * j + steps[0, 1] * i + 0.5)
            y = np.floor(start[1] + steps[1, 0] * j + steps[1, 1] * i + 0.5)
            x = np.floor(start[2] + steps[2, 0] * j + steps[2, 1] * i + 0.5)
            if 0 <= z < depth and 0 <= y < height and 0 <= x < width:
                out[j, i] = source[int(z), int(y), int(x)]
            else:
                out[j, i] = beyond


@compiled
def linear_plane(source: Any, start: Any, steps: Any, beyond: Any, out: Any) -> None:
    """The same between the eight voxels around each place; within half a voxel of the edge as at the edge."""
    depth, height, width = source.shape
    one = np.float32(1)
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            z = start[0] + steps[0, 0] * j + steps[0, 1] * i
            y = start[1] + steps[1, 0] * j + steps[1, 1] * i
            x = start[2] + steps[2, 0] * j + steps[2, 1] * i
            if not (-0.5 <= z < depth - 0.5 and -0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5):
                out[j, i] = beyond
                continue
            z = min(max(z, 0.0), depth - 1.0)
            y = min(max(y, 0.0), height - 1.0)
            x = min(max(x, 0.0), width - 1.0)
            k, r, c = int(z), int(y), int(x)
            above, below, after = min(k + 1, depth - 1), min(r + 1, height - 1), min(c + 1, width - 1)
            w, v, u = np.float32(z - k), np.float32(y - r), np.float32(x - c)
            near = (source[k, r, c] * (one - u) + source[k, r, after] * u) * (one - v) + (
                source[k, below, c] * (one - u) + source[k, below, after] * u
            ) * v
            far = (source[above, r, c] * (one - u) + source[above, r, after] * u) * (one - v) + (
                source[above, below, c] * (one - u) + source[above, below, after] * u
            ) * v
            out[j, i] = near * (one - w) + far * w
