"""All files of a stack become one array, straight from the disk or decoded one by one."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from hounsfield.core.errors import BadInput
from hounsfield.io import Source
from hounsfield.io.dicom.header_table import header_table
from hounsfield.io.dicom.pixels import joined, pixels_of, stack_values
from hounsfield.io.dicom.reused_memory import forget, uncleared

GREY = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300


def _table(folder: Path) -> pa.Table:
    with Source(folder) as source:
        return header_table(source, source.members)


def _values(folder: Path, **options: Any) -> NDArray[Any]:
    with Source(folder) as source:
        return stack_values(source, header_table(source, source.members), **options)


def _one_by_one(folder: Path) -> NDArray[Any]:
    return joined([pixels_of(dcmread(p)) for p in sorted(folder.glob("*.dcm"))])


TURNED = {"PhotometricInterpretation": "MONOCHROME1"}
CASES: dict[str, dict[str, Any]] = {
    "unchanged": {},
    "hounsfield units": {"RescaleSlope": 1, "RescaleIntercept": -1024},
    "real": {"RescaleSlope": 0.7, "RescaleIntercept": -1024.5},
    "a slope a slice": {"RescaleSlope": [0.5, 1.25, 1], "RescaleIntercept": 0},
    "some whole": {"RescaleSlope": [1, 2, 1], "RescaleIntercept": [0, 100_000, 3]},
    "twelve bits": {"BitsStored": 12, "HighBit": 11, "RescaleSlope": 1, "RescaleIntercept": -1024},
    "turned over": {**TURNED, "BitsStored": 12, "HighBit": 11, "Modality": "MR"},
    "turned over and real": {**TURNED, "Modality": "MR", "RescaleSlope": 0.3, "RescaleIntercept": 1},
    "Hounsfield units as MONOCHROME1": {**TURNED, "RescaleSlope": 1, "RescaleIntercept": -5},
    "too large for 32 bits": {"RescaleSlope": 90_000_000, "RescaleIntercept": 0},
    "negative slope": {"RescaleSlope": -2, "RescaleIntercept": 7},
}  # fmt: skip


def _write(folder: Path, write_dicom: Any, kind: type, elements: dict[str, Any], count: int = 3) -> None:
    rng = np.random.default_rng(4)
    info = np.iinfo(kind)
    for n in range(count):
        given = {k: v[n] if isinstance(v, list) else v for k, v in elements.items()}
        given.setdefault("Modality", "CT")
        pixels = rng.integers(info.min, info.max, (5, 7), kind, endpoint=True)
        if "BitsStored" in given and kind in (np.uint8, np.int8):
            given |= {"BitsStored": 7, "HighBit": 6}
        write_dicom(folder / f"{n:02}.dcm", pixels, **given)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("case", CASES)
def test_values_and_type_are_those_of_each_file_alone(
    tmp_path: Path, write_dicom: Any, case: str, kind: type
) -> None:
    _write(tmp_path, write_dicom, kind, CASES[case])
    expected, found = _one_by_one(tmp_path), _values(tmp_path)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    single = _values(tmp_path, dtype=np.float32)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, expected.astype(np.float32))


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_give_the_same_values(tmp_path: Path, write_dicom: Any, threads: int) -> None:
    rng = np.random.default_rng(4)
    stack = rng.integers(0, 4096, (7, 512, 512)).astype(np.int16)
    for n, pixels in enumerate(stack):
        write_dicom(tmp_path / f"{n}.dcm", pixels, RescaleSlope=1, RescaleIntercept=-1024)
    for _ in range(2):  # the second time into memory that was used before
        found = _values(tmp_path, threads=threads, dtype=np.float32)
        np.testing.assert_array_equal(found[0], stack - 1024.0)
        del found


def test_rows_decide_the_order(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, n) for n in range(3)])
    table = _table(tmp_path).take([2, 0, 1])
    with Source(tmp_path) as source:
        assert stack_values(source, table)[0, :, 0, 0].tolist() == [2, 0, 1]


def test_members_of_a_zip_are_read_in_place(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path / "a", [(0, 0, n) for n in range(3)], RescaleSlope=1, RescaleIntercept=5)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tmp_path / "a").iterdir()):
            archive.write(path, path.name)
    np.testing.assert_array_equal(_values(tmp_path / "a.zip"), _values(tmp_path / "a"))


def test_compressed_slices_give_the_same_values(tmp_path: Path, write_dicom: Any) -> None:
    for n in range(3):
        for folder in ("plain", "packed"):
            made = write_dicom(
                tmp_path / folder / f"{n}.dcm", GREY + np.uint16(n), RescaleSlope=n + 0.5, RescaleIntercept=-3
            )
            if folder == "packed":
                made.compress(RLELossless)
                made.save_as(tmp_path / folder / f"{n}.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(_values(tmp_path / "packed"), _values(tmp_path / "plain"))


def test_big_endian_slices_give_the_same_values(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY.astype(">u2"), syntax=ExplicitVRBigEndian)
    np.testing.assert_array_equal(_values(tmp_path)[0, 0], GREY)


def _multi_frame(path: Path, write_dicom: Any, frames: int = 4) -> NDArray[np.uint16]:
    stack = np.stack([GREY + np.uint16(n) for n in range(frames)])
    groups = []
    for n in range(frames):
        rescale = Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 0.5 * (n + 1), n, "US"
        group = Dataset()
        group.PixelValueTransformationSequence = Items([rescale])
        groups.append(group)
    write_dicom(
        path,
        GREY,
        NumberOfFrames=frames,
        PixelData=stack.tobytes(),
        PerFrameFunctionalGroupsSequence=Items(groups),
    )
    return stack


def test_every_frame_has_its_own_rescale(tmp_path: Path, write_dicom: Any) -> None:
    stack = _multi_frame(tmp_path / "a.dcm", write_dicom)
    expected = np.stack([f * (0.5 * (n + 1)) + n for n, f in enumerate(stack)]).astype(np.float32)
    np.testing.assert_array_equal(_values(tmp_path)[0], expected)
    np.testing.assert_array_equal(_values(tmp_path, frames=(3, 1))[0], expected[[3, 1]])


def test_a_frame_that_is_not_there_is_bad_input(tmp_path: Path, write_dicom: Any) -> None:
    _multi_frame(tmp_path / "a.dcm", write_dicom)
    with pytest.raises(BadInput, match="fewer than the scan found"):
        _values(tmp_path, frames=(4,))


@pytest.mark.parametrize("straight", [True, False])
@pytest.mark.parametrize("change", ["cut", "gone"])
def test_a_file_that_changed_since_the_table_was_made_is_bad_input(
    tmp_path: Path, write_stack: Any, change: str, straight: bool
) -> None:
    write_stack(tmp_path, [(0, 0, n) for n in range(2)], **({} if straight else {"NumberOfFrames": None}))
    table = _table(tmp_path)
    if not straight:
        table = table.set_column(table.schema.get_field_index("flags"), "flags", pa.array([1, 1], pa.int64()))
    path = tmp_path / "01.dcm"
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-6])
    else:
        path.unlink()
    with Source(tmp_path) as source, pytest.raises(BadInput, match=r"scan again|send it again"):
        stack_values(source, table)


def test_a_refused_file_stops_the_stack_with_its_reason(tmp_path: Path, write_stack: Any) -> None:
    write_stack(tmp_path, [(0, 0, n) for n in range(2)])
    table = _table(tmp_path)
    reasons = pa.array(["", "cut short; send it again"])
    table = table.set_column(table.schema.get_field_index("reason"), "reason", reasons)
    with Source(tmp_path) as source, pytest.raises(BadInput, match="cut short"):
        stack_values(source, table)


def test_slices_of_different_sizes_are_bad_input(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY)
    write_dicom(tmp_path / "b.dcm", GREY[:2])
    with pytest.raises(BadInput, match="differ in size"):
        _values(tmp_path)


def test_a_promise_of_pixels_that_the_file_does_not_hold_is_refused(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", GREY)
    table = _table(tmp_path)
    for name in ("rows", "columns"):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array([65_000], pa.int64()))
    with Source(tmp_path) as source, pytest.raises(BadInput, match="were expected"):
        stack_values(source, table)


def test_memory_in_use_is_never_handed_out_again() -> None:
    forget()
    first = uncleared((5 << 20,), np.float32)
    first[:] = 1
    second = uncleared((5 << 20,), np.float32)
    second[:] = 2
    part = first.reshape(5, -1).view(np.int32)[0, 3:7].view(np.float32)
    del first
    third = uncleared((5 << 20,), np.float32)
    third[:] = 3
    assert part.tolist() == [1, 1, 1, 1]
    assert second[0] == 2


def test_freed_memory_is_used_again() -> None:
    forget()
    first = uncleared((5 << 20,), np.float32)
    address = first.ctypes.data
    del first
    assert uncleared((2, 5 << 19), np.int32).ctypes.data == address
    forget()
