"""What spoils a photograph: too little light or too much, defocus, a pupil missed, a lid in the way."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from hounsfield.applications.retinopathy.cameras import Camera
from hounsfield.applications.retinopathy.field import Field, Floats
from hounsfield.applications.retinopathy.fundus import smooth_noise

__all__ = ["exposed", "hidden", "light_of", "out_of_focus"]


def light_of(rng: np.random.Generator, camera: Camera, field: Field) -> Floats:
    """The light at each pixel (H, W): brightest near the middle, uneven, falling off towards the rim."""
    row, column = field.middle
    off = rng.normal(0, 0.13, 2).tolist()
    down = (np.arange(field.shape[0], dtype=np.float32) - row)[:, None] / field.radius - off[0]
    over = (np.arange(field.shape[1], dtype=np.float32) - column)[None] / field.radius - off[1]
    away = down**2 + over**2
    light: Floats = 1.03 - camera.fall_off * (0.55 * away + 0.45 * away**2)
    light *= 1 + 0.04 * smooth_noise(rng, field.shape, cells=0.45 * field.radius)
    return np.clip(light, 0.08, None).astype(np.float32)


def exposed(image: Floats, rng: np.random.Generator, fault: str) -> Floats:
    """The image (H, W, 3) with the flash far too weak or far too strong."""
    if fault == "dark":
        return image * np.float32(rng.uniform(0.10, 0.22))
    if fault == "bright":
        return image * np.float32(rng.uniform(2.1, 3.0)) + np.float32(0.12) * (image > 0.02)
    return image


def out_of_focus(image: Floats, rng: np.random.Generator, field: Field) -> Floats:
    """The image blurred by defocus and, half the time, by a movement of the eye."""
    import cv2

    spread = rng.uniform(0.020, 0.045) * field.radius
    image = cv2.GaussianBlur(image, (0, 0), spread)
    if rng.random() < 0.5:
        length = int(rng.uniform(0.05, 0.10) * field.radius) | 1
        angle = rng.uniform(0, math.pi)
        at = np.linspace(-length / 2, length / 2, 4 * length)
        kernel = np.zeros((length + 2, length + 2), np.float32)
        rows = np.rint(at * math.sin(angle) + length / 2 + 0.5).astype(int)
        columns = np.rint(at * math.cos(angle) + length / 2 + 0.5).astype(int)
        np.add.at(kernel, (rows, columns), 1.0)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    return image


def hidden(colours: Floats, rng: np.random.Generator, field: Field, *, what: Literal["pupil", "lid"]) -> None:
    """Take away what lies behind the iris of a pupil missed, or behind a lid and its lashes."""
    row, column = field.middle
    down = (np.arange(field.shape[0], dtype=np.float32) - row)[:, None] / field.radius
    over = (np.arange(field.shape[1], dtype=np.float32) - column)[None] / field.radius
    if what == "pupil":
        angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.55, 0.9)
        away = np.hypot(over - reach * math.cos(angle), down - reach * math.sin(angle))
        cover = np.clip((away - 0.80) / 0.32, 0, 1)
        cover = cover * cover * (3 - 2 * cover)
        haze = (0.20, 0.14, 0.10)
        ring = np.exp(-(((away - 0.92) / 0.10) ** 2)) * 0.35
        for channel in range(3):
            colours[channel] *= 1 - 0.94 * cover
            colours[channel] += (0.25 * cover + ring) * haze[channel]
        return
    above = rng.random() < 0.6
    edge = rng.uniform(-0.30, 0.10) + 0.22 * over**2 + 0.05 * rng.normal() * over
    way = down if above else -down
    cover = np.clip((edge - way) / 0.34 + 0.5, 0, 1)
    cover = (cover * cover * (3 - 2 * cover)).astype(np.float32)
    lashes = _lashes(rng, field, edge, above=above)
    lid = (0.74, 0.43, 0.33)
    folds = 0.80 + 0.10 * smooth_noise(rng, field.shape, cells=0.5 * field.radius) - 0.25 * np.abs(down)
    for channel in range(3):
        colours[channel] += 0.93 * cover * (lid[channel] * folds - colours[channel])
        colours[channel] *= 1 - 0.70 * lashes


def _lashes(rng: np.random.Generator, field: Field, edge: Floats, *, above: bool) -> Floats:
    """Dark soft arcs that fan from the lid's edge into the picture."""
    import cv2

    lashes = np.zeros(field.shape, np.float32)
    row, column = field.middle
    for _ in range(int(rng.integers(14, 26))):
        start = rng.uniform(-0.85, 0.85)
        at = int(np.clip(column + start * field.radius, 0, field.shape[1] - 1))
        base = float(edge[0, at])
        length, lean = rng.uniform(0.25, 0.70), start * rng.uniform(0.3, 1.0) + rng.normal(0, 0.22)
        t = np.linspace(-0.1, 1, 14)
        across = start + lean * np.maximum(t, 0) ** 1.8 * length
        along = base + length * t
        points = np.column_stack(
            [column + across * field.radius, row + (along if above else -along) * field.radius]
        )
        cv2.polylines(
            lashes, [np.rint(points * 16).astype(np.int32)], False, 1.0,
            thickness=int(rng.integers(2, 7)), lineType=cv2.LINE_AA, shift=4,
        )  # fmt: skip
    blurred: Floats = cv2.GaussianBlur(lashes, (0, 0), 0.021 * field.radius)
    return np.clip(blurred * 1.25, 0, 1)
