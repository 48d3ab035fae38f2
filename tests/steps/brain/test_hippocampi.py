"""The shipped network finds both hippocampi of a simulated head, and says so where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hounsfield.applications.brain_mri.cohort import sample_patient
from hounsfield.applications.brain_mri.drawn_crops import read_crops
from hounsfield.applications.brain_mri.scan import scene_at
from hounsfield.applications.brain_mri.scene import View, seen
from hounsfield.applications.brain_mri.tissue import BRAIN, GREY, LABELS, TISSUES
from hounsfield.steps.brain import hippocampi
from hounsfield.steps.brain.hippocampi import find_hippocampi, outlined_box
from hounsfield.steps.brain.upright import Upright
from hounsfield.steps.regions import members

SHAPE, STEP = (104, 128, 92), 1.6
Head = tuple[Upright, NDArray[np.bool_], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def head() -> Head:
    """A head in a T1-like contrast on cubes of 1.6 mm, what is inside its skull, and its labels."""
    patient = sample_patient(seed=612, diagnosis="normal", years=(0.0,))
    value = dict.fromkeys(TISSUES, 0.3)
    value |= {"air": 0.0, "csf": 0.2, "ventricle": 0.2, "fat": 1.1, "bone": 0.1}
    value |= dict.fromkeys(GREY, 0.6) | dict.fromkeys(("white", "brainstem", "cerebellar-white"), 1.0)
    value |= {"thalamus": 0.8, "pallidum": 0.9, "putamen": 0.7}
    k, j, i = SHAPE
    to_atlas = np.zeros((3, 4))
    to_atlas[0, 0], to_atlas[1, 1], to_atlas[2, 2] = STEP, -STEP, STEP
    to_atlas[:, 3] = -STEP * (i - 1) / 2, STEP * (j - 1) / 2 - 14, -STEP * (k - 1) / 2
    view = View(to_atlas, np.zeros(6), np.eye(3, 4))
    means = 100 * np.array([value[t] for t in TISSUES])
    found = seen(scene_at(patient, 0.0), view, SHAPE, values=means, grains=np.zeros(len(TISSUES)))
    noise = np.random.default_rng(0).normal(0, 2.0, SHAPE)
    data = np.maximum(found.intensity + noise, 0).astype(np.float32)
    inside = np.isin(found.labels, [n for t in (*BRAIN, "ventricle", "csf") for n in LABELS[t]])
    return Upright(data, np.diag([STEP, STEP, STEP, 1.0]), np.ones(SHAPE, bool)), inside, found.labels


def test_both_hippocampi_are_found_where_they_are(head: Head) -> None:
    image, inside, labels = head
    found = find_hippocampi(image, inside)
    for one, label in zip((found.left, found.right), LABELS["hippocampus"], strict=True):
        assert one.doubt == ""
        true = labels == label
        box = tuple(slice(a, a + n) for a, n in zip(one.low, one.probability.shape, strict=True))
        mask = np.zeros(true.shape, bool)
        mask[box] = one.probability > 0.5
        assert 2 * (mask & true).sum() / (mask.sum() + true.sum()) > 0.7
        assert one.volume_ml == pytest.approx(true.sum() * STEP**3 / 1000, rel=0.3)


def test_a_mirrored_box_is_outlined_as_its_mirror_image(head: Head) -> None:
    image = head[0].data[20:60, 40:85, 50:85]
    turned = outlined_box(np.ascontiguousarray(image[:, :, ::-1]), STEP, mirrored=True)
    np.testing.assert_allclose(turned[:, :, ::-1], outlined_box(image, STEP), atol=1e-5)


def test_a_machine_with_a_gpu_outlines_on_its_processor_all_the_same(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = head[0].data[20:60, 40:85, 50:85]
    told = outlined_box(image, STEP)
    there = torch.device("meta")  # stands for a GPU: whatever is put on it cannot be computed with here
    monkeypatch.setattr(members, "pick_device", lambda name: there if name == "auto" else torch.device(name))
    hippocampi._loaded.cache_clear()
    try:
        np.testing.assert_allclose(outlined_box(image, STEP), told, atol=1e-3)
    finally:
        hippocampi._loaded.cache_clear()


def test_no_volume_is_told_where_no_hippocampus_is_found(head: Head) -> None:
    image, inside, _ = head
    noise = np.random.default_rng(1).normal(50, 5, SHAPE).astype(np.float32)
    found = find_hippocampi(Upright(noise, image.affine, image.seen), inside)
    assert found.left.doubt and found.right.doubt


@pytest.mark.realdata
def test_real_hippocampi_that_were_never_drawn_from_are_outlined(real_data: Path) -> None:
    dice = []
    for values, mask in read_crops(real_data / "msd_hippocampus")[-12:]:
        answers = [outlined_box(values, 1.0, mirrored=m) for m in (False, True)]
        found = max(answers, key=lambda a: float(a.sum())) > 0.5
        dice.append(2 * float((found & mask).sum()) / float(found.sum() + mask.sum()))
    assert np.mean(dice) > 0.75
