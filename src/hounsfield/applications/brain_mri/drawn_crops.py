"""Images drawn about real outlines of a hippocampus, which a data set cuts out close around it.

As SynthSeg does where only one structure is outlined (Billot, Med Image Anal 2023;86:102789), the rest of the
crop is divided by brightness into a few kinds, and every kind takes a contrast of its own. Some images keep
the values that were measured. What lies beyond the crop nobody knows: it is filled with patches of the kinds
that were found, with a border that has no straight edge to learn from. Either side of the head may be given:
half of the images are mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.cluster import KMeans

from hounsfield.applications.brain_mri.drawn import AROUND, HIPPOCAMPUS, Drawn, bent, scanned
from hounsfield.transforms.resize import resize

__all__ = ["HELD_BACK", "Crop", "draw_crop", "drawn_crops", "read_crops"]

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Crop = tuple[Floats, npt.NDArray[np.bool_]]
"""Values and where the hippocampus is, (K, J, I) of 1 mm: k to the top, j to the back, i to the left."""
HELD_BACK = 80
"""So many cases of the data set, the last by name, are never drawn from: the network is measured on them."""
_FIRST = 64
"""Numbers of the kinds that brightness divides begin here; they are no tissues."""
_KINDS = (3, 7)
_MEASURED = 0.4
_LIKE_ITSELF = 0.5
_FADES_MM = 5.0
_BLOBS_MM = (3.0, 7.0)
_COARSE = 4


def read_crops(folder: Path) -> list[Crop]:
    """The cases of a data set in Decathlon's layout by the order of names; any label is hippocampus."""
    (images,) = folder.glob("images*")
    (labels,) = folder.glob("labels*")
    found = []
    for path in sorted(images.glob("*.nii*")):
        values, marked = (_turned(nibabel.load(one)) for one in (path, labels / path.name))
        found.append((values.astype(np.float32), marked > 0))
    return found


def _turned(image: nibabel.Nifti1Image) -> npt.NDArray[np.float64]:
    way = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(image.affine), nibabel.orientations.axcodes2ornt("LPS")
    )
    turned = nibabel.orientations.apply_orientation(np.asarray(image.dataobj, np.float64), way)
    return np.ascontiguousarray(turned.transpose(2, 1, 0))


def drawn_crops(crops: Sequence[Crop], each: int, seed: int) -> Iterator[Drawn]:
    """`each` images of every crop."""
    for number, (values, mask) in enumerate(crops):
        rng = np.random.default_rng([seed, 41, number])
        for _ in range(each):
            yield draw_crop(values, mask, rng)


def draw_crop(values: Floats, mask: npt.NDArray[np.bool_], rng: np.random.Generator) -> Drawn:
    """One image drawn from a crop and its outline.

    >>> mask = np.zeros((30, 40, 30), bool)
    >>> mask[10:20, 10:30, 10:20] = True
    >>> made = draw_crop(np.where(mask, 3, 5).astype(np.float32), mask, np.random.default_rng(0))
    >>> 500 < int(made.labels.sum()) < 8000
    True
    """
    if rng.random() < 0.5:
        values, mask = values[:, :, ::-1], mask[:, :, ::-1]
    level = _levelled(values)
    numbers, means = _kinds(level, mask, rng)
    numbers, level = _surrounded(numbers, level, means, rng)
    bent_numbers, measured = bent(numbers, rng, level)
    if rng.random() < _MEASURED:
        return scanned(measured, bent_numbers == HIPPOCAMPUS, rng)
    if rng.random() < _LIKE_ITSELF:
        brightness = means + rng.normal(0, 0.06, means.size)
    else:
        brightness = rng.uniform(0, 1.1, means.size)
    spread = rng.uniform(0.01, 0.09) * rng.uniform(0.5, 1.5, means.size)
    noise = rng.standard_normal(bent_numbers.shape)
    image = brightness[bent_numbers] + spread[bent_numbers] * noise
    return scanned(image.astype(np.float32), bent_numbers == HIPPOCAMPUS, rng)


def _levelled(values: Floats) -> Floats:
    """The values with their first and last per cent at 0 and 1."""
    low, high = np.percentile(values, [1, 99])
    return np.clip((values - low) / max(high - low, 1e-6), -0.1, 1.2).astype(np.float32)


def _kinds(
    level: Floats, mask: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Labels, npt.NDArray[np.float64]]:
    """The crop divided into kinds, and how bright each number is (256)."""
    around = level[~mask][:, None]
    count = min(int(rng.integers(*_KINDS)), np.unique(around).size)
    seed = int(rng.integers(2**31))
    some = around[:: max(1, around.size // 4000)]
    found = KMeans(count, n_init=1, max_iter=20, random_state=seed).fit(some)
    numbers = np.full(level.shape, HIPPOCAMPUS, np.uint8)
    numbers[~mask] = _FIRST + found.predict(around)
    means = np.zeros(256)
    means[_FIRST : _FIRST + count] = found.cluster_centers_[:, 0]
    means[HIPPOCAMPUS] = level[mask].mean()
    return numbers, means


def _surrounded(
    numbers: Labels, level: Floats, means: npt.NDArray[np.float64], rng: np.random.Generator
) -> tuple[Labels, Floats]:
    """Crop and values in the middle of AROUND; further out more and more in patches of the same kinds."""
    before = [(n - m) // 2 for n, m in zip(AROUND, level.shape, strict=True)]
    pads = [(b, n - m - b) for b, n, m in zip(before, AROUND, level.shape, strict=True)]
    inside = np.pad(np.ones(level.shape, bool), pads)
    far = ndimage.distance_transform_edt(~inside).astype(np.float32)
    wide_numbers, wide_level = np.pad(numbers, pads, "edge"), np.pad(level, pads, "edge")
    count = int(wide_numbers.max()) - _FIRST + 1
    few = tuple(n // _COARSE for n in AROUND)
    smooth = rng.uniform(*_BLOBS_MM) / _COARSE
    noise = rng.standard_normal((count + 1, *few), np.float32)
    coarse = ndimage.gaussian_filter(noise, (0, smooth, smooth, smooth))
    *fields, border = resize(coarse, AROUND, interpolation="linear")
    blobs = np.argmax(fields, axis=0).astype(np.uint8) + _FIRST
    reach = _FADES_MM * (1 + border / border.std())
    numbers = np.where(inside | (far < reach), wide_numbers, blobs)
    kept = np.exp(-far / _FADES_MM)
    grain = rng.normal(0, float(rng.uniform(0.01, 0.06)), AROUND)
    made = np.where(inside, wide_level, kept * wide_level + (1 - kept) * (means[blobs] + grain))
    return numbers.astype(np.uint8), made.astype(np.float32)
