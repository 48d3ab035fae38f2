"""albumentations: `Affine`, `HorizontalFlip`, `VerticalFlip` of one image (rows, columns), replicated border.

From uint8 the result is brought to float32 in [0, 1], as a network needs it; without the axis of channels,
and by numpy instead of `ToFloat`, which is faster than the library's own way.
"""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import ranges
from contender import digest_of, versions_of
from numpy.typing import NDArray
from pictures import pictures

Array = NDArray[Any]


def _transform() -> A.Compose:
    about, moved = (-ranges.SHEAR, ranges.SHEAR), (-ranges.SHIFT, ranges.SHIFT)
    changes = [
        A.Affine(
            rotate=(-ranges.ROTATION, ranges.ROTATION),
            translate_percent={"x": moved, "y": moved},
            shear={"x": about, "y": (0, 0)},
            scale=(1 - ranges.ZOOM, 1 + ranges.ZOOM),
            keep_ratio=True,
            interpolation=cv2.INTER_LINEAR,
            border_mode=cv2.BORDER_REPLICATE,
            p=1.0,
        ),
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
    ]
    return A.Compose(changes, seed=0)


class AlbumentationsAugment:
    """One image a call, as the library works."""

    def __init__(self, side: int, dtype: str) -> None:
        cv2.setNumThreads(1)
        self.transform = _transform()
        images = pictures(32, (side, side))
        self.images = images if dtype == "float32" else np.rint(images * 255).astype(np.uint8)
        self.out = [images[0]]

    def change(self, image: Array) -> Array:
        out = self.transform(image=image)["image"]
        return out if out.dtype == np.float32 else out.astype(np.float32) * np.float32(1 / 255)

    def run(self, items: int) -> None:
        change, images = self.change, self.images
        self.out = [change(images[k % 32]) for k in range(min(items, 32))]
        for k in range(32, items):
            change(images[k % 32])

    def digest(self) -> dict[str, Any]:
        return digest_of(self.out)

    def facts(self) -> dict[str, Any]:
        return {
            "versions": versions_of("albumentations", "opencv-python-headless"),
            "moves": ranges.mean_move(self._of_ramp, (64, 64), draws=300),
            "error": self._error(),
        }

    def _of_ramp(self, image: Array) -> Array:
        if self.images.dtype == np.uint8:
            image = np.rint(image * 255).astype(np.uint8)
        return self.change(image)

    def _error(self) -> float:
        given = pictures(1, (64, 64))[0]
        if self.images.dtype == np.uint8:
            given = np.rint(given * 255).astype(np.uint8)
        affine = A.Affine(
            rotate=(15, 15),
            translate_px={"x": 5, "y": -3},
            shear={"x": (8, 8), "y": (0, 0)},
            scale=(1.1, 1.1),
            border_mode=cv2.BORDER_REPLICATE,
            p=1.0,
        )
        there = affine.get_params_dependent_on_data(params={"shape": given.shape}, data={})["matrix"]
        back = np.linalg.inv(there)[[1, 0, 2]][:, [1, 0, 2]]  # rows before columns
        got = affine(image=given)["image"].astype(np.float64)
        return ranges.error_against_scipy(given, got, back[:2])


def make(*, side: int, dtype: str) -> AlbumentationsAugment:
    return AlbumentationsAugment(side, dtype)
