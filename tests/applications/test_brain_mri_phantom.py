"""The brain MRI phantom is valid DICOM, tells the truth about what is lost, and repeats itself."""

from __future__ import annotations

import csv
import functools
import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from hounsfield.applications.brain_mri import scan
from hounsfield.applications.brain_mri.atrophy import MOVES, Course, Loss, loss_after, moved
from hounsfield.applications.brain_mri.cohort import Patient, sample_patient, sample_roles
from hounsfield.applications.brain_mri.fields import waves
from hounsfield.applications.brain_mri.lesions import Lesion
from hounsfield.applications.brain_mri.phantom import COLUMNS, write_cohort
from hounsfield.applications.brain_mri.scan import (
    Visit,
    percentage_change,
    scene_at,
    take_visits,
    true_volumes,
)
from hounsfield.applications.brain_mri.scanners import SCANNERS, image_of
from hounsfield.applications.brain_mri.shapes import ellipsoid, joined, tubes
from hounsfield.applications.brain_mri.structures import cavity
from hounsfield.applications.catalogue import APPLICATIONS
from hounsfield.core.errors import BadInput
from hounsfield.io import Source, index_of, read_volume

pytestmark = pytest.mark.xdist_group("brain-mri")  # one process makes the phantom for all
Row = dict[str, str]
COARSE = functools.partial(true_volumes, step_mm=3.0)
MATRIX = 40


@pytest.fixture(scope="session")
def patient() -> Patient:
    return sample_patient(seed=4, diagnosis="dementia", annual_loss=0.015, years=(0.0, 0.0, 2.0))


@pytest.fixture(scope="session")
def visits(patient: Patient) -> list[Visit]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "true_volumes", COARSE)
        return list(take_visits(patient, seed=4, matrix=MATRIX))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, patient: Patient) -> Path:
    # The anatomy of one patient stands for all three: the folder is what is looked at.
    folder = tmp_path_factory.mktemp("brain") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "true_volumes", COARSE)
        patch.setattr(
            "hounsfield.applications.brain_mri.phantom.sample_anatomy",
            lambda role, seed: replace(patient, role=role),
        )
        steps: list[tuple[int, int]] = []
        write_cohort(folder, patients=3, seed=1, matrix=24, progress=lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    return folder


@pytest.fixture(scope="session")
def rows(study: Path) -> list[Row]:
    with (study / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_scans_of_a_day_have_one_truth_and_two_poses(visits: list[Visit]) -> None:
    first, again, _ = visits
    assert again.rescan and first.truth == again.truth and first.day == again.day
    assert not np.allclose(first.head_to_lps, again.head_to_lps, atol=0.1)
    assert (first.image != again.image).mean() > 0.5


def test_loss_is_about_what_was_asked_for(visits: list[Visit]) -> None:
    first, _, last = visits
    assert percentage_change(first.truth, last.truth) == pytest.approx(-3.0, abs=0.5)
    assert last.truth.ventricles_ml > 1.05 * first.truth.ventricles_ml
    assert last.truth.hippocampus_left_ml < 0.97 * first.truth.hippocampus_left_ml
    assert last.truth.hippocampus_right_ml < 0.97 * first.truth.hippocampus_right_ml
    gained = last.truth.csf_ml - first.truth.csf_ml
    assert gained == pytest.approx(first.truth.brain_ml - last.truth.brain_ml, rel=0.02)  # the skull is full


def test_volumes_hardly_depend_on_the_grid(patient: Patient) -> None:
    scenes = [scene_at(patient, years) for years in (0.0, 2.0)]
    coarse = percentage_change(*(true_volumes(patient, s, step_mm=2.5) for s in scenes))
    finer = percentage_change(*(true_volumes(patient, s, step_mm=2.1) for s in scenes))
    assert coarse == pytest.approx(finer, abs=0.05)


def test_image_holds_the_volumes_that_the_table_tells(visits: list[Visit]) -> None:
    for visit in visits:
        voxel_ml = abs(np.linalg.det(visit.affine[:3, :3])) / 1000
        seen = visit.parts[1:3].sum(dtype=np.float64) * voxel_ml
        assert seen == pytest.approx(visit.truth.brain_ml, rel=0.02)  # distortion, and voxels of 5 mm


def test_parts_lie_where_the_labels_say(visits: list[Visit]) -> None:
    visit = visits[0]
    pure = visit.parts[2] > 0.95
    assert pure.sum() > 500
    assert set(np.unique(visit.labels[pure])) <= {2, 41, 7, 46, 16, 77}
    values = visit.image.astype(float)
    white, grey, csf = (np.median(values[visit.parts[n] > 0.9]) for n in (2, 1, 0))
    assert white > 1.2 * grey > 1.5 * csf


def test_left_is_left(visits: list[Visit]) -> None:
    visit = visits[0]
    for left, right in ((17, 53), (2, 41), (11, 50)):
        places = []
        for label in (left, right):
            k, j, i = (np.mean(n) for n in np.nonzero(visit.labels == label))
            in_head = np.linalg.inv(visit.head_to_lps) @ visit.affine @ [i, j, k, 1]
            places.append(in_head[0])
        assert places[0] > 5 > -5 > places[1]  # x grows to the left in LPS


def test_head_keeps_its_size_while_the_brain_shrinks(patient: Patient) -> None:
    flow = moved(patient.brain, loss_after(Course(0.025, (0.06, 0.06), 0.4), 4.0))
    assert flow.shape == (*MOVES.shape, 3) and np.abs(flow).max() > 0.5
    outside = MOVES.laid(cavity(MOVES.points())) > 0
    assert np.abs(flow[outside]).max() < 0.01


def test_the_deformation_folds_nothing(patient: Patient) -> None:
    flow = moved(patient.brain, loss_after(Course(0.025, (0.06, 0.06), 0.4), 4.0)).astype(float)
    jacobian = np.eye(3) + np.stack(
        [np.stack(np.gradient(flow[..., c], MOVES.step_mm), -1)[..., ::-1] for c in range(3)], -2
    )
    assert np.linalg.det(jacobian).min() > 0.0


def test_without_loss_nothing_moves(patient: Patient) -> None:
    assert np.abs(moved(patient.brain, Loss())).max() == 0


def test_series_read_back_as_they_were_made(study: Path, rows: list[Row]) -> None:
    index = index_of(study / "dicom")
    assert len(index.series) == len(rows) and not index.refused
    by_first = {}
    with Source(study / "dicom") as source:
        for entry in index.series:
            volume = read_volume(source, entry)
            by_first[frozenset(map(str, volume.source))] = volume
    for row in rows:
        files = sorted((study / row["folder"]).iterdir())
        uids = {str(pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID) for f in files}
        volume = next(v for known, v in by_first.items() if known & uids)
        mask = nibabel.load(study / row["mask"])
        ours = volume.affine @ [*np.array(volume.data.shape[:0:-1]) / 2, 1]
        theirs = np.diag([-1, -1, 1, 1]) @ mask.affine @ [*np.array(mask.shape) / 2, 1]
        # Up to which corner a reader counts from, both have their middle in one place.
        assert np.abs(ours - theirs)[:3].max() < 1.01 * np.linalg.norm(volume.affine[:3, :3], axis=0).max()


def test_headers_say_what_the_table_says(study: Path, rows: list[Row]) -> None:
    for row in rows:
        header = pydicom.dcmread(next((study / row["folder"]).iterdir()), stop_before_pixels=True)
        assert header.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4" and header.Modality == "MR"
        assert header.SeriesInstanceUID == row["series_uid"] and header.StudyInstanceUID == row["study_uid"]
        assert date.fromisoformat(row["date"]).strftime("%Y%m%d") == header.AcquisitionDate
        assert header.ManufacturerModelName == row["scanner"] and header.ProtocolName == row["protocol"]
        assert float(header.MagneticFieldStrength) == float(row["field_tesla"])
        assert header.PatientSex == row["sex"] and int(header.PatientAge[:3]) == int(float(row["age"]))


def test_table_has_a_row_a_visit_and_first_visits_change_nothing(rows: list[Row]) -> None:
    assert tuple(rows[0]) == COLUMNS
    assert len({r["patient_id"] for r in rows}) == 3 and len(rows) >= 6
    for row in rows:
        if float(row["years"]) == 0:
            assert float(row["pbvc_from_first"]) == 0 and row["annual_pbvc"] == ""
        else:
            rate = float(row["pbvc_from_first"]) / float(row["years"])
            assert rate == pytest.approx(float(row["annual_pbvc"]), abs=1e-3)


def test_one_seed_makes_one_image(
    patient: Patient, visits: list[Visit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "true_volumes", COARSE)
    again = scan.take_visit(patient, 2, seed=4, matrix=MATRIX)
    digests = {hashlib.sha256(v.image.tobytes()).hexdigest() for v in (again, visits[2])}
    assert len(digests) == 1
    assert np.array_equal(again.affine, visits[2].affine)


def test_diagnoses_differ_in_loss_and_visits_lie_in_order() -> None:
    roles = sample_roles(patients=90, seed=2)
    loss = {
        d: np.mean([r.course.brain for r in roles if r.diagnosis == d])
        for d in ("normal", "impaired", "dementia")
    }
    assert 0 < loss["normal"] < loss["impaired"] < loss["dementia"] < 0.025
    assert any(a.rescan for r in roles for a in r.appointments)
    assert any(r.appointments[0].scanner != r.appointments[-1].scanner for r in roles)
    for role in roles:
        years = [a.years for a in role.appointments]
        assert 2 <= len(years) <= 4 and years == sorted(years) and years[0] == 0 and years[-1] <= 4.01


def test_noise_is_rician() -> None:
    still = np.zeros((24, 32, 32), np.float32)
    scanner = SCANNERS["A"]
    image = image_of(still, scanner, np.random.default_rng(0)).astype(float)
    # Without a signal the magnitude follows Rayleigh's law, whose mean is sqrt(pi / 2) of the deviation.
    assert image.mean() == pytest.approx(np.sqrt(np.pi / 2) * scanner.noise * scanner.gain, rel=0.02)


def test_distances_are_those_of_the_shapes() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-20, 20, (200, 3)).astype(np.float32)
    ball = ellipsoid(points, [0, 3, -2], [7, 7, 7])
    assert np.allclose(ball, np.linalg.norm(points - [0, 3, -2], axis=1) - 7, atol=1e-4)
    tube = tubes(points, [[0, -30, 0, 4.0], [0, 30, 0, 4.0]])
    assert np.allclose(tube, np.hypot(points[:, 0], points[:, 2]) - 4, atol=1e-4)
    assert np.all(joined(ball, tube, 3.0) <= np.minimum(ball, tube))


def test_waves_have_the_length_they_are_asked_for() -> None:
    line = np.zeros((4000, 3), np.float32)
    line[:, 0] = np.arange(4000) * 0.1
    fields = [waves(np.random.default_rng(n), line, length_mm=25.0, spread=0.1) for n in range(6)]
    crossings = np.mean([(np.diff(np.sign(f)) != 0).sum() for f in fields])
    # A field of waves of one length in space crosses zero on a line 2 / (sqrt(3) length) times a mm (Rice).
    assert crossings == pytest.approx(400 * 2 / (np.sqrt(3) * 25), rel=0.2)


def test_lesions_come_and_grow() -> None:
    new = Lesion((20.0, 0.0, 25.0), (2.0, 2.0, 2.0), 0.5, 1.0)
    assert new.radii_after(0.5) == (0.0, 0.0, 0.0)
    assert new.radii_after(3.0) == pytest.approx((4.0, 4.0, 4.0))


def test_cortex_is_folded(visits: list[Visit]) -> None:
    # The border of the brain is far longer than that of its filled outline.
    visit = visits[0]
    brain = visit.parts[1:3].sum(0) > 0.5
    filled = ndimage.binary_closing(np.pad(brain, 4), iterations=3)[4:-4, 4:-4, 4:-4]
    assert (filled & ~brain).sum() > 0.03 * brain.sum()


def test_impossible_cohorts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected 3 to 9999"):
        write_cohort(tmp_path / "a", patients=2)
    with pytest.raises(BadInput, match="matrix of 8 voxels"):
        write_cohort(tmp_path / "b", patients=3, matrix=8)


def test_catalogue_names_it() -> None:
    chosen = APPLICATIONS["atrophy"]()
    assert chosen.write_cohort is write_cohort and chosen.question.target == ("diagnosis",)
