"""Measurements as structured reports: read by highdicom, tied to the segmentation, shown by ourselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ct_mr_series import pattern, write_series
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io import Source, index_of
from hounsfield.io.dicom.seg_write import write_segmentation
from hounsfield.io.dicom.sr_write import Measured, write_measurements
from hounsfield.io.dicom.structures import structure_of
from hounsfield.steps.show import show

hd = pytest.importorskip("highdicom", reason="highdicom is not installed (hounsfield[dicom-results])")

SIZES = [Measured("nodule 1", 20.25, 7.125), Measured("left kidney", 1234.5, 33.3)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Series, Path]:
    """A series, and its segmentation of a nodule in the lung and a kidney."""
    folder = tmp_path_factory.mktemp("sr")
    write_series(folder / "s", pattern((5, 9, 11)), PatientAge="045Y", StudyDescription="ZZFREE")
    series = index_of(folder / "s").series[0]
    mask = np.zeros((5, 9, 11), np.uint8)
    mask[1:3, 2:5, 3:6], mask[2:4, 6:8, 1:9] = 1, 2
    names = {1: structure_of("nodule 1", site="lung"), 2: "left kidney"}
    with Source(folder / "s") as source:
        write_segmentation(mask, names, source, series, out=folder / "seg.dcm")
    return folder / "s", series, folder / "seg.dcm"


def written(drawn: tuple[Path, Series, Path], out: Path, sizes: list[Measured] = SIZES) -> Path:
    folder, series, segmentation = drawn
    with Source(folder) as source:
        return write_measurements(sizes, segmentation, source, series, out=out)


def test_highdicom_reads_the_numbers_and_what_they_belong_to(
    drawn: tuple[Path, Series, Path], tmp_path: Path
) -> None:
    report = hd.sr.srread(written(drawn, tmp_path / "sr.dcm"))
    seg = hd.seg.segread(drawn[2])
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 2
    for number, (group, size) in enumerate(zip(groups, SIZES, strict=True), start=1):
        found = {m.name.meaning: (m.value, m.unit.value) for m in group.get_measurements()}
        assert found == {
            "Volume": (size.volume_mm3, "mm3"),
            "Maximum 3D Diameter of a Mesh": (size.longest_diameter_mm, "mm"),
        }
        segment_there = group.referenced_segment
        assert segment_there.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert list(segment_there.referenced_segment_numbers) == [number]
        segment = seg.get_segment_description(number)
        assert (group.tracking_uid, group.tracking_identifier) == (segment.tracking_uid, size.name)
    sites = [g.finding_sites[0] for g in groups]
    assert [s.value.meaning for s in sites] == ["Lung", "Kidney"]
    assert sites[1].laterality.meaning == "Left"


def test_it_is_of_the_same_patient_and_tells_no_more(
    drawn: tuple[Path, Series, Path], tmp_path: Path
) -> None:
    out = written(drawn, tmp_path / "sr.dcm")
    report, raw = hd.sr.srread(out), out.read_bytes()
    assert (report.PatientID, report.PatientSex) == ("MRN99881", "O")
    assert report.VerificationFlag == "UNVERIFIED"
    assert not any(secret in raw for secret in (b"ZZFREE", b"045Y", b"Clinic", str(tmp_path).encode()))


def test_hu_show_tells_the_measurements(drawn: tuple[Path, Series, Path], tmp_path: Path) -> None:
    written(drawn, tmp_path / "sr.dcm")
    tree = str(show(tmp_path / "sr.dcm").tree)
    assert "20.25 mm3" in tree and "7.125 mm" in tree and "MRN99881" not in tree


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([Measured("spleen", 1, 1)], '"spleen" is no segment'),
        ([SIZES[0], SIZES[0]], "measured twice"),
        ([Measured("nodule 1", 0, 1)], "measures 0 mm³"),
        ([Measured("nodule 1", 1, float("nan"))], "nan mm"),
        ([], "no measurement"),
    ],
)
def test_bad_measurements_are_refused(
    drawn: tuple[Path, Series, Path], tmp_path: Path, sizes: list[Measured], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        written(drawn, tmp_path / "sr.dcm", sizes)
    assert not list(tmp_path.iterdir())


def test_a_segmentation_of_something_else_is_refused(
    drawn: tuple[Path, Series, Path], tmp_path: Path
) -> None:
    folder, series, _ = drawn
    with pytest.raises(BadInput, match="was not drawn on image"):
        written((folder, series, folder / "0000.dcm"), tmp_path / "sr.dcm")


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_dciodvfy_finds_no_error(drawn: tuple[Path, Series, Path], tmp_path: Path) -> None:
    out = written(drawn, tmp_path / "sr.dcm")
    said = subprocess.run(["dciodvfy", str(out)], capture_output=True, text=True, check=False).stderr
    assert "Error" not in said
