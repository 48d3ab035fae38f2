"""The index on the disk: whole or not there, of any schema, and a rescan reads only what changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydicom.dataset import Dataset

from hounsfield.core.errors import BadInput
from hounsfield.io.dicom.columns import FILE_COLUMNS
from hounsfield.io.dicom.header_table import header_batches, header_table
from hounsfield.io.index_file import IndexWriter, Previous, rescanned
from hounsfield.io.source import Source

WriteDicom = Callable[..., Dataset]
OTHER = pa.schema([*FILE_COLUMNS, pa.field("reader", pa.string()), pa.field("tags", pa.list_(pa.float64()))])
SECOND = 1_000_000_000
LATER = 1_800_000_000 * SECOND  # when the scans of these tests begin


def rows_of(names: Sequence[str]) -> pa.RecordBatch:
    n = len(names)
    return pa.record_batch(
        [list(names), [1] * n, [7] * n, [""] * n, ["r"] * n, [[1.5, None]] * n], schema=OTHER
    )


@pytest.fixture
def slices(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    """Ten files of an hour ago."""
    folder = tmp_path / "slices"
    for n in range(10):
        write_dicom(folder / f"{n}.dcm", np.zeros((3, 4), np.int16), InstanceNumber=n)
        os.utime(folder / f"{n}.dcm", ns=(0, LATER - 3600 * SECOND))
    return folder


def scan(folder: Path, out: Path, *, began_ns: int = LATER) -> None:
    with Source(folder) as source, IndexWriter(out, began_ns=began_ns, group_rows=4) as writer:
        for batch in header_batches(source, source.members, batch=3):
            writer.write(batch)


class Reads:
    """Reads headers, and keeps the names of the files that it read."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, source: Source, members: Sequence[str]) -> Iterator[pa.RecordBatch]:
        self.names += members
        yield from header_batches(source, members)


def again(folder: Path, index: Path) -> tuple[list[dict[str, object]], list[str], int]:
    """Rescan: the rows, the files that were read, and how many rows were reused."""
    reads = Reads()
    previous = Previous.open(index)
    with Source(folder) as source:
        scanned = rescanned(source, source.members, previous, read=reads)
        rows = pa.Table.from_batches(list(scanned)).to_pylist()
        assert rows == header_table(source, source.members).to_pylist()
    if previous is not None:
        previous.close()
    assert scanned.read == len(reads.names)
    return rows, reads.names, scanned.reused


def test_rows_of_any_schema_come_back_in_bounded_groups(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "i.parquet", group_rows=5) as writer:
        for n in range(6):
            writer.write(rows_of([f"{n}a", f"{n}b"]))
    assert writer.rows == 12
    file = pq.ParquetFile(tmp_path / "i.parquet")
    assert file.read()["file"].to_pylist() == [f"{n}{x}" for n in range(6) for x in "ab"]
    assert all(file.metadata.row_group(g).num_rows <= 5 for g in range(file.num_row_groups))
    assert file.schema_arrow.remove_metadata() == OTHER


def test_an_index_of_nothing_has_its_columns(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "i.parquet", OTHER):
        pass
    assert pq.read_table(tmp_path / "i.parquet").schema.remove_metadata() == OTHER


def test_a_scan_that_fails_leaves_the_older_index_and_no_half_file(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "i.parquet") as writer:
        writer.write(rows_of(["old"]))
    writer = IndexWriter(tmp_path / "i.parquet", group_rows=1)
    with pytest.raises(RuntimeError, match="broke"), writer:
        writer.write(rows_of(["new"]))
        raise RuntimeError("broke")
    assert pq.read_table(tmp_path / "i.parquet")["file"].to_pylist() == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["i.parquet"]


def test_rows_without_the_columns_of_the_file_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="begins with"), IndexWriter(tmp_path / "i.parquet") as writer:
        writer.write(pa.record_batch({"a": [1]}))
    assert list(tmp_path.iterdir()) == []


def test_an_index_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput), IndexWriter(tmp_path / "file" / "i.parquet") as writer:
        writer.write(rows_of(["a"]))


def test_a_rescan_of_an_unchanged_folder_reads_nothing(slices: Path, tmp_path: Path) -> None:
    scan(slices, tmp_path / "i.parquet")
    rows, read, reused = again(slices, tmp_path / "i.parquet")
    assert (len(rows), read, reused) == (10, [], 10)


def test_a_rescan_reads_only_what_changed_and_keeps_the_order(
    slices: Path, tmp_path: Path, write_dicom: WriteDicom
) -> None:
    scan(slices, tmp_path / "i.parquet")
    write_dicom(slices / "3.dcm", np.zeros((9, 9), np.int16))  # another size and time
    os.utime(slices / "5.dcm", ns=(0, LATER - 1800 * SECOND))  # another time
    (slices / "7.dcm").unlink()
    write_dicom(slices / "55.dcm", np.zeros((2, 2), np.int16))
    rows, read, reused = again(slices, tmp_path / "i.parquet")
    assert [r["file"] for r in rows] == [f"{n}.dcm" for n in (0, 1, 2, 3, 4, 5, 6, 8, 9, 55)]
    assert (read, reused) == (["3.dcm", "5.dcm", "55.dcm"], 7)


@pytest.mark.parametrize("window", [1, 3, 100])
def test_old_and_new_rows_alternate_in_the_order_of_the_members(
    window: int, slices: Path, tmp_path: Path
) -> None:
    scan(slices, tmp_path / "i.parquet")
    for n in range(0, 10, 2):
        os.utime(slices / f"{n}.dcm", ns=(0, LATER - 9 * SECOND))
    with Source(slices) as source:
        scanned = rescanned(source, source.members, Previous.open(tmp_path / "i.parquet"), window=window)
        rows = pa.Table.from_batches(list(scanned)).to_pylist()
        assert rows == header_table(source, source.members).to_pylist()
    assert (scanned.read, scanned.reused) == (5, 5)


def test_an_index_of_another_version_is_not_reused(slices: Path, tmp_path: Path) -> None:
    scan(slices, tmp_path / "i.parquet")
    table = pq.read_table(tmp_path / "i.parquet")
    named = {**table.schema.metadata, b"hounsfield.index_format": b"0"}
    pq.write_table(table.replace_schema_metadata(named), tmp_path / "i.parquet")
    assert Previous.open(tmp_path / "i.parquet") is None


def test_a_file_that_could_not_be_read_is_tried_again(slices: Path, tmp_path: Path) -> None:
    (slices / "4.dcm").rename(tmp_path / "away")
    with Source(slices) as source, IndexWriter(tmp_path / "i.parquet", began_ns=LATER) as writer:
        for batch in header_batches(source, [f"{n}.dcm" for n in range(10)]):
            writer.write(batch)
    (tmp_path / "away").rename(slices / "4.dcm")
    assert again(slices, tmp_path / "i.parquet")[1] == ["4.dcm"]


def test_a_file_changed_just_before_the_scan_is_read_again(slices: Path, tmp_path: Path) -> None:
    for name, before in (("1.dcm", SECOND), ("2.dcm", 3 * SECOND), ("3.dcm", -SECOND)):
        os.utime(slices / name, ns=(0, LATER - before))
    scan(slices, tmp_path / "i.parquet")
    assert again(slices, tmp_path / "i.parquet")[1] == ["1.dcm", "3.dcm"]


def test_rows_of_a_file_with_several_images_are_reused_together(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "s" / name).write_bytes(b"x")
        os.utime(tmp_path / "s" / name, ns=(0, 7))
    with IndexWriter(tmp_path / "i.parquet", began_ns=LATER, group_rows=2) as writer:
        writer.write(rows_of(["a", "b", "b", "b", "c"]))
    previous = Previous.open(tmp_path / "i.parquet")
    assert previous is not None and previous.rows_of("b", 1, 7) == range(1, 4)
    with Source(tmp_path / "s") as source:
        scanned = rescanned(source, ["c", "b"], previous, schema=OTHER)
        table = pa.Table.from_batches(list(scanned))
    assert table["file"].to_pylist() == ["c", "b", "b", "b"] and scanned.reused == 2
    assert table["tags"].to_pylist()[0] == [1.5, None]


def test_an_index_with_other_columns_is_not_reused(slices: Path, tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "i.parquet", began_ns=LATER) as writer:
        writer.write(rows_of(["0.dcm"]))
    assert again(slices, tmp_path / "i.parquet")[2] == 0


def test_columns_that_a_scan_added_later_do_not_stand_in_the_way(slices: Path, tmp_path: Path) -> None:
    with Source(slices) as source, IndexWriter(tmp_path / "i.parquet", began_ns=LATER) as writer:
        for batch in header_batches(source, source.members):
            writer.write(batch.append_column("image", pa.array(["x"] * batch.num_rows)))
    assert again(slices, tmp_path / "i.parquet")[2] == 10


def test_no_older_index_means_that_all_is_read(slices: Path, tmp_path: Path) -> None:
    assert Previous.open(tmp_path / "none.parquet") is None
    assert len(again(slices, tmp_path / "none.parquet")[1]) == 10


@pytest.mark.parametrize("content", [b"", b"no index at all", b"PAR1" + bytes(40) + b"PAR1"])
def test_another_file_at_the_index_place_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "i.parquet").write_bytes(content)
    with pytest.raises(BadInput, match="not an index that a scan wrote"):
        Previous.open(tmp_path / "i.parquet")


def test_a_table_of_other_things_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "i.parquet")
    with pytest.raises(BadInput, match="not an index"):
        Previous.open(tmp_path / "i.parquet")


def test_an_index_cut_short_is_refused(slices: Path, tmp_path: Path) -> None:
    scan(slices, tmp_path / "i.parquet")
    data = (tmp_path / "i.parquet").read_bytes()
    for n in (len(data) - 1, len(data) // 2, 10):
        (tmp_path / "i.parquet").write_bytes(data[:n])
        with pytest.raises(BadInput):
            Previous.open(tmp_path / "i.parquet")


def test_an_index_without_the_time_of_its_scan_is_not_reused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_batches([rows_of(["a"])]), tmp_path / "i.parquet")
    assert Previous.open(tmp_path / "i.parquet") is None
