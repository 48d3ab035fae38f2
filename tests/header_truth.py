"""What pydicom says of a header, as rows of the header table; shared by the tests of the walk."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom import dcmread
from pydicom.multival import MultiValue

from hounsfield.io.dicom import header_table
from hounsfield.io.dicom.columns import COLUMNS, SCHEMA
from hounsfield.io.dicom.slow_header import row_of

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def cells_of(data: bytes) -> dict[str, Any]:
    """Every column as pydicom's own reading gives it; what fits no column is None."""
    dataset = dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
    dataset.update(dataset.file_meta)
    return {c.name: _cell(c.kind, c.count, _value(dataset, c.tag)) for c in COLUMNS}


def _value(dataset: pydicom.Dataset, tag: int) -> Any:
    try:
        return dataset[tag].value if tag in dataset else None
    except Exception:  # noqa: BLE001 - pydicom raises of every kind
        return b"unreadable"


def _cell(kind: str, count: int, value: Any) -> Any:
    if value is None or value == "" or isinstance(value, bytes | pydicom.Sequence):
        return None
    several = list(value) if isinstance(value, MultiValue | list) else [value]
    if kind == "text":
        return "\\".join(map(str, several))
    numbers = [v for v in several if isinstance(v, int | float) and math.isfinite(v)]
    if len(numbers) != len(several) or len(several) != (count or len(several)):
        return None
    if kind == "numbers":
        return [float(v) for v in numbers]
    if kind == "number":
        return float(numbers[0])
    return int(numbers[0]) if numbers[0] == int(numbers[0]) else None


def slow_row(data: bytes) -> dict[str, Any]:
    """The row that the pydicom path makes, with the columns of the pixels' place and the flags."""
    found = row_of(io.BytesIO(data), size=len(data))
    row = {c.name: found.cells.get(c.name) for c in COLUMNS}
    row.update(
        {k: getattr(found, k) for k in ("reason", "pixel_tag", "pixel_offset", "pixel_length", "flags")}
    )
    return row


def rows_of_folder(folder: Path, names: Sequence[str], **options: Any) -> list[dict[str, Any]]:
    """The header table of files in a folder, a dict a row."""
    from hounsfield.io.source import Source

    with Source(folder) as source:
        batches = list(header_table.header_batches(source, names, **options))
    assert all(b.schema == SCHEMA for b in batches)
    for batch in batches:
        batch.validate(full=True)
    return [row for batch in batches for row in batch.to_pylist()]
