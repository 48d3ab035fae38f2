"""Cases of a segmentation from sets as they are published: structures, fields of view, patients, parts."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from ct_mr_series import write_series
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Grid, Plan
from hounsfield.io.source import Source
from hounsfield.pipeline.seeing import channels_of
from hounsfield.steps.gather import Question
from hounsfield.steps.regions.fingerprint import RegionFacts, region_facts
from hounsfield.steps.regions.gather import Outlined, gather_outlined
from hounsfield.steps.regions.to_grid import native_case
from hounsfield.steps.scan import scan
from hounsfield.steps.segmentation.design import design_segmentation
from outlines import ball, draw_pictures, draw_volumes, save_nifti

SHAPE = (8, 16, 14)
ALL = {"split": False}


def _gathered(folder: Path, question: Question | None = None, *, split: bool = False) -> Outlined:
    return gather_outlined(scan(str(folder)), question or Question(), split=split)


def _facts(folder: Path, found: Outlined) -> RegionFacts:
    return region_facts(
        str(folder), found.cohort.cases, found.structures, found.channels, ignore=found.ignore
    )


def test_structures_are_numbered_where_nobody_names_them(tmp_path: Path) -> None:
    draw_volumes(tmp_path, 5, shape=SHAPE)
    found = _gathered(tmp_path, split=True)
    assert found.structures == ("label 1", "label 2") and found.channels == ("image",)
    assert len(found.cohort.cases) == 5 and found.cohort.encoding.kind == "multilabel"
    assert all(c.answer is not None and c.answer.positive == (0, 1) for c in found.cohort.cases)
    assert len(found.cohort.test) >= 1 and not any(c.patient_known for c in found.cohort.cases)
    named = _gathered(tmp_path, Question(classes=("liver", "spleen")))
    assert named.structures == ("liver", "spleen")


def test_whole_labels_stored_as_real_numbers_are_taken(tmp_path: Path) -> None:
    draw_volumes(tmp_path, 3, shape=SHAPE)
    for path in (tmp_path / "labels").iterdir():
        labels = np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)
        save_nifti(path, labels.astype(np.float64))
    found = _gathered(tmp_path)
    with Source(str(tmp_path)) as source:
        native = native_case(source, found.cohort.cases[0], found.structures)
    assert native.labels is not None and np.unique(native.labels).tolist() == [0, 1, 2]


def test_dataset_json_names_labels_channels_regions_and_what_is_ignored(tmp_path: Path) -> None:
    draw_volumes(tmp_path, 4, shape=SHAPE)
    (tmp_path / "dataset.json").write_text(
        json.dumps(
            {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}
        )
    )
    assert _gathered(tmp_path).structures == ("Anterior", "Posterior")
    told = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(told))
    found = _gathered(tmp_path)
    assert (
        found.ignore == 3
        and found.regions == (("whole", (1, 2)), ("core", (2,)))
        and len(found.structures) == 2
    )
    (tmp_path / "dataset.json").write_text('{"labels": ["a"]}')
    with pytest.raises(BadInput, match=r"dataset\.json cannot be read"):
        _gathered(tmp_path)


def test_a_mask_that_encloses_all_others_is_the_field_of_view(tmp_path: Path) -> None:
    draw_pictures(tmp_path, 4, size=48)
    (tmp_path / "masks").rename(tmp_path / "1st_manual")
    (tmp_path / "mask").mkdir()
    view = ball((1, 48, 48), np.array([0, 23.5, 23.5]), 23)[0]
    for n in range(4):
        (tmp_path / f"1st_manual/{n:02}_mask.png").rename(tmp_path / f"1st_manual/{n:02}_manual1.png")
        Image.fromarray(view.astype(np.uint8) * 255).save(tmp_path / f"mask/{n:02}_mask.png")
    found = _gathered(tmp_path)
    assert any('"mask" enclose all others' in n for n in found.cohort.notes)
    with Source(str(tmp_path)) as source:
        native = native_case(source, found.cohort.cases[0], found.structures)
    assert native.labels is not None and native.within is not None
    assert np.array_equal(native.within[0], view) and (native.labels[0][~view] == 255).all()
    assert set(np.unique(native.labels[0][view])) == {0, 1}
    chosen = _gathered(tmp_path, Question(masks="1st_manual"))
    assert all(c.within is None for c in chosen.cohort.cases)


def test_a_file_a_structure_says_what_was_outlined(tmp_path: Path) -> None:
    for n in range(4):
        inside = ball(SHAPE, np.array([4, 8, 7]), 3).astype(np.uint8)
        save_nifti(tmp_path / f"s{n}/ct.nii.gz", 100 * inside.astype(np.int16) - 1000)
        for name in ("liver", "spleen") if n else ("liver",):
            save_nifti(
                tmp_path / f"s{n}/segmentations/{name}.nii.gz", inside if name == "liver" else 0 * inside
            )
    found = _gathered(tmp_path)
    assert found.structures == ("liver", "spleen")
    assert [c.annotated for c in found.cohort.cases] == [(1,), (1, 2), (1, 2), (1, 2)]
    assert all(c.answer is not None and c.answer.positive == (0,) for c in found.cohort.cases)
    assert len({c.patient for c in found.cohort.cases}) == 4
    assert _facts(tmp_path, found).kinds == ("ct",)
    chosen = _gathered(tmp_path, Question(classes=("liver",)))
    assert chosen.structures == ("liver",) and all(c.annotated == (1,) for c in chosen.cohort.cases)
    assert any('1 other structure(s) were left out: "spleen"' in n for n in chosen.cohort.notes)
    with pytest.raises(BadInput, match=r'asks for "splean".*did you mean "spleen"'):
        _gathered(tmp_path, Question(classes=("liver", "splean")))
    known = gather_outlined(scan(tmp_path), Question(), structures=("liver", "kidney"), split=False)
    assert known.structures == ("liver", "kidney")  # a model's, of which nobody drew one here


def test_masks_of_dicom_series_are_named_by_their_uid(tmp_path: Path) -> None:
    for n in range(3):
        uid = f"1.2.826.0.1.3680043.8.498.{n + 1}"
        values = np.random.default_rng(n).integers(0, 900, SHAPE).astype(np.int16)
        positions = write_series(
            tmp_path / f"series{n}",
            values,
            SeriesInstanceUID=uid,
            PatientID=f"P{n}",
            StudyInstanceUID=f"{uid}.1",
        )
        labels = np.zeros(SHAPE, np.uint8)
        labels[2:5, 3:9, 4:8] = 1
        affine = np.diag([-0.75, -0.75, 2.0, 1.0])  # LPS to RAS
        affine[:3, 3] = positions[0] * (-1, -1, 1)
        (tmp_path / "masks").mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), affine), tmp_path / f"masks/{uid}.nii.gz")
    found = _gathered(tmp_path)
    assert len(found.cohort.cases) == 3 and all(c.patient_known for c in found.cohort.cases)
    with Source(str(tmp_path)) as source:
        native = native_case(source, found.cohort.cases[1], found.structures)
    assert native.labels is not None and native.labels.sum() == labels.sum() and native.labels[3, 4, 5] == 1


def test_channels_of_one_file_are_no_images_of_their_own(tmp_path: Path) -> None:
    for n in range(3):
        rng = np.random.default_rng(n)
        (tmp_path / "imagesTr").mkdir(exist_ok=True)
        four = rng.normal(0, 20, (*SHAPE[::-1], 2)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(four, np.eye(4)), tmp_path / f"imagesTr/c_{n}.nii.gz")
        save_nifti(tmp_path / f"labelsTr/c_{n}.nii.gz", ball(SHAPE, np.array([4, 8, 7]), 3).astype(np.uint8))
    found = _gathered(tmp_path)
    facts = _facts(tmp_path, found)
    assert facts.channels == ("channel 1", "channel 2") and len(found.cohort.cases[0].images) == 1
    assert channels_of(design_segmentation(facts, found.structures)) == ()
    of_files = Plan(grid=Grid(channels=("ct", "pet"), normalise=("zscore", "zscore")))
    assert channels_of(of_files) == ("ct", "pet") and channels_of(None) == channels_of(Plan()) == ()


def test_colours_are_channels_of_a_picture_and_have_no_spacing(tmp_path: Path) -> None:
    draw_pictures(tmp_path, 4)
    facts = _facts(tmp_path, _gathered(tmp_path))
    assert facts.channels == ("red", "green", "blue") and facts.kinds == ("picture",) * 3
    assert facts.flat and facts.spacings.shape == (4, 0)


def _real(real_data: Path, *parts: str) -> str:
    folder = real_data.joinpath(*parts)
    if not folder.is_dir():
        pytest.skip(f"{parts[0]} is not here")
    return str(folder)


@pytest.mark.realdata
def test_drive(real_data: Path) -> None:
    source = _real(real_data, "drive", "training")
    found = gather_outlined(scan(source), Question())
    assert len(found.cohort.cases) == 20 and found.channels == ("image",) and len(found.structures) == 1
    assert all(c.within is not None and len(c.masks) == 1 for c in found.cohort.cases)
    facts = region_facts(source, found.cohort.development, found.structures, found.channels)
    plan = design_segmentation(facts, found.structures)
    assert (
        plan.grid.channels == ("red", "green", "blue")
        and plan.grid.patch[0] == 1
        and plan.grid.spacing_mm == ()
    )
    assert plan.grid.mirror == (1, 2) and 96 <= plan.grid.patch[1] <= 256 and len(plan.network.strides) >= 4


@pytest.mark.realdata
def test_hippocampus(real_data: Path) -> None:
    source = _real(real_data, "msd_hippocampus")
    found = gather_outlined(scan(source), Question(test_fraction=80 / 180))
    assert len(found.cohort.cases) == 180 and len(found.structures) == 2 and len(found.cohort.test) == 80
    facts = region_facts(source, found.cohort.development[:12], found.structures, found.channels)
    plan = design_segmentation(facts, found.structures)
    assert plan.grid.spacing_mm == (1.0, 1.0, 1.0) and plan.grid.normalise == ("zscore",)
    assert all(32 <= p <= 64 for p in plan.grid.patch) and plan.segmentation.outputs == 3
    assert all(k == (3, 3, 3) for k in plan.network.kernels)


@pytest.mark.realdata
def test_sarcoma_pet_ct(real_data: Path) -> None:
    source = _real(real_data, "sts_petctmr")
    found = gather_outlined(scan(source), Question(channels=("CT", "PET")), split=False)
    assert len(found.cohort.cases) == 7 and found.channels == ("ct", "pet") and len(found.structures) == 1
    assert len({c.patient for c in found.cohort.cases}) == 7 and all(
        len(c.images) == 2 for c in found.cohort.cases
    )
    facts = region_facts(source, found.cohort.cases[:2], found.structures, found.channels)
    plan = design_segmentation(facts, found.structures)
    assert (
        len(plan.grid.normalise) == 2
        and plan.grid.normalise[0] == "fixed"
        and plan.grid.normalise[1] == "zscore"
    )
    assert len(plan.grid.spacing_mm) == 3 and min(plan.grid.patch) > 1
