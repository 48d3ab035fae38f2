"""Images drawn from label maps: of any contrast, with the hippocampus where the labels say."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from hounsfield.applications.brain_mri.cohort import Patient, sample_patient
from hounsfield.applications.brain_mri.drawn import SIZE, draw_image, label_map, write_drawn
from hounsfield.applications.brain_mri.scan import scene_at, true_volumes
from hounsfield.applications.brain_mri.tissue import TISSUES

HIPPOCAMPUS = TISSUES.index("hippocampus")


@pytest.fixture(scope="module")
def patient() -> Patient:
    return sample_patient(seed=77, diagnosis="normal")


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


def test_every_draw_is_another_image_of_the_same_structures(patient: Patient) -> None:
    tissues = label_map(patient)
    rng = np.random.default_rng(3)
    made = [draw_image(tissues, rng) for _ in range(24)]
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


def test_a_drawn_data_set_lies_as_decathlons_do(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_drawn(tmp_path, patients=1, each=2, seed=9, progress=lambda *at: told.append(at))
    assert told[-1] == (4, 4)
    names = sorted(p.name for p in (tmp_path / "imagesTr").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "labelsTr").iterdir()) and len(names) == 4
    for name in names:
        image, labels = (nibabel.load(tmp_path / f / name) for f in ("imagesTr", "labelsTr"))
        assert np.array_equal(image.affine, labels.affine) and image.shape == labels.shape
        assert set(np.unique(np.asarray(labels.dataobj))) == {0, 1}
        assert nibabel.aff2axcodes(image.affine)[2] == "S"
    assert json.loads((tmp_path / "dataset.json").read_text())["labels"]["hippocampus"] == 1
