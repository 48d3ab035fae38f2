"""Masks as DICOM Segmentations: read by highdicom and by ourselves, where they were, and nothing told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.sr import _concepts_dict

from ct_mr_series import AXIAL, SAGITTAL, oblique, pattern, positions_of, write_enhanced, write_series
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io import Source, index_of, read_volume
from hounsfield.io.dicom import structures
from hounsfield.io.dicom.seg_frames import decimal
from hounsfield.io.dicom.seg_write import Algorithm, write_segmentation
from hounsfield.io.dicom.structures import Structure, structure_of
from hounsfield.steps.show import show

hd = pytest.importorskip("highdicom", reason="highdicom is not installed (hounsfield[dicom-results])")

SHAPE = (5, 9, 11)  # a frame of 99 bits: frames do not begin at bytes
NAMES = {1: "liver", 2: "nodule 1", 4: "left kidney"}


def mask_of(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Labels 1 and 4 with a gap between (2 is named, not drawn; 3 is nothing), and an empty first slice."""
    mask = np.zeros(shape, np.uint8)
    mask[1:3, 2:5, 3:6] = 1
    mask[2:4, 6:8, 1:9] = 4
    return mask


def source_of(folder: Path, *, modality: str = "CT", **more: Any) -> Series:
    write_series(folder, pattern(SHAPE), modality=modality, **more)
    return index_of(folder).series[0]


def written(folder: Path, series: Series, mask: Any, out: Path, names: Any = None, **more: Any) -> Path:
    with Source(folder) as source:
        return write_segmentation(mask, NAMES if names is None else names, source, series, out=out, **more)


def affine_of(folder: Path, series: Series) -> np.ndarray:
    with Source(folder) as source:
        return read_volume(source, series).affine


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("plane", [AXIAL, SAGITTAL, oblique(25, -20)], ids=["axial", "sagittal", "oblique"])
def test_highdicom_reads_every_voxel_where_it_was(tmp_path: Path, modality: str, plane: Any) -> None:
    folder = tmp_path / "series"
    series = source_of(folder, modality=modality, orientation=plane, descending=True)
    mask, affine = mask_of(), affine_of(folder, series)
    volumes = {}
    for form in ("binary", "labelmap"):
        out = written(folder, series, mask, tmp_path / f"{form}.dcm", affine=affine, form=form)
        volumes[form] = hd.seg.segread(out).get_volume(combine_segments=True)
    whole, cut = volumes["labelmap"], volumes["binary"]
    in_order = np.searchsorted([0, 1, 2, 4], mask)  # binary segments are numbered without gaps
    # highdicom may stack along the other direction: each voxel is compared by its place in the patient
    for volume, wanted in ((whole, mask), (cut, in_order)):
        kji = np.argwhere(volume.array)
        places = kji @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        back = (places - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
        found = np.zeros(SHAPE, np.int64)
        found[tuple(np.rint(back[:, ::-1]).astype(int).T)] = volume.array[tuple(kji.T)]
        assert np.abs(back - np.rint(back)).max() < 1e-3
        np.testing.assert_array_equal(found, wanted)


def test_binary_leaves_out_empty_frames_and_keeps_absent_segments(tmp_path: Path) -> None:
    series = source_of(tmp_path / "s")
    made = pydicom.dcmread(written(tmp_path / "s", series, mask_of(), tmp_path / "seg.dcm"))
    assert made.NumberOfFrames == 4
    groups = made.PerFrameFunctionalGroupsSequence
    numbers = [g.SegmentIdentificationSequence[0].ReferencedSegmentNumber for g in groups]
    assert numbers == [1, 1, 3, 3]
    assert [s.SegmentLabel for s in made.SegmentSequence] == ["liver", "nodule 1", "left kidney"]
    kidney = made.SegmentSequence[2].SegmentedPropertyTypeCodeSequence[0]
    assert kidney.CodeValue == "64033007"
    assert kidney.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert made.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


def test_every_frame_refers_to_the_slice_it_lies_in(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    series = source_of(folder, orientation=oblique(10, 30), descending=True)
    made = pydicom.dcmread(written(folder, series, mask_of(), tmp_path / "seg.dcm"))
    images = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.glob("*.dcm"))}
    for group in made.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        image = images[source.ReferencedSOPInstanceUID]
        assert source.ReferencedSOPClassUID == image.SOPClassUID
        assert group.PlanePositionSequence[0].ImagePositionPatient == image.ImagePositionPatient
    assert made.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert made.StudyInstanceUID == image.StudyInstanceUID
    assert made.SeriesInstanceUID != image.SeriesInstanceUID
    referenced = made.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == image.SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in referenced.ReferencedInstanceSequence} == set(images)


def test_a_frame_of_a_multi_frame_image_is_named_by_its_number(tmp_path: Path) -> None:
    order = [3, 1, 4, 0, 2]
    values, places = pattern(SHAPE), positions_of(5, AXIAL, step_mm=2.0, origin_mm=(0, 0, 0))
    write_enhanced(tmp_path / "s" / "a.dcm", values[order], places[order])
    series = index_of(tmp_path / "s").series[0]
    made = pydicom.dcmread(written(tmp_path / "s", series, mask_of(), tmp_path / "seg.dcm"))
    for group in made.PerFrameFunctionalGroupsSequence:
        frame = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        at = places[order[frame - 1]]
        np.testing.assert_allclose(group.PlanePositionSequence[0].ImagePositionPatient, at, atol=1e-6)


@pytest.mark.parametrize("form", ["binary", "labelmap"])
def test_hu_show_lays_it_over_its_images(tmp_path: Path, form: Any) -> None:
    folder = tmp_path / "s"
    series = source_of(folder)
    written(folder, series, mask_of(), folder / "zz-seg.dcm", form=form)
    shown = show(folder, image="zz-seg.dcm")
    assert shown.seen is not None and "over the images they were drawn on" in shown.seen.notes
    drawn = {s.label: s for s in shown.segments if s.number}
    assert {n: s.voxels for n, s in drawn.items()} == {"liver": 18, "nodule 1": 0, "left kidney": 32}
    assert drawn["liver"].volume_ml == pytest.approx(18 * 2 * 0.75 * 0.75 / 1000, abs=1e-4)


def test_a_single_image_without_a_place_is_segmented_too(tmp_path: Path) -> None:
    write_series(
        tmp_path / "s", pattern((1, 9, 11)), ImagePositionPatient=None, ImageOrientationPatient=None,
        FrameOfReferenceUID=None,
    )  # fmt: skip
    series = index_of(tmp_path / "s").series[0]
    out = written(tmp_path / "s", series, mask_of()[2:3], tmp_path / "seg.dcm")
    made = pydicom.dcmread(out)
    assert "FrameOfReferenceUID" not in made
    np.testing.assert_array_equal(made.pixel_array[0].reshape(9, 11), mask_of()[2] == 1)


def test_labels_beyond_a_byte_stay(tmp_path: Path) -> None:
    series = source_of(tmp_path / "s")
    mask = mask_of().astype(np.int64) * 500
    out = written(tmp_path / "s", series, mask, tmp_path / "a.dcm", {500: "a", 2000: "b"}, form="labelmap")
    assert np.unique(pydicom.dcmread(out).pixel_array).tolist() == [0, 500, 2000]


def test_nothing_but_what_dicom_requires_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "ward of ZZPATH"
    series = source_of(
        folder, PatientAge="045Y", PatientComments="ZZFREE", OtherPatientIDs="ZZOTHER", OperatorsName="ZZOP",
        StudyDescription="ZZFREE", PatientName="Größe^Ä", SpecificCharacterSet="ISO_IR 100",
        PatientIdentityRemoved="YES",
    )  # fmt: skip
    out = written(folder, series, mask_of(), tmp_path / "seg.dcm", {1: "Лёгкое", 4: "b"})
    raw, made = out.read_bytes(), pydicom.dcmread(out)
    for secret in (b"ZZ", b"Clinic", b"045Y", str(tmp_path).encode(), b"0000.dcm"):
        assert secret not in raw
    assert (str(made.PatientName), made.PatientIdentityRemoved) == ("Größe^Ä", "YES")
    assert made.SegmentSequence[0].SegmentLabel == "Лёгкое"


@pytest.mark.parametrize(
    ("mask", "names", "said"),
    [
        (mask_of()[:4], NAMES, r"4×9×11 voxels \(k×j×i\) where image image-00001 has 5×9×11; resample"),
        (mask_of().astype(np.float32), NAMES, "float32 where whole labels are expected; threshold"),
        (np.zeros(SHAPE, np.uint8), NAMES, "empty"),
        (mask_of().astype(np.int16) - 1, NAMES, "from -1 to 3"),
        (mask_of(), {1: "liver"}, r"without a name \(4\)"),
        (mask_of(), {}, "no label has a name"),
        (mask_of(), {1: "Liver", 4: "liver "}, "1 and 4 both name one structure"),
        (mask_of(), {1: "oesophagus", 4: "esophagus"}, "1 and 4 both name one structure"),
        (mask_of(), {0: "background", 1: "a", 4: "b"}, "label 0 is named"),
    ],
)  # fmt: skip
def test_bad_masks_are_refused_in_a_sentence(tmp_path: Path, mask: Any, names: Any, said: str) -> None:
    series = source_of(tmp_path / "s")
    with pytest.raises(BadInput, match=said):
        written(tmp_path / "s", series, mask, tmp_path / "seg.dcm", names)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_a_mask_elsewhere_is_told_how_far(tmp_path: Path) -> None:
    series = source_of(tmp_path / "s")
    affine = affine_of(tmp_path / "s", series)
    moved = affine.copy()
    moved[0, 3] += 3.0
    with pytest.raises(BadInput, match=r"first voxel lies 3\.00 mm .* resample"):
        written(tmp_path / "s", series, mask_of(), tmp_path / "a.dcm", affine=moved)
    wider = affine @ np.diag([1.0, 1.0, 1.5, 1.0])
    with pytest.raises(BadInput, match=r"spacing is 3×0\.75×0\.75 mm .* image's is 2×0\.75×0\.75 mm"):
        written(tmp_path / "s", series, mask_of(), tmp_path / "a.dcm", affine=wider)
    flipped = affine @ np.diag([1.0, -1.0, 1.0, 1.0])
    with pytest.raises(BadInput, match="elsewhere"):
        written(tmp_path / "s", series, mask_of(), tmp_path / "a.dcm", affine=flipped)


def test_the_table_holds_codes_and_meanings_that_pydicom_knows() -> None:
    pairs = {(v, m[0].casefold()) for c in _concepts_dict.concepts["SCT"].values() for v, m in c.items()}
    unlike = {n: k for n, (_, k) in structures._KNOWN.items() if (k.value, k.meaning.casefold()) not in pairs}
    assert not unlike and len(structures._KNOWN) > 60


def test_a_lesion_is_found_in_its_organ() -> None:
    found = structure_of("nodule 3", site="left lung")
    assert isinstance(found, Structure) and found.category.meaning == "Morphologically Abnormal Structure"


@pytest.mark.parametrize("value", [0.1, -1 / 3, 1e-17, -123456.789012345, 1e300])
def test_decimal_strings_fit_and_come_back(value: float) -> None:
    assert len(decimal(value)) <= 16
    assert float(decimal(value)) == pytest.approx(value, rel=1e-8)


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_dciodvfy_finds_no_error(tmp_path: Path, modality: str) -> None:
    series = source_of(tmp_path / "s", modality=modality, orientation=oblique(20, -10))
    by = Algorithm("nodules", "1.2", "abc")
    out = written(tmp_path / "s", series, mask_of(), tmp_path / "seg.dcm", algorithm=by)
    said = subprocess.run(["dciodvfy", str(out)], capture_output=True, text=True, check=False).stderr
    assert "Error" not in said
