"""What every phantom writes alike: a notice, identifiers from the seed, tables, and files that are whole."""

from __future__ import annotations

import csv
import hashlib
import io
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from hounsfield.core.errors import BadInput

__all__ = ["NOTICE", "file_meta", "require_fresh", "stable_uid", "table_of", "write_whole"]

NOTICE = "PHANTOM - NOT A PATIENT"


def stable_uid(*parts: object) -> UID:
    """A unique identifier under 2.25 that depends on the parts alone (PS3.5 B.2).

    >>> stable_uid("a", 1) == stable_uid("a", 1), stable_uid("a", 1) == stable_uid("a", 2)
    (True, False)
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}")


def file_meta(sop_class: UID) -> FileMetaDataset:
    """The file meta information of a class, explicit little endian, without the UID of the instance."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = stable_uid("hounsfield", "phantom")
    meta.ImplementationVersionName = "HOUNSFIELD"
    return meta


def require_fresh(out: Path, *, patients: int, fewest: int, most: int, why: str, seed: int) -> None:
    """Raise BadInput unless so many patients can be written there; `why` says what needs the range."""
    if not fewest <= patients <= most:
        raise BadInput(
            f"{patients} phantom patients: expected {fewest} to {most}, so that"
            f" {why}; choose a number in that range."
        )
    if seed < 0:
        raise BadInput(f"seed {seed}: expected 0 or more; choose another seed.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(
            f"{out.name} exists and is not an empty folder: expected a new or an empty folder;"
            " choose another one for the phantom."
        )


def table_of(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    """The rows as CSV with a header line.

    >>> table_of(("a", "b"), [{"a": 1, "b": "x"}])
    'a,b\\n1,x\\n'
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is whole under its final name, even if the run is cut short; it is not flushed."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    temporary.replace(path)
