"""One simulated person's brain: smooth functions on a coarse grid from which the tissue of any point follows.

Folds: the cortex is a ribbon along the surface of the hemispheres and along sheets that go in from it. The
sheets lie where a random field of one wave length is zero, looked up at the nearest place of the surface,
so that they stand about upright on it and meander over it, as sulci do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hounsfield.applications.brain_mri import structures
from hounsfield.applications.brain_mri.fields import Grid, depth_of, gradient, waves
from hounsfield.applications.brain_mri.shapes import Floats, joined

__all__ = ["BOX", "Brain", "Folds", "sample_brain"]

BOX = Grid.over((-73.0, -108.0, -76.0), (73.0, 78.0, 86.0), 1.4)
_WAVE_MM = (31.0, 19.0)  # of the deep sulci and of the shallow ones
_UPRIGHT = 0.68  # how far a point's folds are those of the surface above it


class Folds(NamedTuple):
    """The cortex in millimetres: what every point of it needs to know beside the fields."""

    wave_deep: float
    wave_shallow: float
    deep: float
    shallow: float
    half_width: float
    opening: float
    thickness: float
    folia: float


class Brain(NamedTuple):
    """Fields (z, y, x, 20) on `BOX`, in the order that `tissue` reads; the folds; the width of CSF around."""

    fields: Floats
    folds: Folds
    gap: float


def sample_brain(rng: np.random.Generator, *, age: float, loss: float) -> Brain:
    """A brain of that age; `loss` from 0 (none) to 1 (severe) is what disease took before the first visit."""
    p = BOX.points()
    wide = max(age - 45.0, 0.0) / 40.0 + 0.9 * loss
    p += _bent(rng, p)
    gap = 0.7 + 1.0 * wide + float(rng.normal(0, 0.15))
    inner = structures.cavity(p) + gap
    sylvian = 0.75 + 0.8 * wide
    hull = structures.cerebrum(p, inner, falx_mm=0.65 + 0.3 * wide, sylvian_mm=sylvian)
    depth = depth_of(BOX.laid(hull), BOX.step_mm)
    folds = Folds(
        wave_deep=_WAVE_MM[0] * float(rng.uniform(0.94, 1.06)),
        wave_shallow=_WAVE_MM[1] * float(rng.uniform(0.94, 1.06)),
        deep=float(rng.normal(14.5, 0.8)),
        shallow=float(rng.normal(5.5, 0.5)),
        half_width=0.22 + 0.38 * wide + float(rng.uniform(-0.04, 0.04)),
        opening=1.5 + 0.4 * wide,
        thickness=2.6 - 0.25 * wide + float(rng.normal(0, 0.06)),
        folia=5.2,
    )
    fields = np.empty((*BOX.shape, 20), np.float32)
    fields[..., 0] = depth
    _fold(fields, rng, p, folds)
    fields[..., 5] = BOX.laid(waves(rng, p, length_mm=42.0, spread=0.3))
    _lower(fields, rng, p, inner, folds)
    swell = -0.3 + 2.4 * wide + float(rng.normal(0, 0.55))
    side, middle = structures.ventricles(p, swell=swell)
    _deep(fields, rng, p, side, middle, loss)
    fields[..., 18] = BOX.laid(waves(rng, p, length_mm=9.0, spread=0.4))
    fields[..., 19] = BOX.laid(_region(p))
    return Brain(fields, folds, gap)


def _bent(rng: np.random.Generator, p: Floats) -> Floats:
    # No brain is its own mirror image: a smooth shift of some millimetres. It fades to the midline along x.
    shift = np.stack([1.7 * waves(rng, p, length_mm=75.0, spread=0.3) for _ in range(3)], -1)
    shift[:, 0] *= 0.25 + 0.75 * np.clip(np.abs(p[:, 0]) / 25.0, 0, 1)
    return shift.astype(np.float32)


def _fold(fields: Floats, rng: np.random.Generator, p: Floats, folds: Folds) -> None:
    depth = fields[..., 0]
    # Blurred, so that the place of the surface changes smoothly where a lobe has two surfaces alike near.
    inwards = gradient(ndimage.gaussian_filter(depth, 2.6), BOX.step_mm)
    surface = p - _UPRIGHT * np.clip(depth.reshape(-1, 1), -3, 22) * inwards
    for channel, length in ((1, folds.wave_deep), (3, folds.wave_shallow)):
        field = BOX.laid(waves(rng, surface, length_mm=length, spread=0.14, fine=True))
        slope = gradient(field, BOX.step_mm)
        fields[..., channel] = field
        steep = np.sqrt(np.einsum("nc,nc->n", slope, slope))
        fields[..., channel + 1] = BOX.laid(steep) * np.float32(length / (2 * np.pi))


def _lower(fields: Floats, rng: np.random.Generator, p: Floats, inner: Floats, folds: Folds) -> None:
    fields[..., 6] = depth_of(BOX.laid(structures.cerebellum(p, inner)), BOX.step_mm)
    # Folia are leaves across the body whose planes meet in the middle of the cerebellum.
    turn = np.arctan2(p[:, 2] + 26.0, -(p[:, 1] + 46.0)) + 0.05 * waves(rng, p, length_mm=22.0, spread=0.3)
    turn += 0.0012 * np.abs(p[:, 0])
    fields[..., 7] = BOX.laid(np.sin(turn * np.float32(2 * np.pi / (folds.folia / 27.0))).astype(np.float32))
    fields[..., 8] = BOX.laid(structures.brainstem(p))


def _deep(
    fields: Floats, rng: np.random.Generator, p: Floats, side: Floats, middle: Floats, loss: float
) -> None:
    shrunk = 0.25 + 1.0 * loss
    left = float(rng.normal(0, 0.12))
    lean = np.where(p[:, 0] > 0, left, -left).astype(np.float32)  # one side's hippocampus is larger
    for channel, shape in (
        (9, joined(structures.callosum(p), structures.core(p), 2.0)),
        (10, side),
        (11, middle),
        (12, structures.caudate(p) + 0.3 * loss),
        (13, structures.putamen(p) + 0.3 * loss),
        (14, structures.thalamus(p) + 0.3 * loss),
        (15, structures.pallidum(p)),
        (16, structures.hippocampus(p) + np.float32(shrunk) + lean),
        (17, structures.amygdala(p) + np.float32(0.7 * shrunk) + lean),
    ):
        fields[..., channel] = BOX.laid(shape.astype(np.float32))


def _region(p: Floats) -> npt.NDArray[np.float32]:
    # Where disease takes most: temporal and parietal lobes more than the motor strip and the occipital pole.
    temporal = np.exp(-(((p[:, 2] + 18) / 18) ** 2) - ((p[:, 1] + 15) / 38) ** 2)
    parietal = np.exp(-(((p[:, 2] - 45) / 26) ** 2) - ((p[:, 1] + 58) / 26) ** 2)
    return (0.75 + 0.9 * temporal + 0.5 * parietal).astype(np.float32)
