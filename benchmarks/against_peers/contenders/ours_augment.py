"""Ours: `draw` and `augmented` of `hounsfield.transforms`, from stored integers or from float32, one thread.

Integers are what the pipeline keeps until a batch is made, so that their normalisation is part of the work;
from float32 it is like for like with libraries that are given float32. The draw is part of each call.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import ranges
from contender import digest_of, versions_of
from numpy.typing import NDArray
from pictures import pictures

from hounsfield.core.plan import Augment
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.draw import Draw, draw

Array = NDArray[Any]
HIGHEST = {"uint8": 255, "uint16": 65535}


def _augment(dims: int, fill: str) -> Augment:
    flat = dims == 2
    return Augment(
        rotation_deg=ranges.ROTATION,
        tilt_deg=0.0 if flat else ranges.ROTATION,
        shift_width=ranges.SHIFT,
        shift_height=ranges.SHIFT,
        shift_slices=0.0 if flat else ranges.SHIFT,
        shear_deg=ranges.SHEAR if flat else 0.0,
        zoom=ranges.ZOOM,
        flip_left_right=True,
        flip_up_down=True,
        flip_slices=not flat,
        fill=fill,  # type: ignore[arg-type]
    )


class OurAugment:
    """`batch` images a call; with 1, image by image like the other libraries."""

    def __init__(self, size: tuple[int, ...], dtype: str, batch: int, fill: str) -> None:
        self.size, self.dtype, self.batch = size, dtype, batch
        self.count = max(batch, 32 if len(size) == 2 else 4)
        self.plan = _augment(len(size), fill)
        self.stored, self.levels = self._given(pictures(self.count, size))
        self.rng = np.random.default_rng(0)
        self.out: list[Array] = []

    def _given(self, images: Array) -> tuple[Array, Array]:
        """Images (n, 1, K, J, I) as they are stored, and levels (n, 4): scale, offset, least, greatest."""
        n, k = len(images), (1,) * (4 - len(self.size))
        scale = 1.0
        if self.dtype in HIGHEST:
            scale = 1 / HIGHEST[self.dtype]
            images = np.rint(images * HIGHEST[self.dtype]).astype(self.dtype)
        levels = np.tile(np.array([scale, 0, -np.inf, np.inf], np.float32), (n, 1))
        return images.reshape(n, *k, *self.size), levels

    def run(self, items: int) -> None:
        kept: list[Array] = []
        for start in range(0, items, self.batch):
            n = min(self.batch, items - start)
            where = slice(start % self.count, start % self.count + n)
            made = draw(self.plan, n, self.size, self.rng)
            out = augmented(self.stored[where], self.levels[where], made, threads=1)
            if len(kept) < self.count:
                kept.extend(out)
        self.out = kept

    def digest(self) -> dict[str, Any]:
        return digest_of([o.reshape(self.size) for o in self.out])

    def facts(self) -> dict[str, Any]:
        small = (64, 64) if len(self.size) == 2 else (24, 24, 24)
        return {
            "versions": versions_of("hounsfield", "numba", "opencv-python-headless"),
            "moves": ranges.mean_move(lambda x: self._changed(x, None), small, draws=300),
            "error": self._error(small),
        }

    def _changed(self, image: Array, fixed: Array | None) -> Array:
        """One image (*size) in [0, 1] under a random draw, or under one matrix."""
        size, self.size = self.size, image.shape
        stored, levels = self._given(image[None])
        self.size = size
        made: Draw = draw(self.plan, 1, image.shape, self.rng)
        if fixed is not None:
            made = replace(made, matrix=fixed[None])
        return augmented(stored, levels, made, threads=1).reshape(image.shape)

    def _error(self, size: tuple[int, ...]) -> float:
        d, given = len(size), pictures(1, size)[0]
        if self.dtype in HIGHEST:
            given = (np.rint(given * HIGHEST[self.dtype]) / HIGHEST[self.dtype]).astype(np.float32)
        turn = np.deg2rad(15)
        about = np.eye(d)
        about[:2, :2] = 1.1 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        about[0, 1] += 0.1
        centre = (np.array(size) - 1) / 2
        offset = centre - about @ centre
        offset[:2] += 5.0, -3.0
        matrix = np.column_stack((about, offset))
        got = self._changed(given, matrix)
        return ranges.error_against_scipy(given, got, matrix, border=self.plan.fill)


def make(*, size: list[int], dtype: str, batch: int, fill: str = "nearest") -> OurAugment:
    return OurAugment(tuple(size), dtype, batch, fill)
