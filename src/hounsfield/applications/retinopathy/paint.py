"""Tubes and spots painted onto pixels: what depth of blood, or of exudate, light crosses at each."""

from __future__ import annotations

import math

import numpy as np

from hounsfield.applications.retinopathy.field import Doubles, Field, Floats
from hounsfield.core.compiled import compiled

__all__ = ["paint_spots", "paint_tubes"]

_HARMONICS = 3


def paint_tubes(pieces: Doubles, field: Field, depth: Floats, shine: Floats | None = None) -> None:
    """Raise `depth` (H, W) to that of the pieces (n, 8), 1 in the middle of a vessel 0.12 mm wide.

    A tube is deepest along its middle; of several the deepest counts. `shine` gets the reflex along the
    middle of those wider than four pixels.
    """
    if not len(pieces):
        return
    ends = np.column_stack([field.pixels(pieces[:, :2]), field.pixels(pieces[:, 2:4])])
    radii = pieces[:, 4:6] / field.mm_a_pixel
    strength = np.minimum(1.25, (pieces[:, 4] / 0.06) ** 0.55)
    rows = np.ascontiguousarray(np.column_stack([ends, radii, strength]))
    _tubes(rows, depth, depth if shine is None else shine, shine is not None)


def paint_spots(spots: Doubles, field: Field, depth: Floats) -> None:
    """Raise `depth` (H, W) to that of the spots (n, 6 + 2 * 3) of `lesions.Spots`.

    A spot is x, y in mm, radius along and across in mm, heading, softness of its rim as a part of its radius,
    and three pairs of an outline's waves: amplitude and phase.
    """
    if not len(spots):
        return
    places = field.pixels(spots[:, :2])
    heads = field.pixels(spots[:, :2] + np.column_stack([np.cos(spots[:, 4]), np.sin(spots[:, 4])]))
    heading = np.arctan2(heads[:, 1] - places[:, 1], heads[:, 0] - places[:, 0])
    rows = np.column_stack([places, spots[:, 2:4] / field.mm_a_pixel, heading, spots[:, 5:]])
    _spots(np.ascontiguousarray(rows), _HARMONICS, depth)


@compiled
def _tubes(rows, depth, shine, shines):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    for n in range(len(rows)):
        x0, y0, x1, y1, r0, r1, strength = rows[n]
        widest = max(r0, r1) + 1.0
        low_x, high_x = (
            max(0, math.floor(min(x0, x1) - widest)),
            min(width - 1, math.ceil(max(x0, x1) + widest)),
        )
        low_y, high_y = (
            max(0, math.floor(min(y0, y1) - widest)),
            min(height - 1, math.ceil(max(y0, y1) + widest)),
        )
        ax, ay = x1 - x0, y1 - y0
        square = max(ax * ax + ay * ay, 1e-9)
        for j in range(low_y, high_y + 1):
            for i in range(low_x, high_x + 1):
                part = min(max(((i - x0) * ax + (j - y0) * ay) / square, 0.0), 1.0)
                away = math.hypot(i - x0 - part * ax, j - y0 - part * ay)
                radius = r0 + part * (r1 - r0)
                cover = min(max(radius + 0.5 - away, 0.0), 1.0) * min(1.0, 2 * radius)
                if cover <= 0:
                    continue
                inside = min(away / (radius + 0.5), 1.0)
                value = strength * cover * (0.35 + 0.65 * math.sqrt(1 - inside * inside))
                if value > depth[j, i]:
                    depth[j, i] = value
                if shines and radius > 2.0:
                    gleam = math.exp(-((away / (0.30 * radius)) ** 2)) * min(1.0, radius - 2.0)
                    if gleam > shine[j, i]:
                        shine[j, i] = gleam


@compiled
def _spots(rows, harmonics, depth):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    for n in range(len(rows)):
        x, y, along, across, heading, soft = rows[n, :6]
        reach = 1.6 * max(along, across) + 2.0
        c, s = math.cos(heading), math.sin(heading)
        for j in range(max(0, math.floor(y - reach)), min(height - 1, math.ceil(y + reach)) + 1):
            for i in range(max(0, math.floor(x - reach)), min(width - 1, math.ceil(x + reach)) + 1):
                u, v = (c * (i - x) + s * (j - y)) / along, (c * (j - y) - s * (i - x)) / across
                far = math.hypot(u, v)
                angle = math.atan2(v, u)
                rim = 1.0
                for k in range(harmonics):
                    rim += rows[n, 6 + 2 * k] * math.cos((k + 2) * angle + rows[n, 7 + 2 * k])
                rim = max(rim, 0.2)
                # the rim falls from 1 to 0 over its softness, and over a pixel at least
                blur = max(soft, 1.0 / min(along, across))
                value = min(max((rim + 0.5 * blur - far) / blur, 0.0), 1.0)
                value = value * value * (3 - 2 * value) * min(1.0, 2.0 * min(along, across))
                if value > depth[j, i]:
                    depth[j, i] = value
