"""Lesions of the white matter, dark in T1, that come, grow, stay or shrink between visits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.applications.brain_mri.brain import BOX, Brain
from hounsfield.applications.brain_mri.tissue import pial_depth

__all__ = ["Lesion", "lesions_at", "sample_lesions"]

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid: centre and radii in mm of the atlas frame, how it changes, and since when it is there.

    `growth` is a part of the radii a year; `since` the years after the first visit at which it appeared,
    below 0 for one that was there.
    """

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    growth: float
    since: float

    def radii_after(self, years: float) -> tuple[float, float, float]:
        """The radii so many years after the first visit; 0 where it is not there yet.

        >>> Lesion((0, 0, 0), (2.0, 2.0, 3.0), 0.5, -1.0).radii_after(1.0)
        (3.0, 3.0, 4.5)
        """
        if years < self.since:
            return (0.0, 0.0, 0.0)
        size = max(1.0 + self.growth * (years - max(self.since, 0.0)), 0.3)
        a, b, c = (r * size for r in self.radii_mm)
        return (a, b, c)


def sample_lesions(rng: np.random.Generator, brain: Brain, *, count: int, years: float) -> tuple[Lesion, ...]:
    """Lesions in deep white matter, more near the ventricles than elsewhere, over so many years."""
    fields = brain.fields.reshape(-1, brain.fields.shape[-1])
    deep = np.flatnonzero(
        (fields[:, 0] > 6.0)
        & (fields[:, 12:18].min(1) > 4.0)
        & (fields[:, 10] > 3.0)
        & (fields[:, 11] > 6.0)
        & (fields[:, 8] > 8.0)
        & (fields[:, 6] < -4.0)
        & (np.abs(BOX.points()[:, 0]) > 11.0)
    )
    white = np.array(
        [n for n in rng.choice(deep, 40 * max(count, 1)) if pial_depth(fields[n], brain.folds) > 5.0]
    )
    if not len(white):
        return ()
    near = np.exp(-fields[white, 10] / 6.0) + 0.03
    places = BOX.points()[rng.choice(white, min(count, len(white)), replace=False, p=near / near.sum())]
    found = []
    for place in places:
        radius = float(np.clip(rng.lognormal(0.75, 0.4), 1.2, 5.0))
        radii = radius * rng.uniform(0.75, 1.35, 3)
        kind = rng.choice(4, p=[0.4, 0.3, 0.12, 0.18])  # as it was, growing, shrinking, new
        growth = (0.0, rng.uniform(0.08, 0.35), rng.uniform(-0.25, -0.08), rng.uniform(0.0, 0.2))[kind]
        since = float(rng.uniform(0.02, 0.95) * years) if kind == 3 else -1.0
        x, y, z = (float(v) for v in place)
        a, b, c = (float(v) for v in radii)
        found.append(Lesion((x, y, z), (a, b, c), float(growth), since))
    return tuple(found)


def lesions_at(lesions: tuple[Lesion, ...], years: float) -> Doubles:
    """Centres and radii (n, 6) so many years after the first visit, as the scene wants them."""
    rows = [(*one.centre_mm, *one.radii_after(years)) for one in lesions]
    return np.array([row for row in rows if row[3] > 0.0], np.float64).reshape(-1, 6)
