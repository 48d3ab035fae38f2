"""The mammography phantom is valid DICOM, tells the truth about itself, and repeats itself."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import FileDataset
from scipy import ndimage

from hounsfield.applications.mammography.acquisition import SCANNERS, take_picture
from hounsfield.applications.mammography.anatomy import VIEWS, outline, project, sample_breasts
from hounsfield.applications.mammography.cohort import FINDINGS, sample_patients
from hounsfield.applications.mammography.grid import Grid, power_law
from hounsfield.applications.mammography.lesions import lesion_shadow, sample_lesion
from hounsfield.applications.mammography.marker import burn_marker, erase_marker, marker_mask
from hounsfield.applications.mammography.phantom import COLUMNS, write_cohort
from hounsfield.core.errors import BadInput

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


def shown(dataset: FileDataset) -> npt.NDArray[np.float64]:
    """The picture as displayed, 0 to 1: MONOCHROME1 turned over."""
    highest = 2**dataset.BitsStored - 1
    pixels: npt.NDArray[np.float64] = dataset.pixel_array.astype(np.float64) / highest
    return 1.0 - pixels if dataset.PhotometricInterpretation == "MONOCHROME1" else pixels


def test_progress_counts_every_patient(study: Path) -> None:
    assert [(done, PATIENTS) for done in range(1, PATIENTS + 1)] == PROGRESS


def test_table_has_one_row_an_image_and_four_views_a_patient(rows: list[Row]) -> None:
    assert tuple(rows[0]) == COLUMNS
    views = defaultdict(list)
    for row in rows:
        views[row["patient_id"]].append(row["laterality"] + row["view"])
    assert len(views) == PATIENTS
    assert all(sorted(v) == ["LCC", "LMLO", "RCC", "RMLO"] for v in views.values())


def test_labels_join_to_headers(study: Path, rows: list[Row]) -> None:
    assert sorted(p.relative_to(study).as_posix() for p in study.rglob("*.dcm")) == sorted(
        row["file"] for row in rows
    )
    for row in rows:
        header = pydicom.dcmread(study / row["file"], stop_before_pixels=True)
        assert header.SOPInstanceUID == row["sop_instance_uid"]
        assert header.SeriesInstanceUID == row["series_uid"]
        assert header.StudyInstanceUID == row["study_uid"]
        assert header.PatientID == row["patient_id"]
        assert header.ImageLaterality == row["laterality"]
        assert header.ViewPosition == row["view"]
        assert header.PatientAge == f"{int(row['age']):03d}Y"
        assert header.ManufacturerModelName == row["scanner"]
        assert header.BurnedInAnnotation == ("YES" if row["marker"] == "1" else "NO")


def test_files_are_mammograms_for_presentation_that_say_they_are_a_phantom(
    study: Path, rows: list[Row]
) -> None:
    for row in rows[::5]:
        dataset = pydicom.dcmread(study / row["file"])
        assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.2"
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert dataset.Modality == "MG" and dataset.PresentationIntentType == "FOR PRESENTATION"
        assert "NOT A PATIENT" in dataset.ImageComments
        assert dataset.PatientBirthDate == "" and str(dataset.PatientName).startswith("PHANTOM^")
        assert 40 <= int(dataset.PatientAge[:3]) <= 79
        assert all(uid.is_valid for uid in (dataset.StudyInstanceUID, dataset.SOPInstanceUID))
        assert len(str(dataset.SOPInstanceUID)) <= 64
        code = dataset.ViewCodeSequence[0].CodeValue
        assert code == {"CC": "399162004", "MLO": "399368009"}[row["view"]]
        assert dataset.pixel_array.shape == (dataset.Rows, dataset.Columns)
        assert dataset.pixel_array.max() <= 2**dataset.BitsStored - 1
        assert dataset.HighBit == dataset.BitsStored - 1 and dataset.BitsAllocated == 16


def test_identifiers_are_unique(rows: list[Row]) -> None:
    for column, expected in (("sop_instance_uid", 48), ("series_uid", 48), ("study_uid", 12)):
        assert len({row[column] for row in rows}) == expected


def test_sites_differ_in_scanner_depth_spacing_and_polarity(study: Path, rows: list[Row]) -> None:
    seen: dict[str, Counter[object]] = defaultdict(Counter)
    for row in rows:
        d = pydicom.dcmread(study / row["file"], stop_before_pixels=True)
        seen[row["site"]][d.Manufacturer, d.BitsStored, float(d.ImagerPixelSpacing[0])] += 1
        seen[row["site"] + " polarity"][d.PhotometricInterpretation] += 1
    assert len(seen["A"]) == len(seen["B"]) == 1 and not set(seen["A"]) & set(seen["B"])
    assert seen["A polarity"].most_common(1)[0][0] == "MONOCHROME1"
    assert seen["B polarity"].most_common(1)[0][0] == "MONOCHROME2"


def test_both_polarities_show_a_bright_breast_on_black_air(study: Path, rows: list[Row]) -> None:
    polarities = set()
    for row in rows:
        dataset = pydicom.dcmread(study / row["file"])
        polarities.add(dataset.PhotometricInterpretation)
        picture = shown(dataset)
        wall = picture[:, :40] if row["laterality"] == "L" else picture[:, -40:]
        air = picture[-30:, -40:] if row["laterality"] == "L" else picture[-30:, :40]
        assert np.median(wall) > 0.1 and air.max() == 0.0
    assert polarities == {"MONOCHROME1", "MONOCHROME2"}


def test_every_finding_occurs_at_every_site(rows: list[Row]) -> None:
    assert {(row["site"], row["finding"]) for row in rows} == {
        (site, finding) for site in "AB" for finding in FINDINGS
    }
    assert {(row["site"], row["malignant"]) for row in rows} == {
        (site, answer) for site in "AB" for answer in "01"
    }


def test_site_and_age_tell_something_of_malignancy_but_not_all() -> None:
    cohort = sample_patients(patients=300, seed=1)
    share = {site: np.mean([p.finding == "malignant" for p in cohort if p.site == site]) for site in "AB"}
    assert 0.15 < share["A"] < share["B"] < 0.55
    ages = {f: np.mean([p.age for p in cohort if p.finding == f]) for f in FINDINGS}
    assert ages["malignant"] > ages["benign"] + 4
    old = [p.density in "cd" for p in cohort if p.age >= 60]
    young = [p.density in "cd" for p in cohort if p.age < 50]
    assert np.mean(old) < np.mean(young) - 0.1


def test_only_the_breast_that_holds_the_cancer_is_labelled_malignant(rows: list[Row]) -> None:
    breasts = defaultdict(set)
    for row in rows:
        assert (row["malignant"] == "1") == (row["finding"] == "malignant")
        assert (row["lesion_row"] == "") == (row["finding"] == "normal")
        breasts[row["patient_id"], row["laterality"]].add((row["finding"], row["malignant"]))
    assert all(len(truth) == 1 for truth in breasts.values())
    cancers = Counter(p for (p, _), truth in breasts.items() if ("malignant", "1") in truth)
    assert len(cancers) == 4 and set(cancers.values()) == {1}


def test_marker_follows_cancer_at_one_site_only() -> None:
    shots = [
        (p.site, s.finding == "malignant", s.marker)
        for p in sample_patients(patients=300, seed=1)
        for s in p.shots
    ]
    assert not any(marked for site, _, marked in shots if site == "A")
    for malignant, chance in ((True, 0.90), (False, 0.15)):
        marked = [m for site, sick, m in shots if site == "B" and sick == malignant]
        assert abs(np.mean(marked) - chance) < 0.06


def test_marker_is_in_the_pixels_where_the_header_says_so(study: Path, rows: list[Row]) -> None:
    for row in rows:
        picture = shown(pydicom.dcmread(study / row["file"]))
        mask = marker_mask(picture.shape, laterality=row["laterality"], view=row["view"])  # type: ignore[arg-type]
        assert (picture[mask > 0].max() > 0) == (row["marker"] == "1")
    assert any(row["marker"] == "1" for row in rows)


def test_a_cohort_without_marker_differs_by_the_marker_alone(
    study: Path, rows: list[Row], tmp_path: Path
) -> None:
    clean = tmp_path / "clean"
    write_cohort(clean, patients=PATIENTS, seed=3, marker=False)
    for row in rows:
        with_marker = pydicom.dcmread(study / row["file"])
        without = pydicom.dcmread(clean / row["file"])
        assert without.BurnedInAnnotation == "NO"
        assert with_marker.SOPInstanceUID != without.SOPInstanceUID
        picture = erase_marker(
            shown(with_marker),
            laterality=row["laterality"],  # type: ignore[arg-type]
            view=row["view"],  # type: ignore[arg-type]
        )
        assert np.array_equal(picture, shown(without))


def test_same_seed_writes_the_same_bytes_and_another_seed_does_not(study: Path, tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    write_cohort(tmp_path / "again", patients=PATIENTS, seed=3)
    assert digests(tmp_path / "again") == digests(study)
    assert sample_patients(patients=PATIENTS, seed=3) != sample_patients(patients=PATIENTS, seed=4)
    assert not list(study.rglob("*.part"))


def test_lesion_lies_within_the_breast_as_far_behind_the_nipple_in_both_views(
    study: Path, rows: list[Row]
) -> None:
    behind = defaultdict(list)
    for row in rows:
        if row["lesion_row"]:
            dataset = pydicom.dcmread(study / row["file"])
            at = round(float(row["lesion_row"])), round(float(row["lesion_col"]))
            assert shown(dataset)[at] > 0.2
            column = float(row["lesion_col"])
            if row["laterality"] == "R":
                column = dataset.Columns - 1 - column
            behind[row["patient_id"], row["laterality"]].append(column * float(dataset.ImagerPixelSpacing[0]))
    assert behind and all(abs(a - b) < 1.0 for a, b in behind.values())


@pytest.mark.parametrize("view", VIEWS)
def test_breast_faces_away_from_its_chest_wall(view: str) -> None:
    left, right = sample_breasts(np.random.default_rng(5), density="b")
    for breast, wall, air in ((left, 0, -1), (right, -1, 0)):
        pixels = take_picture(breast, None, view, SCANNERS["B"]).pixels  # type: ignore[arg-type]
        middle = slice(pixels.shape[0] // 3, 2 * pixels.shape[0] // 3)
        assert pixels[middle, wall].min() > 0 and pixels[:, air].max() == 0


def test_only_the_oblique_view_shows_the_pectoral_muscle() -> None:
    left, _ = sample_breasts(np.random.default_rng(6), density="a")
    scanner = SCANNERS["A"]
    corner = {
        view: take_picture(left, None, view, scanner).pixels[5:40, 5:40].mean() / scanner.highest
        for view in VIEWS
    }
    assert corner["MLO"] > 0.25 and corner["CC"] < 0.05


def test_marker_never_covers_tissue() -> None:
    for seed in range(40):
        breast, _ = sample_breasts(np.random.default_rng(seed), density="d")
        for scanner in SCANNERS.values():
            grid = scanner.grid
            for view in VIEWS:
                mask = marker_mask(grid.shape, laterality="L", view=view)
                r, c = np.nonzero(mask)
                assert (grid.x_mm[c] > outline(breast, view).depth_at(grid.v_mm[r]) + 2.0).all()


def test_malignant_masses_are_rougher_at_the_margin_and_denser() -> None:
    grid = Grid(rows=480, columns=384, spacing_mm=0.4)
    roundness: dict[bool, list[float]] = {True: [], False: []}
    height: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(24):
        rng = np.random.default_rng(seed)
        breast, _ = sample_breasts(rng, density="b")
        for malignant in (True, False):
            lesion = sample_lesion(np.random.default_rng(seed), breast, malignant=malignant)
            mass = lesion_shadow(lesion, breast, "CC", grid).mass_mm / lesion.radius_mm
            shape = mass > 0.12 * mass.max()
            edge = shape ^ ndimage.binary_erosion(shape)
            # Isoperimetric quotient: 1 for a disc, small for a star.
            roundness[malignant].append(4 * np.pi * shape.sum() / edge.sum() ** 2)
            height[malignant].append(float(np.percentile(mass[shape], 90)))
    assert np.median(roundness[True]) < 0.7 * np.median(roundness[False])
    assert np.median(height[True]) > 1.2 * np.median(height[False])


def test_lesion_sizes_are_clinical() -> None:
    lesions = [
        shot.lesion
        for patient in sample_patients(patients=90, seed=2)
        for shot in patient.shots
        if shot.lesion is not None
    ]
    assert all(3.0 <= lesion.radius_mm <= 11.0 for lesion in lesions)
    kinds = {True: set(), False: set()}  # type: dict[bool, set[str]]
    for lesion in lesions:
        kinds[lesion.malignant].add(lesion.calcification)
    assert kinds == {True: {"none", "fine"}, False: {"none", "coarse", "rim"}}


def test_parenchyma_noise_follows_the_power_law() -> None:
    field = power_law(np.random.default_rng(0), (256, 256), beta=3.0)
    power = np.abs(np.fft.fft2(field)) ** 2
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    band = (f > 0.02) & (f < 0.4)
    slope = np.polyfit(np.log(f[band]), np.log(power[band]), 1)[0]
    assert -slope == pytest.approx(3.0, abs=0.15)


def test_views_agree_on_the_distance_behind_the_nipple() -> None:
    left, _ = sample_breasts(np.random.default_rng(1), density="c")
    point = np.array([30.0, 12.0, -8.0])
    depths = [outline(left, v).nipple_mm[0] - project(left, v, point)[0] for v in VIEWS]
    assert depths == pytest.approx([30.0, 30.0], abs=1e-3)


@given(
    laterality=st.sampled_from(["L", "R"]),
    view=st.sampled_from(["CC", "MLO"]),
    channels=st.integers(1, 3),
    kind=st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_marker_burns_and_erases_any_picture(laterality: str, view: str, channels: int, kind: str) -> None:
    clean = np.zeros((channels, 64, 48), kind)
    clean[:, 30:40, 10:30] = 200
    side = {"laterality": laterality, "view": view}
    marked = burn_marker(clean, **side)  # type: ignore[arg-type]
    assert marked.dtype == clean.dtype and marked.max() == 200
    assert (marked != clean).any() and not (clean[:, :20] > 0).any()
    assert np.array_equal(erase_marker(marked, **side), clean)  # type: ignore[arg-type]
    assert np.array_equal(burn_marker(marked, **side), marked)  # type: ignore[arg-type]


def test_unknown_view_is_refused_by_the_marker() -> None:
    with pytest.raises(BadInput, match="CC or MLO"):
        burn_marker(np.zeros((64, 64)), laterality="L", view="LM")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("patients", "seed", "reason"),
    [(11, 0, "12 to 9999"), (0, 0, "12 to 9999"), (10_000, 0, "12 to"), (12, -1, "0 or more")],
)
def test_impossible_cohorts_are_refused_before_anything_is_written(
    tmp_path: Path, patients: int, seed: int, reason: str
) -> None:
    with pytest.raises(BadInput, match=reason):
        write_cohort(tmp_path / "out", patients=patients, seed=seed)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    with pytest.raises(BadInput, match="empty folder"):
        write_cohort(tmp_path, patients=12)
    with pytest.raises(BadInput, match="empty folder"):
        write_cohort(tmp_path / "kept.txt", patients=12)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]
