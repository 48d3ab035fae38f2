"""How many rows a second an index takes, and how much memory a million of them need.

    python benchmarks/index_sink.py [--rows 1000000] [--rescan]

Streams synthetic rows of the header table through the sink in batches of 2,048, every row with values of
its own, and prints rows per second, the size of the file and the peak of the process's memory. `--rescan`
then opens the index as a rescan does and takes all its rows again.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from hounsfield.io.dicom.columns import SCHEMA
from hounsfield.io.index_file import IndexWriter, Previous

_BATCH = 2048


def _rows(start: int, count: int) -> pa.RecordBatch:
    """Rows as of CT series of 300 slices; every text and number that may differ between files does."""
    index = np.arange(start, start + count)
    columns = []
    for field in SCHEMA:
        if field.name == "file":
            columns.append(pa.array([f"archive/{n // 300:06d}/IM{n:08d}.dcm" for n in index.tolist()]))
        elif field.name == "reason":
            columns.append(pa.array([""] * count))
        elif field.name == "sop_instance_uid":
            columns.append(pa.array([f"1.2.826.0.1.3680043.8.498.{n * 7919}" for n in index.tolist()]))
        elif field.name.endswith("_uid"):
            columns.append(pa.array([f"1.2.826.0.1.3680043.8.498.{n // 300}" for n in index.tolist()]))
        elif field.type == pa.string():
            columns.append(pa.array([f"{field.name} {n // 300}" for n in index.tolist()]))
        elif field.type == pa.int64():
            columns.append(pa.array(index))
        elif field.type == pa.float64():
            columns.append(pa.array(index * 0.7))
        else:
            threes = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(index * 0.5, 3)), 3)
            columns.append(threes.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Stream the rows and print what they cost."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--rescan", action="store_true")
    given = asked.parse_args()
    print(f"before: {_peak_mb():.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        out, inside = Path(folder) / "index.parquet", 0.0
        with IndexWriter(out) as writer:
            for start in range(0, given.rows, _BATCH):
                batch = _rows(start, min(_BATCH, given.rows - start))
                began = time.perf_counter()
                writer.write(batch)
                inside += time.perf_counter() - began
        print(f"{writer.rows:,} rows, {writer.rows / inside:,.0f} a second in the sink")
        print(f"{out.stat().st_size / 1e6:.0f} MB on the disk")
        print(f"peak memory of the scan: {_peak_mb():.0f} MB")
        if given.rescan:
            _rescan(out)


def _rescan(out: Path) -> None:
    began, taken = time.perf_counter(), 0
    previous = Previous.open(out)
    assert previous is not None
    opened = time.perf_counter() - began
    for start in range(0, previous.rows, _BATCH):
        rows = range(start, min(start + _BATCH, previous.rows))
        taken += previous.batch(rows, SCHEMA).num_rows
    print(f"rescan: opened in {opened:.1f} s, {taken:,} rows in {time.perf_counter() - began:.1f} s")
    print(f"peak memory with the rescan: {_peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
