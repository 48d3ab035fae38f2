"""The compiled walk over header bytes: every encoding, no byte past the end, and pydicom's values."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from header_truth import cells_of, rows_of_folder, slow_row
from hounsfield.io.dicom import header_table
from hounsfield.io.dicom.columns import COLUMNS, FLAGS
from hounsfield.io.dicom.walk import VRS

CT = "1.2.840.10008.5.1.4.1.1.2"
ENCODINGS = {
    "explicit little": ExplicitVRLittleEndian,
    "implicit little": ImplicitVRLittleEndian,
    "explicit big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "encapsulated": JPEG2000,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were left to pydicom."""
    names: list[str] = []
    by_pydicom = header_table._by_pydicom

    def noted(files: Any, member: str, size: int) -> Any:
        names.append(member)
        return by_pydicom(files, member, size)

    monkeypatch.setattr(header_table, "_by_pydicom", noted)
    return names


def slice_of(**elements: Any) -> Dataset:
    """A slice with values in most columns, sequences and private elements."""
    made = Dataset()
    made.SpecificCharacterSet, made.ImageType = "ISO_IR 100", ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = CT, "1.2.3.4.5", "CT"
    made.StudyDate, made.AcquisitionTime, made.Manufacturer = "20200101", "101112.5", "A Maker"
    made.SeriesDescription, made.PatientID, made.PatientAge = "thin slices", "P1 ", "061Y"
    made.PatientSex, made.BodyPartExamined = "F", "CHEST"
    made.SliceThickness, made.EchoNumbers, made.DiffusionBValue = "1.25", [1, 2], 800.5
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    made.SeriesNumber, made.InstanceNumber, made.NumberOfFrames = 4, -7, "1"
    made.ImagePositionPatient = ["-173.662109375", "1e-5", "-0.0"]
    made.ImageOrientationPatient = ["1", "0", "0", "0", ".5", "-1."]
    made.Rows, made.Columns, made.PixelSpacing = 2, 300, ["0.1", "0.30"]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.WindowCenter, made.WindowWidth = ["40", "-600", "3"], ["400", "1500", "1"]
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = "-1024", "1.0", "HU"
    made.private_block(0x0019, "A MAKER", create=True).add_new(1, "LO", "private")
    item = Dataset()
    item.PatientID, item.Rows, item.PixelData = "in an item", 99, b"\1\2\3\4"
    item["PixelData"].VR = "OW"
    made.IconImageSequence = [item, Dataset()]
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def written(made: Dataset, syntax: str = ExplicitVRLittleEndian, *, pixels: bytes = bytes(1200)) -> bytes:
    """The bytes of a file with preamble."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    if pixels:
        made.PixelData = pixels
        made["PixelData"].VR = "OW"
        if syntax == JPEG2000:
            made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
            made.PixelData = (
                b"\xfe\xff\0\xe0\0\0\0\0" + b"\xfe\xff\0\xe0\4\0\0\0abcd" + b"\xfe\xff\xdd\xe0\0\0\0\0"
            )
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def row_of(folder: Path, data: bytes) -> dict[str, Any]:
    (folder / "a.dcm").write_bytes(data)
    return rows_of_folder(folder, ["a.dcm"], threads=1)[0]


def bare(made: Dataset, *, implicit: bool, little: bool) -> bytes:
    """A dataset alone: no preamble, no file meta information."""
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_dataset(file, made)
    return file.getvalue()


def long(tag: int, vr: bytes, value: bytes, length: int = -1) -> bytes:
    """An explicit little endian element whose length has 32 bits."""
    size = len(value) if length < 0 else length
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, size) + value


def short(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def with_elements(*elements: bytes) -> bytes:
    """A file of hand-written elements after a minimal file meta information and three common ones."""
    first = short(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0") + short(0x00080016, b"UI", b"1.2.3\0")
    first += short(0x00080060, b"CS", b"CT") + short(0x00100020, b"LO", b"P1")
    return bytes(128) + b"DICM" + first + b"".join(elements)


def test_the_types_are_those_of_the_data_dictionary() -> None:
    from pydicom.datadict import dictionary_VR

    assert {c.name: dictionary_VR(c.tag) for c in COLUMNS} == VRS
    assert [c.name for c in COLUMNS[:2]] == ["transfer_syntax_uid", "specific_character_set"]
    assert [c.tag for c in COLUMNS] == sorted(c.tag for c in COLUMNS)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_gives_the_cells_of_pydicom(encoding: str, tmp_path: Path, asked: list[str]) -> None:
    data = written(slice_of(), ENCODINGS[encoding])
    row = row_of(tmp_path, data)
    assert not asked and row["reason"] == ""
    assert {name: row[name] for name in VRS} == cells_of(data)
    assert row["patient_id"] == "P1" and row["rows"] == 2 and row["number_of_frames"] == 1
    assert {name: row[name] for name in slow_row(data)} == slow_row(data)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_pixels_are_where_the_row_says(encoding: str, tmp_path: Path) -> None:
    pixels = bytes(range(240)) * 5
    data = written(slice_of(), ENCODINGS[encoding], pixels=pixels)
    row = row_of(tmp_path, data)
    at, length = row["pixel_offset"], row["pixel_length"]
    flags = {name for name, bit in FLAGS.items() if row["flags"] & bit}
    if encoding == "deflated":
        after_meta = 144 + dcmread(io.BytesIO(data)).file_meta.FileMetaInformationGroupLength
        data = zlib.decompress(data[after_meta:], -15)
    if encoding == "encapsulated":
        assert length == -1 and flags == {"encapsulated"} and data[at : at + 4] == b"\xfe\xff\0\xe0"
    else:
        assert data[at : at + length] == pixels
        assert flags == {"explicit big": {"big_endian"}, "deflated": {"deflated"}}.get(encoding, set())
    assert row["pixel_tag"] == 0x7FE00010


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_a_dataset_without_preamble_or_meta_is_read(
    implicit: bool, little: bool, tmp_path: Path, asked: list[str]
) -> None:
    made = slice_of(PixelData=bytes(1200))
    made["PixelData"].VR = "OW"
    data = bare(made, implicit=implicit, little=little)
    row = row_of(tmp_path, data)
    assert not asked and row["reason"] == "" and row["transfer_syntax_uid"] is None
    assert {name: row[name] for name in VRS} == cells_of(data)
    assert data[row["pixel_offset"] :] == bytes(1200)


def test_meta_without_preamble_is_read(tmp_path: Path, asked: list[str]) -> None:
    row = row_of(tmp_path, data := written(slice_of())[132:])
    assert not asked and row["transfer_syntax_uid"] == ExplicitVRLittleEndian
    assert {name: row[name] for name in VRS} == cells_of(data)


def test_sequences_of_undefined_length_are_passed_over(tmp_path: Path, asked: list[str]) -> None:
    item, last = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
    end, open_ = b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xff\xff\xff\xff"
    rows = short(0x00280010, b"US", b"\x63\0")
    fragments = long(0x7FE00010, b"OB", item + bytes(4) + item + b"\4\0\0\0" + last[:4] + last, 0xFFFFFFFF)
    items = item + open_ + rows + end + item + b"\x0a\0\0\0" + rows
    inner = long(0x00081140, b"SQ", items + last, 0xFFFFFFFF)
    bare_item = struct.pack("<HHI", 0x0010, 0x0020, 4) + b"nope"
    data = with_elements(
        long(0x00101002, b"SQ", item + open_ + inner + fragments + end + last, 0xFFFFFFFF),
        long(0x00180012, b"SQ", last, 0xFFFFFFFF),
        long(0x00189346, b"UN", item + open_ + bare_item + end + last, 0xFFFFFFFF),
        short(0x00280010, b"US", b"\7\0"),
        long(0x52009229, b"SQ", item + open_ + end + last, 0xFFFFFFFF),
        long(0x7FE00010, b"OW", b"12345678"),
    )
    row = row_of(tmp_path, data)
    assert not asked and row["reason"] == "" and row["rows"] == 7
    assert data[row["pixel_offset"] :] == b"12345678"
    assert row["flags"] == FLAGS["functional_groups"]


@pytest.mark.parametrize(
    "oddity",
    [
        short(0x00280010, b"US", b"\1\0") + short(0x00280008, b"IS", b"1 "),  # not in order
        short(0x00280010, b"US", b"\1\0") + short(0x00280010, b"US", b"\2\0"),  # twice
        short(0x00280010, b"X?", b"\1\0"),
        short(0x00280010, b"US", b"\1\0") + b"\0\0",
        long(0x00280010, b"SQ", b"\xfe\xff\xdd\xe0\0\0\0\0", 0xFFFFFFFF),
        long(0x00091010, b"OB", b"\xfe\xff\xdd\xe0\0\0\0\0", 0xFFFFFFFF),
        short(0x00280010, b"US", b"\1\0") + b"\xfe\xff\x0d\xe0\0\0\0\0",
    ],
)
def test_what_departs_from_the_standard_is_left_to_pydicom(
    oddity: bytes, tmp_path: Path, asked: list[str]
) -> None:
    data = with_elements(oddity)
    row = row_of(tmp_path, data)
    assert asked == ["a.dcm"]
    assert {name: row[name] for name in slow_row(data)} == slow_row(data)


@pytest.mark.parametrize(
    ("tag", "vr", "value", "name", "expected"),
    [
        (0x00280030, b"DS", b"0.5\\0.5\\0.5 ", "pixel_spacing", "PixelSpacing"),
        (0x00280030, b"DS", b"0.5\\wide", "pixel_spacing", "PixelSpacing"),
        (0x00280030, b"DS", b"nan\\1 ", "pixel_spacing", "PixelSpacing"),
        (0x00280010, b"US", b"\1\0\2\0", "rows", "Rows"),
        (0x00280010, b"US", b"\1", "rows", "Rows"),
        (0x00280008, b"IS", b"two ", "number_of_frames", "NumberOfFrames"),
        (0x00281053, b"DS", b"1e999 ", "rescale_slope", "RescaleSlope"),
        (0x00281053, b"DS", b"1\\2 ", "rescale_slope", "RescaleSlope"),
        (0x00200011, b"IS", b"four", "series_number", ""),
        (0x00281050, b"DS", b"4O\\1", "window_center", ""),
    ],
)
def test_a_value_that_cannot_be_read_is_null_and_named_if_the_image_depends_on_it(
    tag: int, vr: bytes, value: bytes, name: str, expected: str, tmp_path: Path
) -> None:
    row = row_of(tmp_path, with_elements(short(tag, vr, value)))
    assert row[name] is None
    assert (expected in row["reason"]) and (bool(row["reason"]) == bool(expected))


def test_values_that_only_pydicom_understands_are_asked_of_it_alone(tmp_path: Path, asked: list[str]) -> None:
    data = with_elements(
        short(0x00180050, b"DS", b"1.25000000000000000001"),
        short(0x00181060, b"DS", b" 12e-30 "),
        short(0x00200011, b"IS", b"3.0 "),
        short(0x00280010, b"UL", b"\7\0\0\0"),
    )
    row = row_of(tmp_path, data)
    assert not asked
    assert (row["slice_thickness"], row["trigger_time"]) == (1.25, 12e-30)
    assert (row["series_number"], row["rows"]) == (3, 7)


@pytest.mark.parametrize(
    ("character_set", "written_name", "name"),
    [
        ("ISO_IR 100", "Universitätsklinikum".encode("latin-1"), "Universitätsklinikum"),
        ("ISO_IR 192", "Больница № 1".encode(), "Больница № 1"),
        ("\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B", "山田"),
        ("GB18030", "王医院\\b".encode("gb18030"), "王医院\\b"),
        ("unheard of", b"General", "General"),
    ],
)
def test_text_in_any_character_set_is_decoded(
    character_set: str, written_name: bytes, name: str, tmp_path: Path, asked: list[str]
) -> None:
    data = bytes(128) + b"DICM" + short(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0")
    data += short(0x00080005, b"CS", character_set.encode()) + short(0x00080016, b"UI", b"1.2\0")
    data += short(0x00080060, b"CS", b"CT") + short(0x00080080, b"LO", written_name)
    row = row_of(tmp_path, data)
    assert bool(asked) == (character_set == "unheard of")
    assert row["institution_name"] == name == cells_of(data)["institution_name"]


@pytest.mark.parametrize("encoding", ["explicit little", "implicit little", "explicit big"])
def test_a_header_cut_anywhere_is_refused_and_points_nowhere_outside(encoding: str, tmp_path: Path) -> None:
    whole = written(slice_of(), ENCODINGS[encoding])
    start = row_of(tmp_path, whole)["pixel_offset"]
    names = [f"{n}.dcm" for n in range(start + 3)]
    for n, name in enumerate(names):
        (tmp_path / name).write_bytes(whole[:n])
    for n, row in enumerate(rows_of_folder(tmp_path, names)):
        assert (row["pixel_offset"] is not None) == (n >= start), n
        assert row["pixel_offset"] in (None, start)
        if row["reason"] == "":  # cut between two elements, where nothing shows that more should follow
            assert {name: row[name] for name in VRS} == cells_of(whole[:n]), n


def test_long_values_before_the_pixels_are_passed_over_without_being_read(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda f, n, at: read.append(n) or pread(f, n, at))
    data = with_elements(
        long(0x00291010, b"OB", bytes(900_000)),
        long(0x00291020, b"OB", bytes(700_000)),
        short(0x00280010, b"US", b"\7\0").replace(b"\x28\0\x10\0", b"\x29\0\x21\x10"),
        long(0x7FE00010, b"OW", b"12345678"),
    )
    row = row_of(tmp_path, data)
    assert not asked and data[row["pixel_offset"] :] == b"12345678" and row["flags"] == FLAGS["csa_header"]
    assert sum(read) < 100_000


def test_a_long_sequence_of_undefined_length_is_read_to_its_end(tmp_path: Path, asked: list[str]) -> None:
    item, last = b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\0\0\0\0"
    frame = item + short(0x00200032, b"DS", b"1\\2\\3 ") + b"\xfe\xff\x0d\xe0\0\0\0\0"
    data = with_elements(
        short(0x00280010, b"US", b"\7\0"),
        long(0x52009230, b"SQ", frame * 9000 + last, 0xFFFFFFFF),
        long(0x7FE00010, b"OW", b"12345678"),
    )
    row = row_of(tmp_path, data)
    assert not asked and row["rows"] == 7 and row["image_position_patient"] is None
    assert data[row["pixel_offset"] :] == b"12345678"


_TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\\\r\n\f"), max_size=20)
_NUMBER = st.one_of(
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.10g}"[:16]),
    st.from_regex(r" ?[+-]?[0-9]{1,7}(\.[0-9]{0,6})?([eE][+-]?[0-9]{1,2})? ?", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
_BY_KIND = {
    "IS": st.from_regex(r" ?[+-]?[0-9]{1,9} ?", fullmatch=True),
    "DS": _NUMBER,
    "US": st.integers(0, 65535),
    "FD": st.floats(allow_nan=False, allow_infinity=False),
    "UI": st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){0,4}", fullmatch=True),
}


@st.composite
def _values(draw: st.DrawFn) -> dict[int, Any]:
    values: dict[int, Any] = {}
    for column in draw(st.lists(st.sampled_from(COLUMNS[2:]), min_size=4, max_size=20, unique=True)):
        one = _BY_KIND.get(VRS[column.name], _TEXT)
        count = draw(st.sampled_from([1, 1, 1, column.count or 3, 2]))
        several = [draw(one) for _ in range(count)]
        values[column.tag] = (VRS[column.name], several if count > 1 else several[0])
    return values


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=_values(), encoding=st.sampled_from(sorted(ENCODINGS)))
def test_any_dataset_that_pydicom_writes_is_read_as_pydicom_reads_it(
    values: dict[int, Any], encoding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    with disable_value_validation():
        for tag, (vr, value) in values.items():
            text = "\\".join(value) if isinstance(value, list) and isinstance(value[0], str) else value
            made.add_new(tag, "LO" if vr in ("DS", "IS") else vr, text)
            if vr in ("DS", "IS"):
                made[tag].VR = vr
                made[tag]._value = text
        data = _by_hand(made, ENCODINGS[encoding])
    row = row_of(tmp_path_factory.mktemp("any"), data)
    if not row["reason"] or row["reason"].startswith("its "):
        assert {name: row[name] for name in VRS} == cells_of(data)
    assert {name: row[name] for name in slow_row(data)} == slow_row(data)


def _by_hand(made: Dataset, syntax: str) -> bytes:
    """Elements as they stand, even those that pydicom would not write."""
    big, implicit = syntax == ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    mark = ">" if big else "<"
    out = b""
    for element in made:
        value = element._value
        if element.VR in ("US", "FD"):
            several = value if isinstance(value, list) or hasattr(value, "__len__") else [value]
            raw = struct.pack(f"{mark}{len(several)}{'H' if element.VR == 'US' else 'd'}", *several)
        else:
            text = value if isinstance(value, str) else "\\".join(map(str, value))
            raw = text.encode("latin-1")
            raw += b" " * (len(raw) % 2)
        head = struct.pack(f"{mark}HH", element.tag.group, element.tag.element)
        explicit = element.VR.encode() + struct.pack(f"{mark}H", len(raw))
        out += head + (struct.pack("<I", len(raw)) if implicit else explicit) + raw
    if syntax == DeflatedExplicitVRLittleEndian:
        packer = zlib.compressobj(wbits=-15)
        out = packer.compress(out) + packer.flush()
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    return bytes(128) + b"DICM" + short(0x00020010, b"UI", uid) + out
