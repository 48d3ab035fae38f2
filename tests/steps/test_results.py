"""Predicted places as files: where they were, read back by others, of the right size, and nothing told."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import pdist

from ct_mr_series import oblique, pattern, slice_of, write_series
from dicom_objects import saved
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.io import Source, index_of, read_volume
from hounsfield.io.dicom.seg_write import Algorithm
from hounsfield.io.nifti_write import write_nifti
from hounsfield.steps.regions.same_grid import grid_difference, labels_of_mask
from hounsfield.steps.results.cases import Located, Outlined
from hounsfield.steps.results.located import write_located
from hounsfield.steps.results.outlined import write_outlined
from hounsfield.steps.results.sizes import plane_diameter_mm
from hounsfield.tasks.detection import Candidates

SHAPE = (6, 9, 11)
STRUCTURES = ("anterior hippocampus", "posterior hippocampus", "tumour")
MADE_BY = Algorithm("hounsfield", "9.9", "cafe0001")


def _labels() -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 2:5, 3:7] = 1
    labels[3, 6:8, 1:9] = 2
    labels[5, 8, 10] = 1  # a second piece
    return labels


def _series(folder: Path) -> tuple[Series, Volume]:
    write_series(folder, pattern(SHAPE), orientation=oblique(20, -10), descending=True)
    return _first(folder)


def _plane(folder: Path) -> tuple[Series, Volume]:
    """A radiograph with pixels of 0.2 by 0.4 mm and without a place in the patient."""
    made = slice_of(pattern((9, 11), np.uint16), 0, PixelSpacing=[0.2, 0.4], SliceThickness=None)
    made.SOPClassUID, made.Modality = "1.2.840.10008.5.1.4.1.1.7", "OT"
    for keyword in ("FrameOfReferenceUID", "PatientPosition", "KVP", "ImageType"):
        if keyword in made:
            delattr(made, keyword)
    saved(made, folder / "plane.dcm")
    return _first(folder)


def _first(folder: Path) -> tuple[Series, Volume]:
    series = index_of(folder).series[0]
    with Source(folder) as source:
        return series, read_volume(source, series)


def _outlined(series: Series, volume: Volume, labels: NDArray[np.uint8], case: str = "case-1") -> Outlined:
    return Outlined(case, series, volume.affine, volume.spacing_known, labels)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_mask_lies_on_its_image(tmp_path: Path) -> None:
    series, volume = _series(tmp_path / "s")
    with Source(tmp_path / "s") as source:
        told = write_outlined(
            [_outlined(series, volume, _labels())], source, out=tmp_path / "o", structures=STRUCTURES
        )
    assert dict(told.files) == {"nifti": 1, "csv": 1} and told.notes == ()
    _, mask = _first(tmp_path / "o" / "masks")
    # NIfTI turns rows over; what counts is where a voxel lies in the patient
    from hounsfield.transforms.onto_grid import onto_grid

    found = onto_grid(mask, SHAPE, volume.affine, order="nearest", outside=0)
    assert np.array_equal(found[0], _labels())


@pytest.mark.parametrize("single", [False, True])
def test_a_picture_gets_a_picture_that_fits_it(tmp_path: Path, single: bool) -> None:
    (tmp_path / "s").mkdir()
    Image.fromarray(pattern((9, 11), np.uint8)).save(tmp_path / "s" / "a.png")
    series, volume = _first(tmp_path / "s")
    labels = np.where(_labels()[3:4] == 1, 1, 0).astype(np.uint8) if single else _labels()[3:4]
    names = ("vessel",) if single else STRUCTURES
    with Source(tmp_path / "s") as source:
        told = write_outlined(
            [_outlined(series, volume, labels)], source, out=tmp_path / "o", structures=names,
            write=("nifti", "seg", "csv"),
        )  # fmt: skip
    assert [p.name for p in (tmp_path / "o" / "masks").iterdir()] == ["case-1.png"]
    _, mask = _first(tmp_path / "o" / "masks")
    assert grid_difference(volume, mask) == ""
    assert np.array_equal(labels_of_mask(mask, names=names), labels)
    assert told.notes == (
        "1 case without a DICOM result: is raster, and a DICOM result refers to DICOM images; "
        "write the result as NIfTI instead",
    )
    row = _rows(tmp_path / "o" / "measurements.csv")[0]
    assert (row["voxels"], row["volume_ml"], row["largest_diameter_mm"]) == (str((labels == 1).sum()), "", "")


def test_an_array_of_unknown_place_keeps_its_rows(tmp_path: Path) -> None:
    labels = _labels()
    case = Outlined("a b/c", Series("x", ("x.npz",), "arrays", SHAPE), np.eye(4), False, labels)
    with Source(_folder(tmp_path / "s")) as source:
        write_outlined([case], source, out=tmp_path / "o", structures=STRUCTURES, write=("nifti",))
    assert (tmp_path / "o" / "masks" / "a-b-c.nii.gz").is_file()
    _, mask = _first(tmp_path / "o" / "masks")
    assert np.array_equal(mask.data[0], labels)


def _folder(path: Path) -> Path:
    path.mkdir()
    write_nifti(path / "a.nii", Volume(np.zeros((1, 2, 2, 2), np.uint8), np.eye(4), (), True))
    return path


def test_the_table_measures_each_structure(tmp_path: Path) -> None:
    series, volume = _series(tmp_path / "s")
    with Source(tmp_path / "s") as source:
        write_outlined(
            [_outlined(series, volume, _labels())],
            source,
            out=tmp_path,
            structures=STRUCTURES,
            write=("csv",),
        )
    rows = _rows(tmp_path / "measurements.csv")
    assert [r["structure"] for r in rows] == list(STRUCTURES)
    assert [r["components"] for r in rows] == ["2", "1", "0"]
    voxel_ml = 2.0 * 0.75 * 0.75 / 1000
    assert [float(r["volume_ml"]) for r in rows] == pytest.approx([37 * voxel_ml, 16 * voxel_ml, 0], rel=1e-5)
    assert float(rows[1]["largest_diameter_mm"]) == pytest.approx(
        np.hypot(8, 1) * 0.75, rel=1e-5
    )  # 2 rows of 8
    assert rows[2]["largest_diameter_mm"] == "" and rows[0]["area_mm2"] == ""


def test_the_diameter_in_a_plane_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        mask = rng.random((7, 9)) < 0.3
        mask[3, 4] = True
        sides = ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))
        edges = [(j + dj, i + di) for j, i in np.argwhere(mask) for dj, di in sides]
        wanted = pdist(np.array(edges) * (0.5, 0.8)).max()
        assert plane_diameter_mm(mask, spacing_mm=(0.5, 0.8)) == pytest.approx(wanted)


def _objects(tmp_path: Path, image: tuple[Series, Volume], labels: NDArray[np.uint8]) -> Path:
    with Source(tmp_path / "s") as source:
        told = write_outlined(
            [_outlined(*image, labels), _outlined(*image, np.zeros_like(labels), "empty")],
            source, out=tmp_path / "o", structures=STRUCTURES, write=("seg", "labelmap", "sr"), site="brain",
            algorithm=MADE_BY,
        )  # fmt: skip
    assert dict(told.files) == {"seg": 1, "labelmap": 1, "sr": 1}
    assert len(told.notes) == 1 and "mask is empty" in told.notes[0]
    return tmp_path / "o"


def test_highdicom_reads_segmentation_and_report_of_a_volume(tmp_path: Path) -> None:
    hd = pytest.importorskip("highdicom", reason="highdicom is not installed (hounsfield[dicom-results])")
    out = _objects(tmp_path, _series(tmp_path / "s"), _labels())
    for name in ("case-1.dcm", "case-1_labelmap.dcm"):
        seg = hd.seg.segread(out / "segmentations" / name)
        volume = seg.get_volume(combine_segments=True)
        assert np.bincount(volume.array.ravel()).tolist()[1:] == [37, 16]
    groups = hd.sr.srread(out / "reports" / "case-1.dcm").content.get_volumetric_roi_measurement_groups()
    found = [g.get_measurements()[0].value for g in groups]
    assert found == pytest.approx([37 * 1.125, 16 * 1.125])  # mm³; the structure that is absent has no group
    assert (
        groups[0].referenced_segment.referenced_sop_instance_uid
        == hd.seg.segread(out / "segmentations" / "case-1.dcm").SOPInstanceUID
    )
    _require_no_error(out)


def test_highdicom_reads_the_report_of_a_single_image(tmp_path: Path) -> None:
    hd = pytest.importorskip("highdicom", reason="highdicom is not installed (hounsfield[dicom-results])")
    labels = _labels()[3:4]
    out = _objects(tmp_path, _plane(tmp_path / "s"), labels)
    groups = hd.sr.srread(out / "reports" / "case-1.dcm").content.get_planar_roi_measurement_groups()
    values = [{m.name.meaning: (m.value, m.unit.value) for m in g.get_measurements()} for g in groups]
    assert values[1]["Area"] == (pytest.approx(16 * 0.08), "mm2")
    assert values[1]["Long axis"] == (pytest.approx(np.hypot(8 * 0.4, 0.2)), "mm")
    referenced = [g.referenced_segmentation_frame[0].ReferencedSOPSequence[0] for g in groups]
    assert [r.ReferencedSegmentNumber for r in referenced] == [1, 2]
    _require_no_error(out)


def _require_no_error(out: Path) -> None:
    if not shutil.which("dciodvfy"):
        return
    for path in sorted(out.rglob("*[!p].dcm")):  # Debian's version is older than labelmaps
        said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
        assert "Error" not in said, said


def _found(shape: str = "sphere") -> Candidates:
    centre = np.array([[2.0, 4.0, 5.0], [4.0, 2.0, 3.0], [1.0, 7.0, 9.0]])
    size = np.array([[1.5, 4.0, 4.0], [3.0, 6.0, 4.0] if shape == "box" else [3.0, 8.0, 8.0], [1, 2, 2]])
    return Candidates(centre, size, np.array([0.7, 0.9, 0.2]), np.array([0, 1, 0]))


@pytest.mark.parametrize("shape", ["sphere", "box"])
def test_found_objects_lie_where_they_were_found(tmp_path: Path, shape: str) -> None:
    hd = pytest.importorskip("highdicom", reason="highdicom is not installed (hounsfield[dicom-results])")
    series, volume = _series(tmp_path / "s")
    case = Located("case-1", series, volume.affine, True, _found(shape))
    nothing = Located("none", series, volume.affine, True, _found(shape).take(np.array([2])))
    with Source(tmp_path / "s") as source:
        told = write_located(
            [case, nothing], source, out=tmp_path / "o", classes=("nodule", "mass"), shape=shape,
            threshold=0.5, write=("csv", "sr"), site="lung", algorithm=MADE_BY,
        )  # fmt: skip
    assert dict(told.files) == {"csv": 1, "sr": 1} and "nothing was found in it" in told.notes[0]
    rows = _rows(tmp_path / "o" / "detections.csv")
    assert [r["class"] for r in rows] == ["mass", "nodule", "nodule", "nodule"]
    assert [r["called"] for r in rows] == ["1", "1", "0", "0"]
    place = volume.affine @ [3.0, 2.0, 4.0, 1.0]
    np.testing.assert_allclose([float(rows[0][c]) for c in ("x_mm", "y_mm", "z_mm")], place[:3], atol=1e-3)
    diameter = 6.0 if shape == "sphere" else 6 * 0.75  # 3×2, 8×0.75 and 8×0.75 mm; a box's longer side
    assert float(rows[0]["diameter_mm"]) == pytest.approx(diameter)
    report = hd.sr.srread(tmp_path / "o" / "reports" / "case-1.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [g.finding_type.meaning for g in groups] == ["Mass", "Nodule"]
    assert [s.value.meaning for g in groups for s in g.finding_sites] == ["Lung", "Lung"]
    numbers = {m.name.meaning: (m.value, m.unit.value) for m in groups[0].get_measurements()}
    assert numbers == {
        "Diameter": (pytest.approx(diameter), "mm"), "Certainty of Finding": (pytest.approx(90), "%")
    }  # fmt: skip
    surface = np.reshape(np.array(groups[0].roi.graphic_data), (-1, 3))
    back = (surface - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T
    np.testing.assert_allclose((back.max(0) + back.min(0)) / 2, [3, 2, 4], atol=1e-5)
    assert groups[0].roi.graphic_type.value == ("ELLIPSOID" if shape == "sphere" else "POLYGON")
    if shape == "sphere":
        np.testing.assert_allclose(np.linalg.norm(surface[0::2] - surface[1::2], axis=1), 6.0, atol=1e-4)
    raw = (tmp_path / "o" / "reports" / "case-1.dcm").read_bytes()
    assert str(tmp_path).encode() not in raw
    _require_no_error(tmp_path / "o")


def test_found_objects_of_a_single_image_lie_in_its_pixels(tmp_path: Path) -> None:
    hd = pytest.importorskip("highdicom", reason="highdicom is not installed (hounsfield[dicom-results])")
    series, volume = _plane(tmp_path / "s")
    centre, size = np.array([[0, 4.0, 5.0], [0, 2.0, 3.0]]), np.array([[1, 4.0, 2.0], [1, 2.0, 2.0]])
    found = Candidates(centre, size, np.array([0.9, 0.8]), np.zeros(2, np.int64))
    wanted = {
        "sphere": [
            ("ELLIPSE", [[5.5, 2.5], [5.5, 6.5], [4.5, 4.5], [6.5, 4.5]]),
            ("CIRCLE", [[3.5, 2.5], [4.5, 2.5]]),
        ],
        "box": [("POLYLINE", [[4.5, 2.5], [6.5, 2.5], [6.5, 6.5], [4.5, 6.5], [4.5, 2.5]])],
    }  # fmt: skip
    for shape, regions in wanted.items():
        with Source(tmp_path / "s") as source:
            case = Located("case-1", series, volume.affine, volume.spacing_known, found)
            write_located(
                [case], source, out=tmp_path / shape, classes=("lesion",), shape=shape, threshold=0.5,
                write=("csv", "sr"),
            )  # fmt: skip
        report = hd.sr.srread(tmp_path / shape / "reports" / "case-1.dcm")
        groups = report.content.get_planar_roi_measurement_groups()
        for group, (kind, points) in zip(groups, regions, strict=False):
            assert group.roi.graphic_type.value == kind
            np.testing.assert_allclose(group.roi.value, points)
        row = _rows(tmp_path / shape / "detections.csv")[0]
        assert row["x_mm"] == "" and (row["j"], row["i"]) == ("4.000", "5.000")
        assert float(row["diameter_mm"]) == pytest.approx(0.8)  # 4×0.2 and 2×0.4 mm
        _require_no_error(tmp_path / shape)


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path: Path) -> None:
    series, volume = _series(tmp_path / "s")
    with Source(tmp_path / "s") as source, pytest.raises(BadInput, match='"dicom" was to be written; choose'):
        write_outlined(
            [_outlined(series, volume, _labels())], source, out=tmp_path / "o", structures=STRUCTURES,
            write=("nifti", "dicom"),
        )  # fmt: skip
    assert not (tmp_path / "o").exists()
    with pytest.raises(BadInput, match="expected the image's own grid"):
        _outlined(series, volume, _labels()[1:])
