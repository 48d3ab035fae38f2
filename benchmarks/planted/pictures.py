"""Seeded pictures of patients who are not: a chest, and an eye's fundus, healthy or ill."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Image", "fundus", "phantom"]

Image = NDArray[Any]


def phantom(rng: np.random.Generator, answer: int, *, side: int = 96) -> Image:
    """A trunk with two lungs, ribs and tissue of its own; the ill have a mass in one of them."""
    grid = (np.indices((side, side)) + 0.5) / side - 0.5
    shift, turn, scale = rng.normal(0, 0.015, 2), rng.normal(0, 0.04), rng.normal(1, 0.03, 2)
    j, i = grid[0] - shift[0], grid[1] - shift[1]
    j, i = (j * np.cos(turn) + i * np.sin(turn)) / scale[0], (i * np.cos(turn) - j * np.sin(turn)) / scale[1]
    body = _soft(0.44 - np.hypot(j / 1.08, i), side)
    wide = rng.normal(0.125, 0.006, 2)
    lungs = _soft(wide[0] - np.hypot(j / 1.9, i + 0.18), side) + _soft(
        wide[1] * 1.12 - np.hypot(j / 1.9, i - 0.18), side
    )
    heart = _soft(0.11 - np.hypot(j - 0.12, (i - 0.06) / 0.9), side)
    ribs = 0.5 + 0.5 * np.cos(2 * np.pi * (j * rng.normal(9, 0.4) + 3.2 * i**2 + rng.uniform()))
    tissue = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), side / 48) * side / 13
    tissue += cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), side / 16) * side / 9
    image = 25 + body * (95 + 8 * tissue) - 60 * lungs * (1 - heart) + 18 * ribs * body + 30 * heart
    if answer:
        at = np.array([rng.uniform(-0.1, 0.1), 0.18 * rng.choice([-1, 1])]) + rng.normal(0, 0.015, 2)
        image = image + rng.uniform(70, 90) * _soft(
            rng.uniform(0.05, 0.065) - np.hypot(j - at[0], i - at[1]), side
        )
    return np.clip(image + rng.normal(0, 2.5, image.shape), 0, 255).astype(np.uint8)


def _soft(distance: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-distance * side / 0.9))


def fundus(rng: np.random.Generator, answer: int, *, side: int = 96, left: bool = False) -> Image:
    """A disc with a bright optic nerve head on the nasal side, vessels that leave it, and bright spots if
    ill.
    """
    j, i = (np.indices((side, side)) + 0.5) / side - 0.5
    nerve = np.array([rng.normal(0, 0.02), 0.22 + rng.normal(0, 0.02)])
    eye = _soft(0.46 - np.hypot(j, i), side)
    image = 95 + 6 * cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), side / 24) * side / 13
    image += 75 * _soft(0.065 - np.hypot(j - nerve[0], i - nerve[1]), side)
    image -= 30 * np.exp(-(np.hypot(j, i + 0.1) ** 2) / 0.008)
    for end in rng.normal((-0.38, -0.2, 0.2, 0.38), 0.04):
        bend, reach = rng.uniform(0.25, 0.6), 0.22 + rng.normal(0, 0.05)
        along = np.linspace(0, 1, 60)
        path_j = nerve[0] + (end - nerve[0]) * along**bend
        path_i = nerve[1] - (nerve[1] + reach) * along
        points = np.stack([(path_i + 0.5) * side, (path_j + 0.5) * side], 1).round().astype(np.int32)
        lines = np.zeros((side, side), np.uint8)
        cv2.polylines(lines, [points.reshape(-1, 1, 2)], False, 255, max(1, side // 64))
        image -= 45 * cv2.GaussianBlur(lines, (0, 0), 0.7).astype(np.float32) / 255
    for _ in range(rng.integers(4, 8) if answer else 0):
        at = rng.uniform(-0.25, 0.25, 2)
        image += 70 * _soft(rng.uniform(0.014, 0.024) - np.hypot(j - at[0], i - at[1]), side)
    image = cv2.GaussianBlur(eye * image, (0, 0), rng.uniform(0.3, 0.7))
    image = image * rng.normal(1, 0.08) + rng.normal(12, 4)  # no two exposures are alike
    found = np.clip(image + rng.normal(0, rng.uniform(1, 4), image.shape), 0, 255).astype(np.uint8)
    return found[:, ::-1].copy() if left else found
