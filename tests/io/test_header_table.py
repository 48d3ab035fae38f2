"""The header table: cells of pydicom for every file, in order, whatever lies in the folder."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from header_truth import PYDICOM_FILES, cells_of, rows_of_folder, slow_row
from hounsfield.io import member_bytes
from hounsfield.io.dicom import header_table as module
from hounsfield.io.dicom.columns import SCHEMA
from hounsfield.io.dicom.header_table import header_batches, header_table
from hounsfield.io.dicom.walk import VRS
from hounsfield.io.source import Source

WriteDicom = Callable[..., Dataset]
PIXELS = np.zeros((3, 4), np.int16)


def names_below(folder: Path) -> list[str]:
    return [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file()]


def check_against_pydicom(folder: Path, names: list[str]) -> tuple[int, int]:
    """Compare every cell of every file; (files without a reason, files left to pydicom)."""
    asked: list[str] = []
    by_pydicom = module._by_pydicom

    def noted(files: Any, member: str, size: int) -> Any:
        asked.append(member)
        return by_pydicom(files, member, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_by_pydicom", noted)
        rows = rows_of_folder(folder, names)
    assert [row["file"] for row in rows] == names
    fine = 0
    for name, row in zip(names, rows, strict=True):
        data = (folder / name).read_bytes()
        slow = slow_row(data)
        assert {k: row[k] for k in slow} == slow, name
        if row["reason"] == "":
            assert {k: row[k] for k in VRS} == cells_of(data), name
            fine += 1
    return fine, len(asked)


def test_all_files_of_pydicom_have_the_cells_of_pydicom() -> None:
    names = [n for n in names_below(PYDICOM_FILES) if not n.endswith(".zip")]
    fine, asked = check_against_pydicom(PYDICOM_FILES, names)
    assert len(names) > 170 and fine > 150
    assert asked < 30  # those that are no DICOM, and directories


@pytest.mark.realdata
def test_all_real_files_have_the_cells_of_pydicom(real_data: Path) -> None:
    folder = real_data / "dicom"
    fine, asked = check_against_pydicom(folder, names_below(folder))
    assert fine > 100 and asked < 40


def test_one_thread_or_many_and_any_batch_give_one_table(tmp_path: Path, write_dicom: WriteDicom) -> None:
    names = []
    for n in range(23):
        write_dicom(tmp_path / f"{n}.dcm", PIXELS, SeriesDescription="x" * n, InstanceNumber=n)
        names.append(f"{n}.dcm")
    (tmp_path / "5.dcm").write_bytes(b"")
    one = rows_of_folder(tmp_path, names, threads=1)
    assert [r["instance_number"] for r in one] == [n if n != 5 else None for n in range(23)]
    for threads, batch in ((2, 2048), (3, 4), (1, 1), (2, 7)):
        assert rows_of_folder(tmp_path, names, threads=threads, batch=batch) == one


def test_batches_hold_no_more_rows_than_asked_and_tell_their_progress(
    tmp_path: Path, write_dicom: WriteDicom
) -> None:
    for n in range(10):
        write_dicom(tmp_path / f"{n}.dcm", PIXELS)
    told: list[tuple[int, int]] = []
    with Source(tmp_path) as source:
        batches = header_batches(source, source.members, batch=4, progress=lambda *at: told.append(at))
        sizes = [b.num_rows for b in batches]
    assert sum(sizes) == 10 and max(sizes) <= 4
    assert told[-1] == (10, 10) and [n for n, _ in told] == np.cumsum(sizes).tolist()


def test_no_members_give_an_empty_table(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "a.dcm", PIXELS)
    with Source(tmp_path) as source:
        table = header_table(source, [])
    assert table.num_rows == 0 and table.schema == SCHEMA


def test_a_file_that_cannot_be_read_has_a_reason_and_stops_no_other(
    tmp_path: Path, write_dicom: WriteDicom
) -> None:
    write_dicom(tmp_path / "good.dcm", PIXELS)
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "text.dcm").write_text("This is a letter and no image. " * 20)
    (tmp_path / "noise.dcm").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "zeros.dcm").write_bytes(bytes(50_000))
    (tmp_path / "mark.dcm").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "folder.dcm").mkdir()
    os.mkfifo(tmp_path / "pipe.dcm")
    names = ["empty", "text", "noise", "zeros", "mark", "gone", "folder", "pipe", "good"]
    rows = rows_of_folder(tmp_path, [f"{n}.dcm" for n in names])
    reasons = dict(zip(names, (r["reason"] for r in rows), strict=True))
    assert reasons.pop("good") == "" and all(reasons.values())
    for name in ("text", "noise", "zeros"):
        assert reasons[name] == "named as DICOM, but it is not; check the file"
    assert "empty" in reasons["empty"] and "no longer there" in reasons["gone"]
    assert rows[-1]["rows"] == 3
    assert all(r["rows"] is None and r["pixel_offset"] is None for r in rows[:-1])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_file_has_a_reason(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "a.dcm", PIXELS)
    (tmp_path / "a.dcm").chmod(0)
    (row,) = rows_of_folder(tmp_path, ["a.dcm"])
    assert "permissions" in row["reason"]


def test_a_file_that_shrinks_while_it_is_read_is_said_to_have_changed(
    tmp_path: Path, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom(tmp_path / "a.dcm", PIXELS)
    fstat = os.fstat

    def and_shrink(file: int) -> os.stat_result:
        status = fstat(file)
        os.truncate(tmp_path / "a.dcm", 300)
        return status

    monkeypatch.setattr(os, "fstat", and_shrink)
    monkeypatch.setattr(member_bytes, "FAST", False)
    (row,) = rows_of_folder(tmp_path, ["a.dcm"])
    assert row["reason"] == "changed while it was read; scan again" and row["mtime_ns"] == 0


def test_files_read_at_once_or_one_by_one_give_one_table(
    tmp_path: Path, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["Ünïcode größe/a.dcm", "b.dcm", "gone.dcm", "pipe.dcm", "folder.dcm", "empty.dcm", "link.dcm"]
    write_dicom(tmp_path / names[0], PIXELS)
    write_dicom(tmp_path / "b.dcm", np.zeros((200, 200), np.int16))
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "folder.dcm").mkdir()
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "link.dcm").symlink_to("b.dcm")
    at_once = rows_of_folder(tmp_path, names)
    monkeypatch.setattr(member_bytes, "FAST", False)
    assert rows_of_folder(tmp_path, names) == at_once
    assert [r["reason"] == "" for r in at_once] == [True, True, False, False, False, False, True]


def test_size_and_time_are_those_of_the_file(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "a.dcm", PIXELS)
    os.utime(tmp_path / "a.dcm", ns=(5, 1_600_000_000_123_456_789))
    (row,) = rows_of_folder(tmp_path, ["a.dcm"])
    assert row["mtime_ns"] == 1_600_000_000_123_456_789
    assert row["size"] == (tmp_path / "a.dcm").stat().st_size


@pytest.mark.parametrize("alone", [True, False])
def test_members_of_a_zip_are_read_in_place_as_in_a_folder(
    alone: bool, tmp_path: Path, write_dicom: WriteDicom
) -> None:
    folder = tmp_path / "plain"
    write_dicom(folder / "a.dcm", PIXELS)
    write_dicom(folder / "big.dcm", PIXELS, syntax=ExplicitVRBigEndian)
    made = write_dicom(folder / "long.dcm", PIXELS)
    made.add_new(0x00091001, "OB", bytes(60_000))
    made.save_as(folder / "long.dcm")
    (folder / "odd.dcm").write_bytes((folder / "a.dcm").read_bytes()[:500])
    names = ["a.dcm", "big.dcm", "long.dcm", "odd.dcm"]
    expected = rows_of_folder(folder, names)
    zipped = tmp_path / "in" / "all.zip"
    zipped.parent.mkdir()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(folder / name, name)
    with Source(zipped if alone else zipped.parent) as source:
        members = [n if alone else f"all.zip::{n}" for n in names]
        rows = header_table(source, members).to_pylist()
    assert [r["file"] for r in rows] == members
    for row, wanted in zip(rows, expected, strict=True):
        assert row["mtime_ns"] == zipped.stat().st_mtime_ns
        kept = set(row) - {"file", "mtime_ns"}
        assert {k: row[k] for k in kept} == {k: wanted[k] for k in kept}


def test_a_damaged_member_of_a_zip_has_a_reason(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "a.dcm", np.zeros((60, 60), np.int16))
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.dcm", "a.dcm")
        archive.write(tmp_path / "a.dcm", "b.dcm")
    data = bytearray((tmp_path / "z.zip").read_bytes())
    data[60:90] = bytes(30)
    (tmp_path / "z.zip").write_bytes(data)
    with Source(tmp_path) as source:
        rows = header_table(source, ["z.zip::a.dcm", "z.zip::b.dcm", "z.zip::c.dcm"]).to_pylist()
    assert [bool(r["reason"]) for r in rows] == [True, False, True]


def test_one_file_alone_is_a_source(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "a.dcm", PIXELS)
    with Source(tmp_path / "a.dcm") as source:
        (row,) = header_table(source, source.members).to_pylist()
    assert (row["file"], row["rows"], row["reason"]) == ("a.dcm", 3, "")


def test_no_descriptor_stays_open_when_the_reader_stops_early(
    tmp_path: Path, write_dicom: WriteDicom
) -> None:
    for n in range(12):
        write_dicom(tmp_path / f"{n}.dcm", PIXELS)
    with Source(tmp_path) as source:
        before = len(list(Path("/proc/self/fd").iterdir()))
        batches = header_batches(source, source.members, batch=2)
        next(batches)
        batches.close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_name_or_id_of_a_patient_is_in_a_reason(tmp_path: Path) -> None:
    for n, name in enumerate(names_below(PYDICOM_FILES)[:60]):
        data = (PYDICOM_FILES / name).read_bytes()
        (tmp_path / f"{n}.dcm").write_bytes(data[: 700 + 10 * n])
    rows = rows_of_folder(tmp_path, names_below(tmp_path))
    assert any(r["reason"] for r in rows)
    for row in rows:
        assert not (row["patient_id"] and len(row["patient_id"]) > 2 and row["patient_id"] in row["reason"])
