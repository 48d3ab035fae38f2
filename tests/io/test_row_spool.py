"""Many rows go to a file and come back in order, or by series, none lost and no series parted."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from hounsfield.io.row_spool import RowSpool

SCHEMA = pa.schema([("file", pa.string()), ("series_instance_uid", pa.string())])


def _filled(in_memory: int) -> RowSpool:
    """30 rows of three series and of none, mixed, in batches of 7."""
    spool = RowSpool(SCHEMA, in_memory=in_memory)
    uids = ["a", "b", None, "c", "a"] * 6
    for start in range(0, 30, 7):
        part = uids[start : start + 7]
        names = [str(n) for n in range(start, start + len(part))]
        spool.add(pa.record_batch({"file": names, "series_instance_uid": part}, schema=SCHEMA))
    return spool


@pytest.mark.parametrize("in_memory", [100, 10, 1])
def test_rows_come_back_in_order(in_memory: int) -> None:
    with _filled(in_memory) as spool:
        assert spool.rows == 30
        for _ in range(2):  # twice: reading does not use them up
            names = [n for batch in spool.batches() for n in batch.column("file").to_pylist()]
            assert names == [str(n) for n in range(30)]
            assert all(batch.schema == SCHEMA for batch in spool.batches())


@pytest.mark.parametrize("in_memory", [100, 10, 1])
def test_a_series_is_never_parted(in_memory: int) -> None:
    with _filled(in_memory) as spool:
        tables = list(spool.by_series())
        held = [set(t["series_instance_uid"].to_pylist()) for t in tables]
        assert sum(map(len, held)) == len(set().union(*held)) == 4
        rows = sorted(int(n) for t in tables for n in t["file"].to_pylist())
        assert rows == list(range(30))
        for table in tables:
            names = [int(n) for n in table["file"].to_pylist()]
            assert names == sorted(names)
        assert len(tables) == (1 if in_memory == 100 else 4)


def test_the_file_of_headers_is_closed_to_others_and_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with _filled(1) as spool:
        list(spool.batches())
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0 and list(folder.iterdir())
    assert not list(tmp_path.iterdir())
