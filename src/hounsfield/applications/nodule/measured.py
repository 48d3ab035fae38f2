"""The nodules of one scan: candidates or marks measured in it and put into reading order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.steps.nodules.lungs import Lungs, find_lungs
from hounsfield.steps.nodules.malignancy import brock_probability
from hounsfield.steps.nodules.measure import NoduleMeasures, measure_nodules

__all__ = ["Scan", "lps_of", "measured_scan"]

_UNKNOWN_AGE = 62.0
"""The age at which the Brock model is centred, where none is known."""


@dataclass(frozen=True)
class Scan:
    """A scan with its lungs, its nodules, and for each of them which place was asked for (its row).

    `malignancy` is the Brock probability of each, None where it cannot be told.
    """

    volume: Volume
    lungs: Lungs
    nodules: tuple[NoduleMeasures, ...]
    asked: tuple[int, ...]
    malignancy: list[float] | None


def lps_of(voxels: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places (n, 3) as voxels (k, j, i) in LPS mm.

    >>> lps_of(np.array([[1.0, 2.0, 3.0]]), np.diag([0.5, 0.5, 2.0, 1.0])).tolist()
    [[1.5, 1.0, 2.0]]
    """
    placed = voxels.reshape(-1, 3)[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]
    return np.asarray(placed, np.float64)


def measured_scan(volume: Volume, series: Series, voxels: NDArray[np.float64]) -> Scan:
    """The nodules at places (n, 3), voxels (k, j, i), of a chest CT; what does not stand out is left.

    Raises BadInput for an image that is no chest CT.
    """
    lungs = find_lungs(volume, name="an image of this source")
    found = measure_nodules(volume, lps_of(voxels, volume.affine), lungs)
    kept = [(row, one) for row, one in enumerate(found) if one is not None]
    nodules = tuple(one for _, one in kept)
    score = _malignancies(nodules, lungs, series)
    return Scan(volume, lungs, nodules, tuple(row for row, _ in kept), score)


def _malignancies(nodules: Sequence[NoduleMeasures], lungs: Lungs, series: Series) -> list[float] | None:
    """The Brock probability of each nodule; None where the header does not say the sex."""
    if series.sex not in ("F", "M"):
        return None
    age = _UNKNOWN_AGE if series.age_years is None else series.age_years
    return [
        brock_probability(
            n, age=age, sex=series.sex, third=lungs.third_at(np.array(n.centre_mm)), count=len(nodules)
        )  # type: ignore[arg-type]
        for n in nodules
    ]
