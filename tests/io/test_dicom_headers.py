"""A header tells what a scan must know, and why a file is no image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ImplicitVRLittleEndian

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io import index_of
from hounsfield.io.dicom.elements import age_in_years

GREY = np.arange(12, dtype=np.uint16).reshape(3, 4)


def _only(path: Path) -> Series:
    (series,) = index_of(path).series
    return series


def test_the_facts_of_an_image_are_kept_and_the_name_is_not(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(
        tmp_path / "a.dcm",
        GREY,
        Modality="MG",
        PatientID="77",
        IssuerOfPatientID="CLINIC",
        PatientAge="061Y",
        PatientSex="F",
        PatientBirthDate="19590101",
        StudyDate="20200301",
        InstitutionName="Site A",
        Manufacturer="Maker",
        ManufacturerModelName="M1",
        BodyPartExamined="BREAST",
        ImageLaterality="L",
        ViewPosition="MLO",
        ImagerPixelSpacing=[0.07, 0.08],
        BitsStored=12,
        HighBit=11,
    )
    found = _only(tmp_path)
    assert (found.patient, found.age_years, found.sex) == ("77^^^CLINIC", 61.0, "F")
    assert (found.site, found.scanner, found.study_date) == ("Site A", "Maker M1", "20200301")
    assert (found.modality, found.body_part, found.laterality, found.view) == ("MG", "BREAST", "L", "MLO")
    assert (found.shape, found.channels, found.bits, found.spacing_mm) == (
        (1, 3, 4),
        1,
        12,
        (1.0, 0.07, 0.08),
    )
    assert (found.sop, found.series, found.study) == ("1.2.3.1", "1.2.3.4", "1.2.3")
    assert "SECRET" not in repr(found) and "1959" not in repr(found)


@pytest.mark.parametrize(
    ("age", "birth", "study", "years"),
    [
        ("045Y", "", "", 45.0),
        ("010M", "", "", 0.83),
        ("026W", "", "", 0.5),
        ("000D", "", "", 0.0),
        ("", "19600229", "20200301", 60.01),
        ("", "1960.02.01", "20200201", 60.0),
        ("45", "", "", None),
        ("", "20300101", "20200101", None),
        ("", "19609901", "20200101", None),
        ("", "", "20200101", None),
    ],
)
def test_age_in_years(age: str, birth: str, study: str, years: float | None) -> None:
    assert age_in_years(age, birth, study) == years


def test_pixel_spacing_goes_before_the_spacing_at_the_detector(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, Modality="DX", PixelSpacing=[0.1, 0.2], ImagerPixelSpacing=[1, 2])
    assert _only(tmp_path).spacing_mm == (1.0, 0.1, 0.2)


@pytest.mark.parametrize("spacing", [None, [0, 0], ""])
def test_a_spacing_of_nothing_is_unknown(tmp_path: Path, write_dicom: Any, spacing: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, Modality="DX", PixelSpacing=spacing)
    assert _only(tmp_path).spacing_mm == ()


@pytest.mark.parametrize(
    ("modality", "sop_class", "reason"),
    [
        ("SR", "1.2.840.10008.5.1.4.1.1.88.11", r"no pixel data \(Structured Report\)"),
        ("KO", "1.2.840.10008.5.1.4.1.1.88.59", r"no pixel data \(Key Object Selection\)"),
        ("PR", "1.2.840.10008.5.1.4.1.1.11.1", r"no pixel data \(Presentation State\)"),
        ("RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3", r"no pixel data \(Radiotherapy Structure Set\)"),
        ("", "1.2.840.10008.1.3.10", r"no pixel data \(DICOMDIR"),
        ("XX", "1.2.840.10008.5.1.4.1.1.104.1", r"no pixel data \(Encapsulated PDF\)"),
    ],
)
def test_objects_without_pixels_are_refused_by_their_kind(
    tmp_path: Path, write_dicom: Any, modality: str, sop_class: str, reason: str
) -> None:
    write_dicom(tmp_path / "a.dcm", None, Modality=modality, SOPClassUID=sop_class)
    with pytest.raises(BadInput, match=reason):
        index_of(tmp_path)


@pytest.mark.parametrize(
    ("modality", "reason"), [("SEG", "a segmentation"), ("RTDOSE", "Radiotherapy Dose, not an image")]
)
def test_pixels_that_are_no_picture_are_refused(
    tmp_path: Path, write_dicom: Any, modality: str, reason: str
) -> None:
    sop_class = {"SEG": "1.2.840.10008.5.1.4.1.1.66.4", "RTDOSE": "1.2.840.10008.5.1.4.1.1.481.2"}[modality]
    write_dicom(tmp_path / "a.dcm", GREY, Modality=modality, SOPClassUID=sop_class)
    with pytest.raises(BadInput, match=reason):
        index_of(tmp_path)


def test_a_file_cut_within_its_pixels_is_refused_with_the_numbers(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, Modality="DX")
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[:-5])
    with pytest.raises(BadInput, match="holds 19 bytes of pixel data where 24 were expected; send it again"):
        index_of(tmp_path)


def test_a_file_cut_before_its_pixels_says_so(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, Modality="DX")
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[:-40])
    with pytest.raises(BadInput, match=r"no pixel data .* the file may be cut short"):
        index_of(tmp_path)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian])
@pytest.mark.parametrize("name", ["IM0001", "a.dcm"])
def test_a_dataset_without_preamble_is_dicom(
    tmp_path: Path, write_dicom: Any, syntax: str, name: str
) -> None:
    write_dicom(tmp_path / name, GREY, preamble=False, syntax=syntax)
    assert _only(tmp_path).reader == "dicom"


def test_text_named_as_dicom_is_refused(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY)
    (tmp_path / "b.dcm").write_text("this is a text and not DICOM " * 20)
    (tmp_path / "c.dcm").write_bytes(b"\x01")
    reasons = {r.file: r.reason for r in index_of(tmp_path).refused}
    assert set(reasons) == {"b.dcm", "c.dcm"} and all("DICOM" in r for r in reasons.values())


@pytest.mark.parametrize("name", ["notes", "table.csv", "x.json"])
def test_other_files_are_not_claimed(tmp_path: Path, write_dicom: Any, name: str) -> None:
    write_dicom(tmp_path / "a.dcm", GREY)
    (tmp_path / name).write_text("case,label\n1,benign\n" * 30)
    assert [r.file for r in index_of(tmp_path).refused] == [name]


def test_an_unknown_compression_is_named_in_words(tmp_path: Path, write_dicom: Any) -> None:
    made = write_dicom(tmp_path / "a.dcm", GREY, Modality="DX")
    from pydicom.encaps import encapsulate

    made.PixelData = encapsulate([b"1234"])
    made["PixelData"].is_undefined_length = True
    for syntax, words in [
        ("1.2.840.10008.1.2.4.52", 'stored as "JPEG Extended.*export it uncompressed'),
        ("1.2.840.10008.1.2.4.100", "stored as a video .*export single frames"),
    ]:
        made.file_meta.TransferSyntaxUID = syntax
        made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        with pytest.raises(BadInput, match=words):
            index_of(tmp_path)


def test_compressed_pixels_that_break_off_are_refused(tmp_path: Path, write_dicom: Any) -> None:
    made = write_dicom(tmp_path / "a.dcm", GREY, Modality="DX")
    made.compress("1.2.840.10008.1.2.5")
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert _only(tmp_path)
    content = (tmp_path / "a.dcm").read_bytes()
    for cut in (4, 8, 20):
        (tmp_path / "a.dcm").write_bytes(content[:-cut])
        with pytest.raises(BadInput, match="break off; the file was cut short"):
            index_of(tmp_path)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"PixelSpacing": [1, 2, 3]}, "PixelSpacing cannot be read, expected 2 finite numbers"),
        ({"PhotometricInterpretation": "HSV"}, 'colour model "HSV" is not read'),
        ({"SamplesPerPixel": 2}, "2 samples per pixel"),
        ({"Rows": None}, "without its number of rows"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, write_dicom: Any, elements: Any, reason: str) -> None:
    write_dicom(tmp_path / "a.dcm", GREY, Modality="DX", **elements)
    with pytest.raises(BadInput, match=reason):
        index_of(tmp_path)


def test_a_whole_slide_in_tiles_is_refused(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(
        tmp_path / "a.dcm", np.zeros((4, 4), np.uint8), Modality="SM", NumberOfFrames=4, Rows=2, Columns=2
    )
    with pytest.raises(BadInput, match="stored in tiles"):
        index_of(tmp_path)


def test_laterality_of_an_enhanced_image_is_found(tmp_path: Path, write_dicom: Any) -> None:
    shared, anatomy = Dataset(), Dataset()
    anatomy.FrameLaterality = "R"
    shared.FrameAnatomySequence = Items([anatomy])
    write_dicom(tmp_path / "a.dcm", GREY, Modality="MG", SharedFunctionalGroupsSequence=Items([shared]))
    assert _only(tmp_path).laterality == "R"
