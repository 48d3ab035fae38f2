"""The retinopathy phantom is valid DICOM, tells the truth about itself, and repeats itself."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from hounsfield.applications.catalogue import APPLICATIONS
from hounsfield.applications.phantom_files import stable_uid
from hounsfield.applications.retinopathy.cameras import CAMERAS
from hounsfield.applications.retinopathy.cohort import sample_patients
from hounsfield.applications.retinopathy.dicom_file import SOP_CLASS, Identity, dicom_bytes
from hounsfield.applications.retinopathy.eye import Anatomy, sample_anatomies
from hounsfield.applications.retinopathy.field import Field
from hounsfield.applications.retinopathy.lesion_shapes import QUADRANTS
from hounsfield.applications.retinopathy.lesions import Lesions, sample_lesions
from hounsfield.applications.retinopathy.paint import paint_spots, paint_tubes
from hounsfield.applications.retinopathy.phantom import (
    COLUMNS,
    LESION_MASKS,
    VESSEL_MASKS,
    write_cohort,
)
from hounsfield.applications.retinopathy.photograph import take_photograph
from hounsfield.applications.retinopathy.vessels import ARTERY, VEIN, Tree, grow_tree
from hounsfield.core.errors import BadInput
from hounsfield.steps.scan import scan

Row = dict[str, str]
PATIENTS = 12
PROGRESS: list[tuple[int, int]] = []


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "study"
    write_cohort(folder, patients=PATIENTS, seed=3, progress=lambda *step: PROGRESS.append(step))
    return folder


@pytest.fixture(scope="module")
def rows(study: Path) -> list[Row]:
    with (study / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def eye() -> Anatomy:
    return sample_anatomies(np.random.default_rng(0), age=55, seed=(0,))["R"]


@pytest.fixture(scope="module")
def tree(eye: Anatomy) -> Tree:
    return grow_tree(eye)


def test_the_table_has_a_row_for_each_eye_of_each_patient(rows: list[Row]) -> None:
    assert [(done, PATIENTS) for done in range(1, PATIENTS + 1)] == PROGRESS
    assert tuple(rows[0]) == COLUMNS
    assert Counter((r["patient_id"], r["eye"]) for r in rows) == Counter(
        (f"PHANTOM-{n:04d}", side) for n in range(1, PATIENTS + 1) for side in "RL"
    )
    assert all(int(r["referable"]) == (int(r["grade"]) >= 2) for r in rows)
    assert {r["site"] for r in rows} == set("ABC") and len({r["series_uid"] for r in rows}) == 2 * PATIENTS


def test_headers_say_what_the_table_says(study: Path, rows: list[Row]) -> None:
    for row in rows:
        d = pydicom.dcmread(study / row["file"])
        assert d.SOPClassUID == SOP_CLASS and d.Modality == "OP" and d.PhotometricInterpretation == "RGB"
        assert (d.SOPInstanceUID, d.SeriesInstanceUID) == (row["sop_instance_uid"], row["series_uid"])
        assert d.ImageLaterality == row["eye"] and d.PatientID == row["patient_id"]
        assert d.PatientAge == f"{int(row['age']):03d}Y" and d.PatientSex == row["sex"]
        assert d.ManufacturerModelName == row["camera"] and "NOT A PATIENT" in d.ImageComments
        assert d.pixel_array.shape == (*CAMERAS[row["site"]].shape, 3)  # type: ignore[index]


def test_files_hold_every_attribute_that_their_class_requires(study: Path, rows: list[Row]) -> None:
    found = importlib.util.find_spec("highdicom")
    if found is None or found.origin is None:
        pytest.skip("highdicom, which holds the standard's tables, is not installed")
    tables = Path(found.origin).parent / "_standard"
    modules = json.loads((tables / "module_attribute_map.json").read_text())
    kinds = json.loads((tables / "iod_module_map.json").read_text())["ophthalmic-photography-8-bit-image"]
    dataset = pydicom.dcmread(study / rows[0]["file"])
    for kind in kinds:
        for attribute in modules[kind["key"]]:
            if kind["usage"] == "M" and not attribute["path"] and attribute["type"] in ("1", "2"):
                assert attribute["keyword"] in dataset, attribute["keyword"]
                if attribute["type"] == "1":
                    assert not dataset[attribute["keyword"]].is_empty, attribute["keyword"]


def test_a_scan_reads_eye_camera_and_age(study: Path, rows: list[Row]) -> None:
    images = {s.series: s for s in scan(str(study)).series if s.modality == "OP"}
    for row in rows:
        image = images[row["series_uid"]]
        assert image.laterality == row["eye"] and image.age_years == float(row["age"])
        assert image.channels == 3 and row["camera"] in image.scanner


def test_the_disc_is_bright_and_on_the_side_of_the_nose(study: Path, rows: list[Row]) -> None:
    for row in (r for r in rows if r["gradable"] == "1"):
        disc, fovea = float(row["disc_col"]), float(row["fovea_col"])
        assert (disc > fovea) == (row["eye"] == "R")
        green = pydicom.dcmread(study / row["file"]).pixel_array[..., 1].astype(float)
        at = [round(float(row[f"{what}_{axis}"])) for what in ("disc", "fovea") for axis in ("row", "col")]
        disc_light = np.percentile(green[at[0] - 12 : at[0] + 13, at[1] - 12 : at[1] + 13], 80)
        fovea_light = np.median(green[at[2] - 6 : at[2] + 7, at[3] - 6 : at[3] + 7])
        assert disc_light > 1.25 * fovea_light


def test_masks_lie_on_what_they_name(study: Path, rows: list[Row]) -> None:
    seen: Counter[int] = Counter()
    for row in (r for r in rows if r["gradable"] == "1"):
        green = pydicom.dcmread(study / row["file"]).pixel_array[..., 1].astype(np.float32)
        about = cv2.GaussianBlur(green, (0, 0), 12)
        vessels, lesions = (
            cv2.imread(str(study / where / f"{row['series_uid']}.png"), cv2.IMREAD_UNCHANGED)
            for where in (VESSEL_MASKS, LESION_MASKS)
        )
        assert vessels.shape == lesions.shape == green.shape and set(np.unique(vessels)) == {0, ARTERY, VEIN}
        assert (green - about)[vessels == VEIN].mean() < -4
        assert lesions.any() == (row["grade"] != "0")
        for number, sign in ((1, -1), (2, -1), (3, 1), (4, 1)):
            if (lesions == number).sum() > 60:
                seen[number] += 1
                assert sign * (green - about)[lesions == number].mean() > 3, number
    assert set(seen) == {1, 2, 3, 4}


def test_a_photograph_repeats_itself_to_the_last_byte() -> None:
    patient = sample_patients(patients=12, seed=0)[0]
    identity = Identity(*(stable_uid(n) for n in range(4)), 1)
    made = []
    for _ in range(2):
        shot = patient.shots[0]
        picture = take_photograph(shot.anatomy, CAMERAS[patient.site], grade=2, seed=(1, 2))
        made.append(dicom_bytes(picture, patient=patient, shot=shot, identity=identity))
    assert made[0] == made[1]
    other = take_photograph(patient.shots[0].anatomy, CAMERAS[patient.site], grade=2, seed=(1, 3))
    assert (other.pixels != picture.pixels).mean() > 0.3


def quadrant_counts(lesions: Lesions) -> list[int]:
    x, y = lesions.haemorrhages[:, 0] - 2.0, lesions.haemorrhages[:, 1]
    return [int(((np.sign(x) == a) & (np.sign(y) == b)).sum()) for a, b in QUADRANTS]


@pytest.mark.parametrize("grade", range(5))
def test_lesions_make_the_grade_of_the_international_scale(grade: int, eye: Anatomy, tree: Tree) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        found = sample_lesions(
            rng, eye, tree, grade=grade, seen=lambda p: np.hypot(p[:, 0] - 1, p[:, 1]) < 5.8
        )
        more = [found.haemorrhages, found.exudates, found.cotton_wool, found.irma]
        four_two_one = min(quadrant_counts(found)) > 20 or len(found.beading) >= 2 or len(found.irma) > 0
        proliferates = len(found.new_vessels) > 0 or len(found.preretinal) > 0 or found.vitreous > 0
        assert (len(found.microaneurysms) > 0) == (grade > 0)
        assert any(map(len, more)) == (grade >= 2)
        assert proliferates == (grade == 4)
        if grade < 4:
            assert four_two_one == (grade == 3)


def test_eyes_of_a_person_are_alike_and_a_few_photographs_are_spoiled() -> None:
    cohort = sample_patients(patients=1500, seed=2)
    right, left = (np.array([p.shots[side].grade for p in cohort]) for side in (0, 1))
    assert 0.75 < np.corrcoef(right, left)[0, 1] < 0.97 and (right != left).mean() > 0.15
    shares = np.bincount(right, minlength=5) / len(right)
    assert (shares > [0.3, 0.1, 0.15, 0.06, 0.06]).all()
    assert 0.045 < np.mean([bool(s.fault) for p in cohort for s in p.shots]) < 0.08
    sick = {site: np.mean([p.shots[0].grade >= 2 for p in cohort if p.site == site]) for site in "ABC"}
    assert sick["B"] > sick["A"] + 0.1
    years = [p.diabetes_years for p in cohort]
    assert np.corrcoef(years, right)[0, 1] > 0.3


def test_vessels_hang_together_taper_and_keep_away_from_the_fovea(eye: Anatomy, tree: Tree) -> None:
    pieces = tree.pieces
    ends = {tuple(np.round(p, 6)) for p in pieces[:, 2:4]}
    loose = [tuple(np.round(p[:2], 6)) for p in pieces if tuple(np.round(p[:2], 6)) not in ends]
    disc = np.array(eye.disc_mm)
    assert len(loose) < 20 and np.hypot(*(np.array(loose) - disc).T).max() < 1.0  # roots lie at the disc
    assert (pieces[:, 5] <= pieces[:, 4]).all() and np.hypot(pieces[:, 2], pieces[:, 3]).min() > 0.3
    width = {kind: np.sort(tree.of(kind)[:, 4])[-50:].mean() for kind in (ARTERY, VEIN)}
    assert 0.6 < width[ARTERY] / width[VEIN] < 0.9  # veins are a third wider
    for x_sign, y_sign in QUADRANTS:
        here = (np.sign(pieces[:, 0] - 2) == x_sign) & (np.sign(pieces[:, 1]) == y_sign)
        assert here.sum() > 150


def test_places_and_pixels_undo_each_other() -> None:
    for side in ("R", "L"):
        field = Field((90, 120), radius=40.0, mm_a_pixel=0.03, centre_mm=(1.5, -0.4), turn=0.2, eye=side)  # type: ignore[arg-type]
        x, y = field.places()
        spots = np.column_stack([x.ravel(), y.ravel()]).astype(float)
        columns, rows = field.pixels(spots).T
        j, i = np.mgrid[:90, :120]
        assert np.allclose(columns, i.ravel(), atol=1e-3) and np.allclose(rows, j.ravel(), atol=1e-3)


def test_painted_tubes_and_spots_cover_the_area_that_geometry_says() -> None:
    field = Field((200, 200), radius=100.0, mm_a_pixel=0.01, centre_mm=(0.0, 0.0), turn=0.0, eye="R")
    tube = np.array([[-0.5, 0.1, 0.4, 0.3, 0.06, 0.06, VEIN, 0.0]])
    depth = np.zeros(field.shape, np.float32)
    paint_tubes(tube, field, depth)
    length = math.hypot(0.9, 0.2)
    assert (depth > 0.2).sum() * 1e-4 == pytest.approx(length * 0.12 + math.pi * 0.06**2, rel=0.08)
    spot = np.array([[0.2, -0.1, 0.5, 0.25, 0.4, 0.05, *[0.0] * 6]])
    depth[:] = 0
    paint_spots(spot, field, depth)
    assert depth.sum() * 1e-4 == pytest.approx(math.pi * 0.5 * 0.25, rel=0.02)
    j, i = np.nonzero(depth > 0.5)
    assert (i.mean(), j.mean()) == pytest.approx((119.5, 109.5), abs=0.5)
    assert np.arctan2(*np.linalg.eigh(np.cov(i, -j))[1][::-1, 1]) % math.pi == pytest.approx(0.4, abs=0.05)


def test_a_fault_changes_the_light_and_not_the_truth(eye: Anatomy) -> None:
    clean = take_photograph(eye, CAMERAS["A"], grade=2, seed=(5, 6))
    dark = take_photograph(eye, CAMERAS["A"], grade=2, fault="dark", seed=(5, 6))
    assert (dark.lesions == clean.lesions).all() and (dark.vessels == clean.vessels).all()
    assert dark.pixels.mean() < 0.4 * clean.pixels.mean()
    mirrored = take_photograph(replace(eye, eye="L"), CAMERAS["A"], grade=2, seed=(5, 6))
    assert (mirrored.vessels[:, ::-1] == clean.vessels).mean() > 0.999


def test_too_few_patients_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="3 phantom patients: expected 12 to 9999"):
        write_cohort(tmp_path / "x", patients=3)
    assert APPLICATIONS["retinopathy"]().write_cohort is write_cohort
