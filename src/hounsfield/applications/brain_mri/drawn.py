"""Images drawn from label maps, of random contrast, resolution, shading and shape, to learn a structure by.

The idea is SynthSeg's (Billot, Med Image Anal 2023;86:102789): a network that never sees a real image, but
every contrast that a label map may take, does not depend on a scanner or a sequence. The label maps are those
of this package's simulated heads about one hippocampus, left or mirrored right, bent further than people
differ. What the heads do not show (layers and digitations of the hippocampus, a choroid plexus, disease other
than loss) the network has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hounsfield.applications.brain_mri.cohort import DIAGNOSES, Patient, sample_patient
from hounsfield.applications.brain_mri.scan import scene_at
from hounsfield.applications.brain_mri.scene import View, seen
from hounsfield.applications.brain_mri.tissue import LABELS, TISSUES
from hounsfield.core.plan import Augment
from hounsfield.core.volume import Volume
from hounsfield.io.files import write_text
from hounsfield.io.nifti_write import write_nifti
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.draw import draw
from hounsfield.transforms.patches import cut_patch
from hounsfield.transforms.spline import spline_weights

__all__ = [
    "AROUND",
    "HIPPOCAMPUS",
    "SIZE",
    "Drawn",
    "bent",
    "draw_image",
    "drawn_heads",
    "label_map",
    "scanned",
    "write_drawn",
]

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
SIZE = (64, 72, 56)
"""Slices, rows and columns of a drawn image, of 1 mm: a hippocampus and 15 mm around it."""
AROUND = (100, 108, 88)
_CENTRE = (27.0, -25.0, -11.0)  # of the hippocampus in the atlas frame: left, front, up
_TISSUE_OF = np.zeros(256, np.uint8)
for _name, _both in LABELS.items():
    _TISSUE_OF[list(_both)] = TISSUES.index(_name)
HIPPOCAMPUS = TISSUES.index("hippocampus")
_GREY = ("cortex", "cerebellar-grey", "hippocampus", "amygdala")
_NUCLEI = {"caudate": 0.25, "putamen": 0.35, "thalamus": 0.5, "pallidum": 0.7}
_WHITE = ("white", "brainstem", "cerebellar-white")
_WATER = ("csf", "ventricle", "eye")
_SHAPES = Augment(
    rotation_deg=15, tilt_deg=15, shear_deg=6, zoom=0.15, shift_width=0.12, shift_height=0.12,
    shift_slices=0.12, elastic=0.06, elastic_points=6,
)  # fmt: skip
_SCANS = Augment(
    blur=0.9, low_resolution=2.5, bias_field=0.35, gamma=0.35, noise=0.12, intensity_chance=0.8,
    artefact_chance=0.4,
)  # fmt: skip
_CUT = 0.2  # of the images show little around the hippocampus
_LIKE_T1 = 0.65
_AS_IT_IS = np.array([[1.0, 0.0, -np.inf, np.inf]], np.float32)


@dataclass(frozen=True)
class Drawn:
    """An image (K, J, I) of 1 mm, i to the left, j to the back, k to the top; the hippocampus has label 1."""

    image: Floats
    labels: Labels


def label_map(patient: Patient, *, right: bool = False) -> Labels:
    """The tissues (K, J, I) about a hippocampus, as numbers of `tissue.TISSUES`; a right one is mirrored.

    >>> from hounsfield.applications.brain_mri.cohort import sample_patient
    >>> made = label_map(sample_patient(seed=0))
    >>> made.shape, 1500 < int((made == TISSUES.index("hippocampus")).sum()) < 6000
    ((100, 108, 88), True)
    """
    side = -1.0 if right else 1.0
    k, j, i = AROUND
    to_atlas = np.zeros((3, 4))
    to_atlas[0, 0], to_atlas[1, 1], to_atlas[2, 2] = side, -1.0, 1.0
    x, y, z = _CENTRE
    to_atlas[:, 3] = side * (x - (i - 1) / 2), y + (j - 1) / 2, z - (k - 1) / 2
    view = View(to_atlas, np.zeros(6), np.eye(3, 4))
    still = np.zeros(len(TISSUES))
    found = seen(scene_at(patient, 0.0), view, AROUND, values=still, grains=still)
    return np.ascontiguousarray(_TISSUE_OF[found.labels])


def draw_image(tissues: Labels, rng: np.random.Generator) -> Drawn:
    """One image drawn from a label map: bent, given a contrast, and scanned.

    >>> tissues = np.full((100, 108, 88), TISSUES.index("white"), np.uint8)
    >>> tissues[40:60, 44:64, 34:54] = TISSUES.index("hippocampus")
    >>> made = draw_image(tissues, np.random.default_rng(0))
    >>> made.image.dtype.name, 2000 < int(made.labels.sum()) < 20000
    ('float32', True)
    """
    numbers, _ = bent(tissues, rng)
    means, spreads = _contrast(rng)
    image = means[numbers] + spreads[numbers] * rng.standard_normal(numbers.shape).astype(np.float32)
    return scanned(image, numbers == HIPPOCAMPUS, rng)


def bent(numbers: Labels, rng: np.random.Generator, image: Floats | None = None) -> tuple[Labels, Floats]:
    """A label map of AROUND and an image on it, both turned, moved and bent alike, and cut to SIZE."""
    drawn = draw(_SHAPES, 1, SIZE, rng)
    matrix = drawn.matrix[0].copy()
    matrix[:, 3] += (np.array(AROUND) - np.array(SIZE)) / 2
    assert drawn.displacement is not None
    field = drawn.displacement[0]
    for axis, size in enumerate(SIZE):
        weights = spline_weights(size, drawn.elastic_points).astype(np.float32)
        field = np.moveaxis(np.tensordot(weights, field, (1, axis + 1)), 0, axis + 1)
    values = np.zeros((1, *AROUND), np.float32) if image is None else image[None]
    made, moved = np.empty(SIZE, np.uint8), np.empty((1, *SIZE), np.float32)
    cut_patch(
        values, _AS_IT_IS, numbers, matrix, moved, made,
        displacement=np.ascontiguousarray(field), outside=TISSUES.index("csf"),
    )  # fmt: skip
    return made, moved[0]


def scanned(image: Floats, hippocampus: npt.NDArray[np.bool_], rng: np.random.Generator) -> Drawn:
    """The image as a scanner may show it, at times cut close to the hippocampus."""
    values = np.ascontiguousarray(image[None, None], np.float32)
    seen_so = augmented(values, _AS_IT_IS, draw(_SCANS, 1, SIZE, rng))[0, 0]
    labels = hippocampus.astype(np.uint8)
    if rng.random() < _CUT and labels.any():
        cut = _tight(labels, rng)
        seen_so, labels = seen_so[cut], labels[cut]
    return Drawn(np.ascontiguousarray(seen_so), np.ascontiguousarray(labels))


def drawn_heads(patients: int, each: int, seed: int) -> Iterator[Drawn]:
    """`each` images of either side of so many simulated heads."""
    for number in range(1, patients + 1):
        patient = sample_patient(seed=seed, number=number, diagnosis=DIAGNOSES[number % 3])
        for right in (False, True):
            tissues = label_map(patient, right=right)
            rng = np.random.default_rng([seed, 40, number, int(right)])
            for _ in range(each):
                yield draw_image(tissues, rng)


def write_drawn(out: Path, images: Iterable[Drawn], *, progress: Callable[[int], None] | None = None) -> None:
    """Write a data set in Decathlon's layout."""
    for number, made in enumerate(images):
        for folder, data in (("imagesTr", _stored(made.image)), ("labelsTr", made.labels)):
            (out / folder).mkdir(parents=True, exist_ok=True)
            held = Volume(data[None], np.eye(4), (), True)
            write_nifti(out / folder / f"drawn_{number:05}.nii.gz", held)
        if progress:
            progress(number + 1)
    write_text(
        out / "dataset.json",
        '{"channel_names": {"0": "drawn"}, "labels": {"background": 0, "hippocampus": 1}}\n',
    )


def _contrast(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """What each tissue's voxels are about, and how far they vary, in parts of the brightest."""
    value = dict(zip(TISSUES, rng.uniform(0, 1.1, len(TISSUES)), strict=True))
    if rng.random() < _LIKE_T1:
        water, grey = rng.uniform(0.05, 0.35), rng.uniform(0.45, 0.8)
        turned = rng.random() < 0.15  # as a T2-weighted image: bright water, dark white matter
        levels = (1.0, 0.65, 0.4) if turned else (water, grey, 1.0)
    else:
        levels = tuple(rng.uniform(0.05, 1.1, 3))
    water, grey, white = levels
    for names, level in ((_WATER, water), (_GREY, grey), (_WHITE, white)):
        for name in names:
            value[name] = level + rng.normal(0, 0.03)
    for name, share in _NUCLEI.items():
        value[name] = grey + share * (white - grey) + rng.normal(0, 0.04)
    value["lesion"] = grey + rng.normal(0, 0.1)
    spreads = rng.uniform(0.01, 0.09) * rng.uniform(0.5, 1.5, len(TISSUES))
    return np.array([value[t] for t in TISSUES], np.float32), spreads.astype(np.float32)


def _tight(labels: Labels, rng: np.random.Generator) -> tuple[slice, ...]:
    """A box with 3 to 12 mm around the hippocampus, as data sets cut theirs."""
    where = np.argwhere(labels)
    low = np.maximum(where.min(0) - rng.integers(3, 13, 3), 0)
    high = np.minimum(where.max(0) + 1 + rng.integers(3, 13, 3), labels.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _stored(image: Floats) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(image * 1000), -32000, 32000).astype(np.int16)
