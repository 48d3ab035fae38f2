"""The step convert: a file an image, a table of all, faults that stop nothing, and no identity."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from ct_mr_series import NAME, NUMBER, pattern, write_series
from hounsfield.core.errors import BadInput
from hounsfield.steps.convert import TABLE, convert
from phantoms import write_png


def echoes(folder: Path, count: int = 2) -> Path:
    """One MR series of `count` echoes on one grid."""
    for n in range(count):
        write_series(
            folder,
            pattern((4, 6, 5)) + 100 * n,
            modality="MR",
            start=4 * n,
            EchoNumbers=n + 1,
            EchoTime=str(10 * n + 10),
        )
    return folder


def rows_of(out: Path) -> list[dict[str, Any]]:
    with (out / TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_volume_is_a_file_of_its_own_named_in_the_table(tmp_path: Path) -> None:
    echoes(tmp_path / "in")
    found = convert(tmp_path / "in", tmp_path / "out")
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    rows = rows_of(tmp_path / "out")
    assert len(found.written) == len(rows) == 2 and not found.failed and not found.refused
    assert sorted([r["file"] for r in rows] + [TABLE]) == names
    for row, salt in zip(rows, (0, 100), strict=True):
        assert row["file"].startswith(f"{row['id']}_MR") and row["modality"] == "MR"
        assert row["shape"] == "4x6x5" and row["spacing_mm"] == "2x0.75x0.75"
        assert row["geometry"] == "patient" and row["files"] == "4" and row["reason"] == ""
        values = np.asarray(nibabel.load(tmp_path / "out" / row["file"]).dataobj)
        np.testing.assert_array_equal(values.transpose(2, 1, 0)[:, ::-1], pattern((4, 6, 5)) + salt)


def test_joined_echoes_are_one_file(tmp_path: Path) -> None:
    echoes(tmp_path / "in", count=3)
    found = convert(tmp_path / "in", tmp_path / "out", join=True)
    (name,) = {c.file for c in found.written}
    image = nibabel.load(tmp_path / "out" / name)
    assert image.shape == (5, 6, 4, 3) and "joined" in name
    assert [int(image.dataobj[0, -1, 0, n]) for n in range(3)] == [-200, -100, 0]
    assert len(rows_of(tmp_path / "out")) == 3


def test_joining_leaves_other_images_alone(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "a", pattern((3, 4, 5)), series=1)
    write_series(tmp_path / "in" / "b", pattern((3, 4, 5)), series=2)
    found = convert(tmp_path / "in", tmp_path / "out", join=True)
    assert len({c.file for c in found.written}) == 2


def test_an_image_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "a", pattern((3, 4, 5)), series=1)
    write_png(tmp_path / "in" / "whole.png", np.arange(64, dtype=np.uint8).reshape(8, 8))
    broken = write_png(tmp_path / "in" / "broken.png", np.arange(4096, dtype=np.uint8).reshape(64, 64))
    content = bytearray(broken.read_bytes())
    content[60:-30] = bytes(len(content) - 90)
    broken.write_bytes(content)
    (tmp_path / "in" / "notes.docx").write_text("x")
    found = convert(tmp_path / "in", tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    told = [r for r in rows if r["reason"]]
    assert len(found.written) == 2 and len(found.failed) + sum(found.refused.values()) == 2
    assert len(rows) == 4 and len(told) == 2 and all(not r["file"] and r["files"] == "1" for r in told)


def test_an_image_without_a_place_says_so_in_the_table(tmp_path: Path) -> None:
    write_png(tmp_path / "in" / "a.png", np.arange(64, dtype=np.uint8).reshape(8, 8))
    convert(tmp_path / "in", tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    assert row["geometry"] == "unknown" and row["spacing_mm"] == ""
    assert int(nibabel.load(tmp_path / "out" / row["file"]).header["sform_code"]) == 0


def test_no_identity_is_written(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / NAME, pattern((3, 4, 5)), PatientComments=NAME)
    (tmp_path / "in" / f"{NUMBER}.txt").write_text("x")
    convert(tmp_path / "in", tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        for secret in (NAME, NUMBER, "1.2.826"):
            assert secret.encode() not in content and secret not in path.name


def test_a_modality_that_is_no_code_does_not_reach_a_file_name(tmp_path: Path) -> None:
    write_series(tmp_path / "in", pattern((3, 4, 5)), Modality="DOE JOHN")
    (row,) = convert(tmp_path / "in", tmp_path / "out").written
    assert row.file == f"{row.id}.nii.gz" and row.modality == ""


def test_one_image_by_its_id(tmp_path: Path) -> None:
    echoes(tmp_path / "in")
    found = convert(tmp_path / "in", tmp_path / "out", image="image-00002", compress=False)
    assert [c.id for c in found.written] == ["image-00002"]
    assert found.written[0].file.endswith(".nii") and (tmp_path / "out" / found.written[0].file).exists()
    with pytest.raises(BadInput, match=r'no image "image-9".*did you mean'):
        convert(tmp_path / "in", tmp_path / "other", image="image-9")
    assert not (tmp_path / "other").exists()


def test_nothing_written_is_an_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    from hounsfield.io import nifti_write

    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "a.npz", images=np.zeros((1, 2, nifti_write._MOST + 1), np.uint8))
    with pytest.raises(BadInput, match=r"none of the 1 image could be written.*32767"):
        convert(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_earlier_conversion_is_not_mixed_with_a_new_one(tmp_path: Path) -> None:
    echoes(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    with pytest.raises(BadInput, match="holds converted images already"):
        convert(tmp_path / "in", tmp_path / "out")
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    convert(echoes(tmp_path / "in"), tmp_path / "out", progress=lambda n, of: told.append((n, of)))
    assert told == [(1, 2), (2, 2)]
