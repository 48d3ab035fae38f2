"""MONAI: `RandAffine` and a `RandFlip` an axis on a float32 tensor (1, *size), padding "border".

The identity grid is cached, which is faster. `metadata=False` also switches off MONAI's record of affines
and operations (`set_track_meta`), which its users have on.
"""

from __future__ import annotations

from typing import Any

import monai
import numpy as np
import ranges
import torch
from contender import digest_of, versions_of
from monai.transforms import Affine, Compose, RandAffine, RandFlip
from pictures import pictures


def _transform(size: tuple[int, ...]) -> Compose:
    d = len(size)
    slope = float(np.tan(np.deg2rad(ranges.SHEAR)))
    changes = [
        RandAffine(
            prob=1.0,
            rotate_range=[np.deg2rad(ranges.ROTATION)] * (1 if d == 2 else 3),
            shear_range=[(-slope, slope), (0.0, 0.0)] if d == 2 else None,
            translate_range=[ranges.SHIFT * s for s in size],
            scale_range=[ranges.ZOOM] * d,
            mode="bilinear",
            padding_mode="border",
            spatial_size=size,
            cache_grid=True,
        ),
        *(RandFlip(prob=0.5, spatial_axis=axis) for axis in range(d)),
    ]
    return Compose(changes).set_random_state(seed=0)


class MonaiAugment:
    """One image a call, as MONAI's transforms work."""

    def __init__(self, size: tuple[int, ...], metadata: bool) -> None:
        torch.set_num_threads(1)
        monai.data.set_track_meta(metadata)
        self.size = size
        self.change = _transform(size)
        self.count = 32 if len(size) == 2 else 4
        self.images = torch.from_numpy(pictures(self.count, size)[:, None])
        self.out = [self.images[0]]

    def run(self, items: int) -> None:
        change, images, count = self.change, self.images, self.count
        self.out = [change(images[k % count]) for k in range(min(items, count))]
        for k in range(count, items):
            change(images[k % count])

    def digest(self) -> dict[str, Any]:
        return digest_of([np.asarray(o)[0] for o in self.out])

    def facts(self) -> dict[str, Any]:
        small = (64, 64) if len(self.size) == 2 else (24, 24, 24)
        change = _transform(small)
        return {
            "versions": versions_of("monai", "torch"),
            "moves": ranges.mean_move(
                lambda x: np.asarray(change(torch.from_numpy(x[None])))[0], small, draws=300
            ),
            "error": self._error(small),
        }

    def _error(self, size: tuple[int, ...]) -> float:
        d = len(size)
        given = pictures(1, size)[0]
        turn = np.deg2rad(15)
        about = np.eye(d + 1)
        about[:2, :2] = 1.1 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        about[0, 1] += 0.1
        about[:2, d] = 5.0, -3.0
        made = Affine(affine=about, mode="bilinear", padding_mode="border", image_only=True)
        got = np.asarray(made(torch.from_numpy(given[None])))[0]
        centre = (np.array(size) - 1) / 2
        matrix = np.column_stack((about[:d, :d], about[:d, d] + centre - about[:d, :d] @ centre))
        return ranges.error_against_scipy(given, got, matrix)


def make(*, size: list[int], metadata: bool = True) -> MonaiAugment:
    return MonaiAugment(tuple(size), metadata)
