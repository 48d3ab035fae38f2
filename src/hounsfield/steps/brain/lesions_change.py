"""White-matter lesions that came, grew, shrank or went between two visits, from images brought half-way.

In FLAIR a lesion is brighter than the tissue around it, in T1 darker. After the smooth difference of the
coil is taken out, a cluster counts where the difference is strong in its core, moderate about it, lies in
white matter and away from the brain's rim and CSF's edges, and is of some size. The image that shows a
lesion decides its kind: a cluster that touches what already looked like a lesion grew or shrank, else it is
new or gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.steps.brain.align import Seen, aligned, halves
from hounsfield.steps.brain.bias import field_of
from hounsfield.steps.brain.extract import brain_hull
from hounsfield.steps.brain.sampling import between, cubic, linear, spline_of
from hounsfield.steps.brain.upright import Upright, upright

__all__ = ["LesionChange", "LesionsChange", "lesions_change"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
Kind = Literal["new", "grown", "shrunk", "gone"]
Contrast = Literal["t1", "flair"]
_STRONG, _MODERATE = 4.0, 2.2  # deviations of the smoothed difference in the brain
_LEAST_MM3 = 12.0
_BLUR_MM, _RIM_MM = 0.9, 4.0
_DRY_MM = {"flair": 1.0, "t1": 2.5}
_LIKE_LESION = 2.5
_WATER = 0.55  # CSF is darker than white matter by more than this part of it
LEAST_AGREEMENT = 0.80


@dataclass(frozen=True)
class LesionChange:
    """One cluster: its kind, volume in mm3 and middle in LPS mm of the second visit."""

    kind: Kind
    volume_mm3: float
    middle_mm: tuple[float, float, float]


@dataclass(frozen=True)
class LesionsChange:
    """All clusters; `labels` (K, J, I) number them from 1 on the grid in the middle, `affine` its place.

    `to_first` and `to_second` (4, 4) take LPS mm of that grid to those of either visit.
    """

    lesions: tuple[LesionChange, ...]
    labels: NDArray[np.int32]
    affine: Doubles
    to_first: Doubles
    to_second: Doubles
    agreement: float

    def volume_ml(self, kind: Kind) -> float:
        """The volume of all clusters of a kind."""
        return sum(one.volume_mm3 for one in self.lesions if one.kind == kind) / 1000.0


def lesions_change(
    first: Volume, second: Volume, *, contrast: Contrast, step_mm: float = 1.0
) -> LesionsChange:
    """Find the lesions that changed between two scans of one contrast and one patient.

    Raises BadInput where the two do not fit each other.
    """
    heads = [_even(upright(v.data[0], v.affine, step_mm=step_mm)) for v in (first, second)]
    matrix, agreement = _laid(heads)
    moves = halves(matrix)
    images, hulls, grid = _halfway(heads, (first, second), moves, step_mm)
    sign = 1.0 if contrast == "flair" else -1.0
    brain = hulls[0] & hulls[1]
    level, spread = _white_level(images, brain, contrast)
    both = [sign * (image - level) / spread for image in _matched(images, brain)]
    labels, kinds = _clusters(both, brain, contrast, _WATER * level / spread, step_mm)
    found = []
    for n, kind in enumerate(kinds, start=1):
        voxels = np.argwhere(labels == n)
        middle = moves[1] @ grid @ np.array([*voxels.mean(0)[::-1], 1.0])
        x, y, z = (float(v) for v in middle[:3])
        found.append(LesionChange(kind, len(voxels) * step_mm**3, (x, y, z)))
    return LesionsChange(tuple(found), labels, grid, moves[0], moves[1], agreement)


def _even(head: Upright) -> tuple[Upright, Bools, Floats]:
    hull = brain_hull(head.data, head.step_mm)
    field = field_of(head, hull).on(head.affine, head.data.shape)
    even = head.data / field
    even /= np.median(even[hull])
    return head, hull, even


def _laid(heads: list[tuple[Upright, Bools, Floats]]) -> tuple[Doubles, float]:
    def seen(which: int, blur_mm: float) -> Seen:
        head, hull, even = heads[which]
        weight = ndimage.binary_dilation(hull, iterations=max(1, round(3 / head.step_mm))) & head.seen
        data = ndimage.gaussian_filter(np.minimum(even, 2.0), blur_mm / head.step_mm)
        return Seen(data, head.affine, weight.astype(np.float32))

    start = np.eye(4)
    middles = [head.places(np.array([ndimage.center_of_mass(hull)]))[0] for head, hull, _ in heads]
    start[:3, 3] = middles[1] - middles[0]
    fit = aligned(seen(0, 4.0), seen(1, 4.0), start, step_mm=6.0, rounds=40, robust=False)
    fit = aligned(seen(0, 1.5), seen(1, 1.5), fit.matrix, step_mm=3.0, rounds=15)
    fit = aligned(seen(0, 1.5), seen(1, 1.5), fit.matrix, freedom="affine", step_mm=3.0, rounds=8)
    if fit.correlation < LEAST_AGREEMENT:
        raise BadInput(
            f"the brains of two visits do not fit each other (correlation {fit.correlation:.2f}); expected "
            "one patient and one kind of image; check whose scans they are"
        )
    return fit.matrix, fit.correlation


def _halfway(
    heads: list[tuple[Upright, Bools, Floats]],
    volumes: tuple[Volume, Volume],
    moves: tuple[Doubles, Doubles],
    step_mm: float,
) -> tuple[list[Floats], list[Bools], Doubles]:
    ends = []
    for (head, hull, _), move in zip(heads, moves, strict=True):
        back = np.linalg.inv(move)
        places = head.places(np.argwhere(hull[::3, ::3, ::3]) * 3.0) @ back[:3, :3].T + back[:3, 3]
        ends.append((places.min(0) - 6.0, places.max(0) + 6.0))
    low, high = 0.5 * (ends[0][0] + ends[1][0]), 0.5 * (ends[0][1] + ends[1][1])
    x, y, z = (int(n) for n in np.ceil((high - low) / step_mm))
    shape = (z, y, x)
    grid = np.diag([step_mm, step_mm, step_mm, 1.0])
    grid[:3, 3] = low
    images, hulls = [], []
    for (head, hull, even), volume, move in zip(heads, volumes, moves, strict=True):
        own = between(grid, head.affine, move)
        gain = linear((even / np.maximum(head.data, 1e-6)).astype(np.float32), own, shape)
        image = cubic(spline_of(volume.data[0]), between(grid, volume.affine, move), shape)
        images.append(np.maximum(image, 0.0) * gain)
        hulls.append(linear(hull.astype(np.float32), own, shape) > 0.5)
    return images, hulls, grid


def _white_level(images: list[Floats], brain: Bools, contrast: Contrast) -> tuple[float, float]:
    # White matter is the brightest large tissue of T1; in FLAIR it is the mode, near grey matter's.
    values = np.concatenate([image[brain][::3] for image in images])
    counts, edges = np.histogram(values, 200, np.percentile(values, (0.5, 99.5)))
    smooth = ndimage.gaussian_filter1d(counts.astype(float), 3.0)
    if contrast == "t1":
        smooth[: int(np.searchsorted(edges, np.median(values)))] = 0.0
    top = int(smooth.argmax())
    level = 0.5 * float(edges[top] + edges[top + 1])
    above = values[values > level] if contrast == "t1" else values[np.abs(values - level) < 0.4 * level]
    return level, 1.4826 * float(np.median(np.abs(above - level)))


def _matched(images: list[Floats], brain: Bools) -> list[Floats]:
    # What differs smoothly is the coil or the scanner's contrast: half of it goes to either image.
    ratio = np.where(brain, np.log(np.maximum(images[1], 0.05) / np.maximum(images[0], 0.05)), 0.0)
    off = 2.5 * 1.4826 * float(np.median(np.abs(ratio[brain] - np.median(ratio[brain]))))
    weight = (brain & (np.abs(ratio - np.median(ratio[brain])) < off)).astype(np.float32)
    top, below = (ndimage.gaussian_filter(v, 12.0, truncate=2.5) for v in (ratio * weight, weight))
    half = np.exp(0.5 * top / np.maximum(below, 1e-3)).astype(np.float32)
    return [images[0] * half, images[1] / half]


def _clusters(
    both: list[Floats], brain: Bools, contrast: Contrast, water: float, step_mm: float
) -> tuple[NDArray[np.int32], list[Kind]]:
    smooth = [ndimage.gaussian_filter(b, _BLUR_MM / step_mm) for b in both]
    change = smooth[1] - smooth[0]
    inner = ndimage.distance_transform_edt(brain, step_mm) > _RIM_MM
    place = inner & _white(both, brain, contrast, water, step_mm)
    spread = 1.4826 * float(np.median(np.abs(change[inner])))
    labels = np.zeros(brain.shape, np.int32)
    kinds: list[Kind] = []
    for which, direction in ((1, 1.0), (0, -1.0)):
        rise = direction * change / spread
        # What changed must look like a lesion where there is more of it.
        room = place & (rise > _MODERATE) & (smooth[which] > _LIKE_LESION)
        groups, count = ndimage.label(room, np.ones((3, 3, 3)))
        if not count:
            continue
        most = ndimage.maximum(rise, groups, np.arange(1, count + 1))
        size = np.bincount(groups.ravel(), minlength=count + 1)[1:] * step_mm**3
        old = ndimage.binary_dilation((smooth[1 - which] > _LIKE_LESION) & place)
        for n in np.flatnonzero((most > _STRONG) & (size >= _LEAST_MM3)) + 1:
            cluster = groups == n
            was = bool(old[cluster].mean() > 0.1)
            kinds.append(("grown" if was else "new") if which else ("shrunk" if was else "gone"))
            labels[cluster] = len(kinds)
    return labels, kinds


def _white(both: list[Floats], brain: Bools, contrast: Contrast, water: float, step_mm: float) -> Bools:
    # About where white matter is, with the lesions in it, and away from CSF.
    wet = (
        (both[0] < -water) & (both[1] < -water)
        if contrast == "flair"
        else (both[0] > water) | (both[1] > water)
    )
    dry = ndimage.distance_transform_edt(~(wet & brain), step_mm) > _DRY_MM[contrast]
    if contrast == "flair":
        return np.asarray(dry & brain)
    white = ((both[0] < 3.0) | (both[1] < 3.0)) & brain
    share: Floats = ndimage.gaussian_filter(white.astype(np.float32), 4.0 / step_mm)
    return np.asarray((share > 0.70) & dry & brain)
