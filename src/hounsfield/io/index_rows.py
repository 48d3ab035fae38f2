"""The rows of an index: what a scan keeps of every file, whatever its format, one row an object.

A DICOM row holds the header's columns (io/dicom/columns.py); of a picture, a NIfTI file or a row of an
array the same columns hold what corresponds: `number_of_frames` slices, `samples_per_pixel` channels,
`spacing_between_slices` and `pixel_spacing` in mm. `image` and `refused` are the outcome: the ids of the
images that the object belongs to, or why it is part of none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Refused, Series
from hounsfield.io.dicom.columns import SCHEMA
from hounsfield.io.source import Source

__all__ = [
    "INDEX_SCHEMA",
    "ROW_SCHEMA",
    "Damaged",
    "judged",
    "rows_by_file",
    "series_from",
    "widened",
]

_BATCH = 2048
_OWN = [
    "file", "reason", "reader", "number_of_frames", "rows", "columns", "samples_per_pixel", "bits_stored",
    "spacing_between_slices", "pixel_spacing", "position", "label", "part",
]  # fmt: skip

ROW_SCHEMA = pa.schema(
    [
        *SCHEMA,
        pa.field("reader", pa.string()),
        pa.field("position", pa.int64()),
        pa.field("label", pa.string()),
        pa.field("part", pa.string()),
    ]
)
INDEX_SCHEMA = pa.schema([*ROW_SCHEMA, pa.field("image", pa.string()), pa.field("refused", pa.string())])


def widened(batch: pa.RecordBatch, reader: str | None) -> pa.RecordBatch:
    """Rows of some columns as rows of ROW_SCHEMA; absent columns are null, and so is `reader` if None."""
    held = set(batch.schema.names)
    columns = [
        batch.column(field.name) if field.name in held else pa.nulls(batch.num_rows, field.type)
        for field in ROW_SCHEMA
    ]
    place = ROW_SCHEMA.get_field_index("reader")
    columns[place] = pa.repeat(pa.scalar(reader, pa.string()), batch.num_rows)
    return pa.RecordBatch.from_arrays(columns, schema=ROW_SCHEMA)


@dataclass(frozen=True, slots=True)
class Damaged:
    """What a library raises on a damaged file, and the sentence that says so."""

    faults: tuple[type[Exception], ...]
    reason: str


def rows_by_file(
    source: Source,
    members: Sequence[str],
    progress: Callable[[int, int], None],
    series_of: Callable[[Source, str], list[Series]],
    damaged: Damaged,
) -> Iterator[pa.RecordBatch]:
    """Rows of files that hold their images alone: `series_of` gives those of one file.

    A file on which it raises BadInput, or one of the faults of its library, is a row with a reason.
    """
    rows: list[dict[str, Any]] = []
    for n, member in enumerate(members, start=1):
        file: dict[str, Any] = {"file": member}
        try:
            file["size"], file["mtime_ns"] = source.state(member)
            if not file["size"]:
                raise BadInput("an empty file")
            rows += [{**file, **_row(series)} for series in series_of(source, member)]
        except BadInput as error:
            rows.append({**file, "reason": str(error)})
        except damaged.faults:
            rows.append({**file, "reason": damaged.reason})
        if len(rows) >= _BATCH or n == len(members):
            yield pa.RecordBatch.from_pylist(rows, schema=_narrow(rows))
            rows = []
        progress(n, len(members))


def series_from(table: pa.Table) -> tuple[list[Series], list[Refused]]:
    """The images and refused files of rows that `rows_by_file` made."""
    found: list[Series] = []
    refused: list[Refused] = []
    for row in table.select(_OWN).to_pylist():
        if row["reason"]:
            refused.append(Refused(row["file"], row["reason"]))
            continue
        plane = row["pixel_spacing"]
        found.append(
            Series(
                id=row["file"],
                files=(row["file"],),
                reader=row["reader"],
                shape=(row["number_of_frames"], row["rows"], row["columns"]),
                channels=row["samples_per_pixel"],
                bits=row["bits_stored"],
                spacing_mm=(row["spacing_between_slices"], *plane) if plane else (),
                label=row["label"] or "",
                part=row["part"] or "",
                position=row["position"],
            )
        )
    return found, refused


def judged(
    batch: pa.RecordBatch, images: dict[tuple[str, int], str], refused: dict[str, str]
) -> pa.RecordBatch:
    """Rows of ROW_SCHEMA with their outcome: the image's id by file and position, or the reason by file."""
    files = batch.column("file").to_pylist()
    positions = batch.column("position").fill_null(-1).to_pylist()
    ids = [images.get(key) for key in zip(files, positions, strict=True)]
    reasons = [None if found else refused.get(file) for file, found in zip(files, ids, strict=True)]
    columns = [*batch.columns, pa.array(ids, pa.string()), pa.array(reasons, pa.string())]
    return pa.RecordBatch.from_arrays(columns, schema=INDEX_SCHEMA)


def _row(series: Series) -> dict[str, Any]:
    slices, rows, columns = series.shape
    row: dict[str, Any] = {
        "number_of_frames": slices,
        "rows": rows,
        "columns": columns,
        "samples_per_pixel": series.channels,
        "bits_stored": series.bits,
        "position": series.position,
        "label": series.label,
        "part": series.part,
    }
    if series.spacing_mm:
        row["spacing_between_slices"] = series.spacing_mm[0]
        row["pixel_spacing"] = list(series.spacing_mm[1:])
    return row


def _narrow(rows: Sequence[dict[str, Any]]) -> pa.Schema:
    """The columns that these rows have."""
    held = {"file"}.union(*rows)
    return pa.schema([field for field in ROW_SCHEMA if field.name in held])
