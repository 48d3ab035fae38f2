"""One object that a reader marked in an image: a nodule, a lesion, a box around a finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Marked"]

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Marked:
    """Where an object lies in its image: `centre` and `size` along (k, j, i), in voxels of the image.

    The centre of the first voxel is (0, 0, 0). The size of a sphere is its diameter, in voxels of each axis;
    `label` is the number of its class, from 0. `diameter_mm` is what the reader measured, None where the
    size says it. Of a 2D image k is 0 and the size along k is 1. `excluded` marks what is neither to be found
    nor counted against a model that finds it (LUNA16's irrelevant findings).

    >>> Marked(0, (4.0, 10.0, 10.0), (3.0, 6.0, 6.0)).low
    (2.5, 7.0, 7.0)
    """

    label: int
    centre: Triple
    size: Triple
    shape: Literal["sphere", "box"] = "sphere"
    diameter_mm: float | None = None
    excluded: bool = False

    @property
    def low(self) -> Triple:
        """The corner of least coordinates."""
        k, j, i = (c - s / 2 for c, s in zip(self.centre, self.size, strict=True))
        return k, j, i

    @property
    def high(self) -> Triple:
        """The corner of greatest coordinates."""
        k, j, i = (c + s / 2 for c, s in zip(self.centre, self.size, strict=True))
        return k, j, i
