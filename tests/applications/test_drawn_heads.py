"""Images drawn from label maps: of any contrast, with the hippocampus where the labels say."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from hounsfield.applications.brain_mri.cohort import Patient, sample_patient
from hounsfield.applications.brain_mri.drawn import SIZE, draw_image, drawn_heads, label_map, write_drawn
from hounsfield.applications.brain_mri.drawn_crops import draw_crop, read_crops
from hounsfield.applications.brain_mri.scan import scene_at, true_volumes
from hounsfield.applications.brain_mri.tissue import TISSUES

HIPPOCAMPUS = TISSUES.index("hippocampus")


@pytest.fixture(scope="module")
def patient() -> Patient:
    return sample_patient(seed=77, diagnosis="normal")


@pytest.fixture(scope="module")
def tissues(patient: Patient) -> NDArray[np.uint8]:
    return label_map(patient)


def test_a_label_map_holds_one_whole_hippocampus_of_the_true_size(patient: Patient) -> None:
    truth = true_volumes(patient, scene_at(patient, 0.0))
    size = float(np.prod(patient.scale)) / 1000
    for right, ml in ((False, truth.hippocampus_left_ml), (True, truth.hippocampus_right_ml)):
        found = label_map(patient, right=right) == HIPPOCAMPUS
        assert found.sum() * size == pytest.approx(ml, rel=0.05)
        where = np.argwhere(found)
        assert (where.min(0) > 15).all() and (where.max(0) < np.array(found.shape) - 15).all()
    sides = [np.argwhere(label_map(patient, right=r) == HIPPOCAMPUS).mean(0) for r in (False, True)]
    assert np.abs(sides[0] - sides[1]).max() < 4  # the right one is mirrored onto the left


def test_every_draw_is_another_image_of_the_same_structures(tissues: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(3)
    made = [draw_image(tissues, rng) for _ in range(16)]
    assert all(np.isfinite(m.image).all() and m.image.std() > 0 for m in made)
    volumes = np.array([m.labels.sum() for m in made])
    assert (volumes > 800).all() and volumes.max() / volumes.min() > 1.3
    small = [m for m in made if m.image.shape != SIZE]
    assert 0 < len(small) < len(made) and all(m.labels.any() for m in small)
    # Beside white matter the hippocampus is darker in most images and brighter in some.
    darker = [m.image[m.labels > 0].mean() < np.percentile(m.image, 75) for m in made]
    assert 0.4 < np.mean(darker) < 1.0
    again = draw_image(tissues, np.random.default_rng(3))
    assert np.array_equal(again.image, made[0].image) and np.array_equal(again.labels, made[0].labels)


def test_a_drawn_data_set_lies_as_decathlons_do(tissues: NDArray[np.uint8], tmp_path: Path) -> None:
    told: list[int] = []
    rng = np.random.default_rng(2)
    write_drawn(tmp_path, (draw_image(tissues, rng) for _ in range(4)), progress=told.append)
    assert told == [1, 2, 3, 4]
    names = sorted(p.name for p in (tmp_path / "imagesTr").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "labelsTr").iterdir()) and len(names) == 4
    for name in names:
        image, labels = (nibabel.load(tmp_path / f / name) for f in ("imagesTr", "labelsTr"))
        assert np.array_equal(image.affine, labels.affine) and image.shape == labels.shape
        assert set(np.unique(np.asarray(labels.dataobj))) == {0, 1}
        assert nibabel.aff2axcodes(image.affine)[2] == "S"
    assert json.loads((tmp_path / "dataset.json").read_text())["labels"]["hippocampus"] == 1


def test_a_drawn_head_shows_its_hippocampus() -> None:
    one = next(drawn_heads(1, 1, 9))
    assert one.image.shape == one.labels.shape and one.labels.sum() > 800


def crop(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A bent rod of brightness 500 in white matter of 900, with fluid of 150 on one side."""
    k, j, i = np.indices((34, 48, 32))
    rod = (k - 10 - 0.25 * j) ** 2 + (i - 16) ** 2 < 25
    rod &= (j > 6) & (j < 42)
    values = np.where(rod, 500.0, np.where(k > 22, 150.0, 900.0)) + rng.normal(0, 20, rod.shape)
    return values.astype(np.float32), rod


def test_a_crop_is_drawn_in_any_contrast_and_its_outline_moves_with_it() -> None:
    rng = np.random.default_rng(4)
    values, rod = crop(rng)
    made = [draw_crop(values, rod, rng) for _ in range(12)]
    sizes = np.array([m.labels.sum() for m in made])
    assert (sizes > 0.5 * rod.sum()).all() and (sizes < 2 * rod.sum()).all() and np.unique(sizes).size > 8
    sides = []
    for one in made:
        inside, around = one.labels > 0, ndimage.binary_dilation(one.labels, iterations=3) & (one.labels == 0)
        spread = one.image.std()
        sides.append(float(one.image[inside].mean() - one.image[around].mean()) / spread)
    # The rod stands out where it lies, darker or brighter; were the outline elsewhere, nothing would.
    assert np.median(np.abs(sides)) > 0.5 and min(sides) < 0 < max(sides)
    again = draw_crop(values, rod, np.random.default_rng(8))
    assert np.array_equal(again.image, draw_crop(values, rod, np.random.default_rng(8)).image)


def test_crops_are_read_with_left_back_and_top_last(tmp_path: Path) -> None:
    values, rod = crop(np.random.default_rng(0))
    for folder, data in (("images", values), ("labels", rod.astype(np.uint8) * 2)):
        (tmp_path / folder).mkdir()
        stored = nibabel.Nifti1Image(data.transpose(2, 1, 0)[::-1, ::-1], np.eye(4))  # to the right, forwards
        nibabel.save(stored, tmp_path / folder / "case.nii.gz")
    ((read, mask),) = read_crops(tmp_path)
    assert np.array_equal(mask, rod) and np.allclose(read, values)
