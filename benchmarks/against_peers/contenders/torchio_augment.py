"""TorchIO: `RandomAffine` and `RandomFlip` on a float32 tensor (1, *size); outside is 0.

TorchIO has no shear and cannot repeat the border, so that ours does the same against it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import ranges
import SimpleITK as sitk
import torch
import torchio as tio
from contender import digest_of, versions_of
from pictures import pictures


def _transform(side: int) -> tio.Compose:
    affine = tio.RandomAffine(
        scales=ranges.ZOOM, degrees=ranges.ROTATION, translation=ranges.SHIFT * side, default_pad_value=0
    )
    return tio.Compose([affine, tio.RandomFlip(axes=(0, 1, 2), flip_probability=0.5)])


class TorchioAugment:
    """One subject of one image a call."""

    def __init__(self, side: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        self.change = _transform(side)
        made = torch.from_numpy(pictures(4, (side,) * 3)[:, None])
        self.subjects = [tio.Subject(image=tio.ScalarImage(tensor=m)) for m in made]
        self.out: list[Any] = []

    def run(self, items: int) -> None:
        change, subjects = self.change, self.subjects
        self.out = [change(subjects[k % 4])["image"].data for k in range(min(items, 4))]
        for k in range(4, items):
            change(subjects[k % 4])

    def digest(self) -> dict[str, Any]:
        return digest_of([o[0].numpy() for o in self.out])

    def facts(self) -> dict[str, Any]:
        small = (24, 24, 24)
        change = _transform(24)
        return {
            "versions": versions_of("torchio", "SimpleITK", "torch"),
            "moves": ranges.mean_move(
                lambda x: change(torch.from_numpy(x[None]))[0].numpy(), small, draws=300
            ),
            "error": self._error(small),
        }

    def _error(self, size: tuple[int, ...]) -> float:
        given = pictures(1, size)[0]
        turn = np.deg2rad(15)
        fixed = tio.Affine(scales=(1.1,) * 3, degrees=(0, 0, 15), translation=(2, -1, 3), default_pad_value=0)
        got = fixed(torch.from_numpy(given[None]))[0].numpy()
        rotated = np.eye(3)
        rotated[:2, :2] = [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
        about = rotated / 1.1
        centre = (np.array(size) - 1) / 2
        offset = centre - about @ centre - rotated @ np.array([2.0, -1.0, 3.0])
        matrix = np.column_stack((about, offset))
        return ranges.error_against_scipy(given, got, matrix, border="constant")


def make(*, side: int) -> TorchioAugment:
    return TorchioAugment(side)
