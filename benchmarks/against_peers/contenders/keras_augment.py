"""Keras's ImageDataGenerator: `random_transform` of one float32 image (rows, columns, 1), fill "nearest"."""

from __future__ import annotations

from typing import Any

import numpy as np
import ranges
from contender import digest_of, versions_of
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from pictures import pictures


class KerasAugment:
    """`random_transform` image by image, as `flow` calls it, without its copying."""

    def __init__(self, side: int) -> None:
        self.generator = ImageDataGenerator(
            rotation_range=ranges.ROTATION,
            width_shift_range=ranges.SHIFT,
            height_shift_range=ranges.SHIFT,
            shear_range=ranges.SHEAR,
            zoom_range=ranges.ZOOM,
            horizontal_flip=True,
            vertical_flip=True,
            fill_mode="nearest",
        )
        np.random.seed(0)  # the generator draws from numpy's global state
        self.images = pictures(32, (side, side))[..., None]
        self.out = [self.images[0]]

    def run(self, items: int) -> None:
        change, images = self.generator.random_transform, self.images
        self.out = [change(images[k % 32]) for k in range(min(items, 32))]
        for k in range(32, items):
            change(images[k % 32])

    def digest(self) -> dict[str, Any]:
        return digest_of([o[..., 0] for o in self.out])

    def facts(self) -> dict[str, Any]:
        change = self.generator.random_transform
        return {
            "versions": versions_of("keras", "scipy"),
            "moves": ranges.mean_move(lambda x: change(x[..., None])[..., 0], (64, 64), draws=300),
            "error": self._error(),
        }

    def _error(self) -> float:
        """Keras calls scipy itself, so that only its composition of the matrix can differ."""
        given = pictures(1, (64, 64))[0]
        turn, shear, shift, zoom = np.deg2rad(15), np.deg2rad(8), (5.0, -3.0), (1.1, 0.9)
        rotated = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        moved = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
        sheared = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
        about = rotated @ moved @ sheared @ np.diag([*zoom, 1])
        about = about[[1, 0, 2]][:, [1, 0, 2]]  # Keras puts columns before rows
        centre = np.full(2, 31.5)
        matrix = np.column_stack((about[:2, :2], about[:2, 2] + centre - about[:2, :2] @ centre))
        got = self.generator.apply_transform(
            given[..., None], {"theta": 15, "shear": 8, "tx": 5, "ty": -3, "zx": 1.1, "zy": 0.9}
        )
        return ranges.error_against_scipy(given, got[..., 0], matrix)


def make(*, side: int) -> KerasAugment:
    return KerasAugment(side)
