"""The chest CT phantom is valid DICOM, tells the truth about its nodules, and repeats itself."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from scipy import ndimage

from hounsfield.applications.catalogue import APPLICATIONS
from hounsfield.applications.chest_ct.anatomy import LOBES, tissue
from hounsfield.applications.chest_ct.body import Body, sample_body
from hounsfield.applications.chest_ct.cohort import sample_roles
from hounsfield.applications.chest_ct.nodules import malignancy
from hounsfield.applications.chest_ct.phantom import LESION_COLUMNS, SERIES_COLUMNS, write_cohort
from hounsfield.applications.chest_ct.scanners import SCANNERS, image_of
from hounsfield.applications.chest_ct.vessels import grow
from hounsfield.core.errors import BadInput
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume

pytestmark = pytest.mark.xdist_group("chest-ct")  # one process makes the phantom for all
Row = dict[str, str]
PATIENTS = 2  # one at each site
SEED = 5


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chest") / "study"
    steps: list[tuple[int, int]] = []
    write_cohort(folder, patients=PATIENTS, seed=SEED, progress=lambda *step: steps.append(step))
    assert steps == [(1, PATIENTS), (2, PATIENTS)]
    return folder


def _rows(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def series(study: Path) -> list[Row]:
    return _rows(study / "labels.csv")


@pytest.fixture(scope="session")
def lesions(study: Path) -> list[Row]:
    return _rows(study / "annotations.csv")


@pytest.fixture(scope="session")
def volumes(study: Path, series: list[Row]) -> dict[str, Volume]:
    # By our own door; a series is known by the objects it is made of.
    index = index_of(study / "dicom")
    assert len(index.series) == PATIENTS and not index.refused
    found = {}
    with Source(study / "dicom") as source:
        for entry in index.series:
            volume = read_volume(source, entry)
            found[str(volume.source[0])] = volume
    by_series = {}
    for row in series:
        uids = {str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID) for p in _files(study, row)}
        by_series[row["series_uid"]] = next(v for first, v in found.items() if first in uids)
    return by_series


def _files(study: Path, row: Row) -> list[Path]:
    return sorted((study / row["folder"]).iterdir())


def _mask(study: Path, row: Row) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    # Read by nibabel, an independent reader: (i, j, k) and the affine from them to LPS millimetres.
    image = nibabel.load(study / row["mask"])
    return np.asarray(image.dataobj), np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine


def test_tables_have_a_row_a_series_and_a_row_a_nodule(series: list[Row], lesions: list[Row]) -> None:
    assert tuple(series[0]) == SERIES_COLUMNS and tuple(lesions[0]) == LESION_COLUMNS
    assert LESION_COLUMNS[:5] == ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
    for row in series:
        own = [n for n in lesions if n["seriesuid"] == row["series_uid"]]
        assert len(own) == int(row["nodules"])
        assert int(row["malignant"]) == max((int(n["malignant"]) for n in own), default=0)
    assert {row["site"] for row in series} == {"A", "B"} and len(lesions) >= 2
    assert {n["lobe"] for n in lesions} <= set(LOBES)


def test_the_door_reads_the_same_values_and_affine_as_pydicom(
    study: Path, series: list[Row], volumes: dict[str, Volume]
) -> None:
    for row in series:
        slices = [pydicom.dcmread(p) for p in _files(study, row)]
        slices.sort(key=lambda d: float(d.ImagePositionPatient[2]))
        stored = np.stack([d.pixel_array for d in slices]).astype(int)
        hu = stored * int(slices[0].RescaleSlope) + int(slices[0].RescaleIntercept)
        volume = volumes[row["series_uid"]]
        k = slice(None) if volume.affine[2, 2] > 0 else slice(None, None, -1)
        assert np.array_equal(volume.data[0][k], hu)
        step = float(slices[1].ImagePositionPatient[2]) - float(slices[0].ImagePositionPatient[2])
        assert abs(volume.affine[2, 2]) == pytest.approx(step, abs=1e-3)
        assert volume.affine[0, 0] == pytest.approx(float(slices[0].PixelSpacing[1]), abs=1e-6)
        first = volume.affine @ [0, 0, 0 if volume.affine[2, 2] > 0 else len(hu) - 1, 1]
        assert first[:3] == pytest.approx(list(map(float, slices[0].ImagePositionPatient)), abs=1e-3)


def test_files_are_ct_images_that_say_they_are_a_phantom(study: Path, series: list[Row]) -> None:
    for row in series:
        files = _files(study, row)
        for path in (files[0], files[-1]):
            d = pydicom.dcmread(path)
            assert d.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2" and d.Modality == "CT"
            assert d.file_meta.MediaStorageSOPInstanceUID == d.SOPInstanceUID and d.SOPInstanceUID.is_valid
            assert d.SeriesInstanceUID == row["series_uid"] and d.StudyInstanceUID == row["study_uid"]
            assert str(d.PatientName).startswith("PHANTOM^") and d.PatientBirthDate == ""
            assert d.PatientID == row["patient_id"] and d.PatientID.startswith("PHANTOM-")
            assert "NOT A PATIENT" in d.ImageComments and d.InstitutionName.startswith("PHANTOM")
            assert d.PatientAge == f"{int(row['age']):03d}Y" and d.PatientSex == row["sex"]
            assert d.ConvolutionKernel == row["kernel"] and float(d.SliceThickness) == float(row["slice_mm"])


def test_mask_lies_on_its_series_grid(study: Path, series: list[Row], volumes: dict[str, Volume]) -> None:
    for row in series:
        mask, affine = _mask(study, row)
        volume = volumes[row["series_uid"]]
        assert mask.shape == volume.data.shape[:0:-1]
        corners = np.array([[0, 0, 0, 1], [*(n - 1 for n in mask.shape), 1]], float).T
        theirs, ours = (a @ corners for a in (affine, volume.affine))
        assert np.sort(theirs[:3], axis=1) == pytest.approx(np.sort(ours[:3], axis=1), abs=1e-3)


def test_a_nodule_is_where_and_as_large_as_the_table_says(
    study: Path, series: list[Row], lesions: list[Row]
) -> None:
    masks = {row["series_uid"]: _mask(study, row) for row in series}
    for nodule in lesions:
        mask, affine = masks[nodule["seriesuid"]]
        voxels = np.argwhere(mask == int(nodule["mask_label"]))
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        stated = np.array([float(nodule[c]) for c in ("coordX", "coordY", "coordZ")])
        centre = (affine @ [*voxels.mean(0), 1.0])[:3]
        assert (np.abs(centre - stated) <= 0.5 * spacing).all()
        volume = len(voxels) * float(np.prod(spacing))
        assert abs(np.cbrt(6 * volume / np.pi) - float(nodule["diameter_mm"])) <= spacing.max()
        assert 2.9 < float(nodule["diameter_mm"]) < 20.1


def test_a_nodule_is_denser_than_the_lung_around_it(
    study: Path, series: list[Row], lesions: list[Row], volumes: dict[str, Volume]
) -> None:
    for row in series:
        mask, affine = _mask(study, row)
        volume = volumes[row["series_uid"]]
        data = volume.data[0].T.astype(float)
        for axis in range(3):  # onto the mask's grid, which may run the other way
            if np.sign(affine[axis, axis]) != np.sign(volume.affine[axis, axis]):
                data = np.flip(data, axis)
        for nodule in (n for n in lesions if n["seriesuid"] == row["series_uid"]):
            label = int(nodule["mask_label"])
            box = tuple(slice(max(p.start - 6, 0), p.stop + 6) for p in ndimage.find_objects(mask)[label - 1])
            own = mask[box] == label
            ring = ndimage.binary_dilation(own, iterations=4) & ~ndimage.binary_dilation(own, iterations=2)
            assert data[box][own].mean() > np.percentile(data[box][ring], 30) + 60


def test_tissues_have_their_hounsfield_units() -> None:
    body = sample_body(np.random.default_rng(3), sex="M", age=62)

    def at(x: float, y: float, z: float) -> float:
        where = {"origin_mm": np.array([x, y, z]), "spacing_mm": np.array([1.0, 1.0, 1.0])}
        return float(tissue(body, (1, 1, 1), rng=np.random.default_rng(0), **where)[0, 0, 0])  # type: ignore[arg-type]

    wall = body.half_width + 9.0 + body.muscle
    assert -960 < at(70, 0, 10) < -760 and -960 < at(-70, 0, 10) < -760  # both lungs
    assert 25 < at(25, -25, -60) < 60  # heart
    assert 40 < at(-60, 0, body.dome_right - 30) < 75  # liver
    assert -130 < at(wall + 0.5 * body.fat, 4, -30) < -70  # fat under the skin
    assert 120 < at(0, body.spine_y, 12.5 * body.scale) < 420  # a vertebra
    assert at(body.half_width + 100, -body.half_depth, 0) == -1000  # air
    ribs = tissue(
        body,
        (60, 1, 1),
        origin_mm=np.array([body.half_width + 4.6, 0.0, -90.0]),
        spacing_mm=np.array([1.0, 1.0, 1.0]),
        rng=np.random.default_rng(0),
    )
    assert ribs.max() > 250 and ribs.min() < 80  # ribs and what lies between them


def _noise(site: str) -> npt.NDArray[np.float64]:
    # Water the size of a chest less itself without noise: the kernel leaves what is constant as it is.
    image = image_of(
        np.full((24, 96, 96), -500, np.float32), SCANNERS[site], pixel_mm=2.5, rng=np.random.default_rng(7)
    )
    return image.astype(float) + 500.0


def test_noise_power_follows_each_scanners_kernel() -> None:
    f = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(96)[None]) / 0.5
    peaks = {}
    for site in "AB":
        power = (np.abs(np.fft.fft2(_noise(site))) ** 2).mean(0)
        bands = np.arange(0.05, 1.0, 0.1)
        measured = np.array([power[(f >= b) & (f < b + 0.1)].mean() for b in bands])
        kernel = SCANNERS[site].kernel
        expected = np.array([(f * kernel.window(f) ** 2)[(f >= b) & (f < b + 0.1)].mean() for b in bands])
        measured, expected = measured / measured.sum(), expected / expected.sum()
        assert measured == pytest.approx(expected, abs=0.03)
        peaks[site] = bands[measured.argmax()] + 0.05
    assert peaks["B"] < 0.45 < peaks["A"]


def test_the_thin_sharp_low_dose_scan_is_several_times_as_noisy() -> None:
    assert _noise("A").std() > 3 * _noise("B").std() > 15


def test_vessels_follow_murrays_law_and_reach_every_point() -> None:
    cloud = np.random.default_rng(1).uniform(0, 90, (80, 3))
    tree = grow(np.random.default_rng(0), np.array([-10.0, 45, 45]), np.array([1.0, 0, 0]), cloud)
    cubes = np.bincount(tree.parent[1:], weights=tree.tubes[1:, 6] ** 3, minlength=len(tree.parent))
    inner = cubes > 0
    assert np.allclose(cubes[inner], tree.tubes[inner, 6] ** 3)
    assert np.allclose(tree.tubes[1:, :3], tree.tubes[tree.parent[1:], 3:6])  # children start at their parent
    assert (~inner).sum() == len(cloud)


def test_size_and_spicules_raise_the_chance_of_malignancy() -> None:
    body = Body(0, 62, *(0.0,) * 14)
    chances = [
        malignancy(body, diameter_mm=d, density="solid", upper=False, spiculation=s, count=1)
        for d, s in ((4, 1), (8, 1), (16, 1), (16, 5))
    ]
    assert chances == sorted(chances) and chances[0] < 0.1 and chances[-1] > 0.5


def test_same_seed_writes_the_same_bytes_and_another_seed_does_not(study: Path, tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        return {
            p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        }

    write_cohort(tmp_path / "again", patients=PATIENTS, seed=SEED)
    assert digests(tmp_path / "again") == digests(study)
    assert not list(study.rglob("*.part"))
    assert sample_roles(patients=PATIENTS, seed=SEED) != sample_roles(patients=PATIENTS, seed=SEED + 1)


@pytest.mark.parametrize(
    ("patients", "seed", "reason"), [(1, 0, "2 to 9999"), (10_000, 0, "2 to"), (4, -1, "0 or more")]
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
        write_cohort(tmp_path, patients=2)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_the_catalogue_offers_it() -> None:
    assert APPLICATIONS["chest-ct"]().write_cohort is write_cohort
