"""What every phantom writes alike: a notice, identifiers from the seed, tables, and files that are whole."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from hounsfield.core.errors import BadInput

__all__ = ["NOTICE", "describe_person", "file_meta", "require_fresh", "stable_uid", "write_whole"]

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


def describe_person(dataset: Dataset, *, number: int, sex: str, age: int) -> None:
    """Fill in the patient module (PS3.3 C.7.1.1): a name, an identifier and a comment that say what it is.

    >>> made = Dataset()
    >>> describe_person(made, number=7, sex="F", age=61)
    >>> made.PatientID, made.PatientAge
    ('PHANTOM-0007', '061Y')
    """
    dataset.PatientName = f"PHANTOM^{number:04d}"
    dataset.PatientID = f"PHANTOM-{number:04d}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = sex
    dataset.PatientAge = f"{age:03d}Y"
    dataset.PatientComments = NOTICE


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


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is whole under its final name, even if the run is cut short; it is not flushed."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    temporary.replace(path)
