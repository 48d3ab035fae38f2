"""Every file becomes (part of) an image or is refused with a reason; a zip is as good as a folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.io import READERS, Source, index_of, read_volume
from hounsfield.io.index_rows import INDEX_SCHEMA, widened

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.fixture
def study(tmp_path: Path, write_stack: Any, write_dicom: Any) -> Path:
    """A folder with one image of every format, a stack, and files that are no images."""
    folder = tmp_path / "study"
    write_stack(folder / "ct", [(0, 0, 5.0 * n) for n in range(3)])
    write_dicom(folder / "report.dcm", None, Modality="SR")
    cv2.imwrite(str(folder / "a.png"), GREY)
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)), folder / "v.nii.gz")
    np.savez(folder / "rows.npz", train_images=GREY[None], train_labels=[1])
    (folder / "labels.csv").write_text("case,label\n")
    (folder / "empty.png").write_bytes(b"")
    return folder


def test_every_file_is_an_image_or_refused(study: Path) -> None:
    index = index_of(study)
    assert sorted(s.reader for s in index.series) == ["arrays", "dicom", "nifti", "raster"]
    assert {r.file: r.reason for r in index.refused} == {
        "labels.csv": "not an image that can be read (.csv)",
        "empty.png": "an empty file",
        "report.dcm": "no pixel data (Structured Report)",
    }
    taken = [file for s in index.series for file in s.files] + [r.file for r in index.refused]
    assert sorted(taken) == sorted(Source(study).members)


def test_a_zip_holds_the_same_images_as_its_folder(study: Path) -> None:
    with zipfile.ZipFile(study.parent / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(study.rglob("*")):
            archive.write(file, file.relative_to(study).as_posix())
    folder, packed = index_of(study), index_of(study.parent / "study.zip")
    assert folder.series == packed.series and folder.refused == packed.refused
    with Source(study) as one, Source(study.parent / "study.zip") as other:
        for series in folder.series:
            a, b = read_volume(one, series), read_volume(other, series)
            np.testing.assert_array_equal(a.data, b.data)
            np.testing.assert_array_equal(a.affine, b.affine)
            assert a.data.dtype == b.data.dtype


def test_a_zip_within_the_folder_is_read_too(study: Path) -> None:
    with zipfile.ZipFile(study / "more.zip", "w") as archive:
        archive.write(study / "a.png", "deep/a.png")
    index = index_of(study)
    series = next(s for s in index.series if s.files == ("more.zip::deep/a.png",))
    with Source(study) as source:
        np.testing.assert_array_equal(read_volume(source, series).data[0, 0], GREY)


def test_ids_are_distinct_and_hide_the_file_name(study: Path) -> None:
    ids = [s.id for s in index_of(study).series]
    assert len(set(ids)) == len(ids)
    pictures = [i for i in ids if not i.startswith("train_")]
    assert pictures == [f"image-{n:05d}" for n in range(1, len(pictures) + 1)]


def test_ids_do_not_follow_from_file_names(tmp_path: Path) -> None:
    """A name that someone guesses cannot be tried against an id: only the place in the scan is in it."""
    for folder, names in (("one", "abc"), ("other", "xyz")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.pgm").write_bytes(b"P5 3 2 255 " + bytes(range(6)))
    one, other = ([s.id for s in index_of(tmp_path / f).series] for f in ("one", "other"))
    assert one == other == ["image-00001", "image-00002", "image-00003"]


def test_progress_reaches_the_number_of_files(study: Path) -> None:
    told: list[tuple[int, int]] = []
    index_of(study, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (9, 9) and [d for d, _ in told] == sorted(d for d, _ in told)


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.csv", "README"):
        (tmp_path / name).write_text("words")
    with pytest.raises(
        BadInput, match=r"holds 4 files, none a readable image \(\.txt: 2, \.csv: 1, no ending: 1\)"
    ):
        index_of(tmp_path)


def test_the_most_frequent_reason_is_told(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "a.dcm", None, Modality="SR")
    with pytest.raises(BadInput, match=r"\(\.dcm: 1\); most often: no pixel data \(Structured Report\)"):
        index_of(tmp_path)


def test_empty_and_missing_sources_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no file"):
        index_of(tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        index_of(tmp_path / "nothing")


def test_an_image_that_changed_since_the_scan_is_bad_input(study: Path) -> None:
    series = next(s for s in index_of(study).series if s.reader == "raster")
    with Source(study) as source:
        with pytest.raises(BadInput, match=f"image {series.id}: is of shape .* scan again"):
            read_volume(source, replace(series, channels=3))
        (study / "a.png").unlink()
        with pytest.raises(BadInput, match=f"image {series.id}: is no longer there"):
            read_volume(source, series)


@pytest.mark.parametrize("name", READERS.names)
def test_a_reader_survives_any_content(tmp_path: Path, name: str) -> None:
    """Whatever bytes stand under its name, a reader refuses or reads; it never raises anything else."""
    suffix = {"dicom": ".dcm", "raster": ".png", "nifti": ".nii", "arrays": ".npz"}[name]
    marks = {
        "dicom": bytes(128) + b"DICM\x02\0\0\0UL\4\0\x10\0\0\0",
        "raster": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "nifti": (348).to_bytes(4, "little"),
        "arrays": b"PK\x03\x04",
    }
    rng = np.random.default_rng(1)
    for n in range(40):
        (tmp_path / f"{n}{suffix}").write_bytes(
            (marks[name] if n % 2 else b"") + rng.bytes(int(rng.integers(1, 900)))
        )
    members = Source(tmp_path).members
    reader = READERS[name]
    source = Source(tmp_path)
    batches = [widened(b, name) for b in reader.headers(source, members, lambda *_: None)]
    series, refused = reader.images(source, pa.Table.from_batches(batches))
    assert sorted([f for s in series for f in s.files] + [r.file for r in refused]) == sorted(members)
    for one in series:
        with pytest.raises(BadInput):
            read_volume(Source(tmp_path), one)


@pytest.mark.parametrize("suffix", [".dcm", ".png", ".nii", ".npz"])
def test_a_file_cut_anywhere_reads_whole_or_is_bad_input(study: Path, tmp_path: Path, suffix: str) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)), study / "v.nii")
    names = {".dcm": "ct/00.dcm", ".png": "a.png", ".nii": "v.nii", ".npz": "rows.npz"}
    content = (study / names[suffix]).read_bytes()
    whole = tmp_path / f"cut{suffix}"
    whole.write_bytes(content)
    with Source(whole) as source:
        expected = read_volume(source, index_of(whole).series[0]).data
    for length in range(0, len(content), max(1, len(content) // 60)):
        whole.write_bytes(content[:length])
        try:
            series = index_of(whole).series[0]
            with Source(whole) as source:
                data = read_volume(source, series).data
        except BadInput:
            continue
        np.testing.assert_array_equal(data, expected)


def test_importing_the_room_loads_no_decoder() -> None:
    code = (
        "import sys, hounsfield.io; "
        "print(sorted({'pydicom', 'nibabel', 'cv2', 'PIL', 'torch', 'scipy', 'numba'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "src"},
        check=True,
    )
    assert shown.stdout.strip() == "[]"


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    table = parquet.read_table(path)
    assert table.schema.equals(INDEX_SCHEMA)
    return {row["file"]: row for row in table.to_pylist()}


def test_the_index_file_tells_the_outcome_of_every_file(study: Path, tmp_path: Path) -> None:
    index = index_of(study, out=tmp_path / "index.parquet")
    rows = _rows(tmp_path / "index.parquet")
    assert sorted(rows) == sorted(Source(study).members)
    assert {name: row["refused"] for name, row in rows.items() if row["refused"]} == {
        r.file: r.reason for r in index.refused
    }
    stack = next(s for s in index.series if len(s.files) == 3)
    assert {rows[f]["image"] for f in stack.files} == {stack.id}
    assert rows[stack.files[0]]["modality"] == "CT" and rows[stack.files[0]]["pixel_length"] > 0
    assert (rows["a.png"]["rows"], rows["a.png"]["columns"], rows["a.png"]["reader"]) == (3, 4, "raster")
    assert rows["labels.csv"]["image"] is None


def _opened(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The files that are opened from now on."""
    names: set[str] = set()
    real_open, real_os_open = Path.open, os.open

    def path_open(self: Path, *args: Any, **options: Any) -> Any:
        names.add(self.name)
        return real_open(self, *args, **options)

    def os_open(path: Any, *args: Any, **options: Any) -> int:
        names.add(Path(os.fsdecode(path)).name if not isinstance(path, int) else "")
        return real_os_open(path, *args, **options)

    monkeypatch.setattr(Path, "open", path_open)
    monkeypatch.setattr(os, "open", os_open)
    return names


def _age(folder: Path) -> None:
    """Set every file's time of change an hour back, as in an archive that nobody is writing to."""
    for file in folder.rglob("*"):
        os.utime(file, ns=(0, file.stat().st_mtime_ns - 3600 * 10**9))


def test_a_rescan_reads_only_what_changed(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index.parquet"
    _age(study)
    first = index_of(study, out=out)
    assert first.reused == 0
    cv2.imwrite(str(study / "a.png"), np.zeros((7, 9), np.uint8))
    (study / "ct" / "02.dcm").unlink()
    (study / "new.pgm").write_bytes(b"P5 3 2 255 " + bytes(range(6)))
    opened = _opened(monkeypatch)
    second = index_of(study, out=out)
    monkeypatch.undo()
    assert second == index_of(study)
    assert second.reused == 6  # two slices, the report, the volume, the array and the empty picture
    assert {"a.png", "new.pgm"} <= opened
    assert not opened & {"00.dcm", "01.dcm", "report.dcm", "v.nii.gz", "rows.npz"}
    shapes = {s.files[0]: s.shape for s in second.series}
    assert shapes["a.png"] == (1, 7, 9) and "new.pgm" in shapes
    assert set(_rows(out)) == set(Source(study).members)
    third = index_of(study, out=out)
    assert third == second


def test_a_file_changed_at_once_after_a_scan_is_read_again(study: Path, tmp_path: Path) -> None:
    """Within the clock's grain a change leaves size and time as they were."""
    out = tmp_path / "index.parquet"
    index_of(study, out=out)
    before = (study / "a.png").stat()
    content = (study / "a.png").read_bytes()
    cv2.imwrite(str(study / "a.png"), np.full((3, 5), 200, np.uint8))
    size = max(len(content), (study / "a.png").stat().st_size)
    for data in (content, (study / "a.png").read_bytes()):
        (study / "a.png").write_bytes(data + bytes(size - len(data)))
        os.utime(study / "a.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert next(s.shape for s in index_of(study, out=out).series if s.files == ("a.png",)) == (1, 3, 5)


def test_an_index_file_of_another_kind_is_never_overwritten(study: Path, tmp_path: Path) -> None:
    for name, content in (("notes.parquet", b"words"), ("other.parquet", None)):
        out = tmp_path / name
        if content is None:
            parquet.write_table(pa.table({"a": [1]}), out)
        else:
            out.write_bytes(content)
        kept = out.read_bytes()
        with pytest.raises(BadInput, match="is not an index that a scan wrote"):
            index_of(study, out=out)
        assert out.read_bytes() == kept


def test_refusals_are_kept_where_nothing_could_be_read(tmp_path: Path, write_dicom: Any) -> None:
    write_dicom(tmp_path / "d" / "a.dcm", None, Modality="SR")
    with pytest.raises(BadInput, match="none a readable image"):
        index_of(tmp_path / "d", out=tmp_path / "index.parquet")
    assert _rows(tmp_path / "index.parquet")["a.dcm"]["refused"] == "no pixel data (Structured Report)"


def test_a_file_that_changes_while_it_is_read_is_bad_input(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = next(s for s in index_of(study).series if s.reader == "raster")
    real = Source.read_bytes

    def slow(self: Source, member: str) -> bytes:
        content = real(self, member)
        (study / member).write_bytes(content + b"x")
        return content

    monkeypatch.setattr(Source, "read_bytes", slow)
    with Source(study) as source, pytest.raises(BadInput, match="changed while it was read"):
        read_volume(source, series)
