"""What can be looked at in a source: the images of the scan, and the DICOM objects that it refused."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.registry import nearest
from hounsfield.io.catalogue import everything_in, nothing_found
from hounsfield.io.dicom.reader import DicomReader
from hounsfield.io.reader import HEAD_BYTES
from hounsfield.io.source import INSIDE, Source

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["Row", "chosen", "dataset_of", "rows_of"]

_MOST_REFUSED = 2000
_WANTED = ["file", "modality", "series_instance_uid", "number_of_frames", "rows", "columns"]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to look at: an image of the scan (`series`), or files that were refused for `reason`.

    `id` is image-00001 as in the scan, or object-00001 for what was refused. `kind` is the modality.
    """

    number: int
    id: str
    files: tuple[str, ...]
    kind: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] = ()
    about: str = ""
    reason: str = ""
    series: Series | None = None

    def as_object(self) -> dict[str, Any]:
        """The row for JSON; file names may name a patient and are left out."""
        return {
            "number": self.number,
            "id": self.id,
            "modality": self.kind,
            "shape": list(self.shape),
            "spacing_mm": list(self.spacing_mm),
            "files": len(self.files),
            "volume": self.about,
            "refused": self.reason,
        }


def rows_of(source: Source) -> tuple[Row, ...]:
    """Number the images as the scan does, and after them the DICOM objects that it refused.

    Raises BadInput where there is neither.
    """
    index = everything_in(source.path)
    rows = [
        Row(
            n, s.id, s.files, _plain_kind(s.modality) or s.reader, s.shape, s.spacing_mm, _about(s), series=s
        )
        for n, s in enumerate(index.series, start=1)
    ]  # fmt: skip
    for n, (files, kind, shape, reason) in enumerate(_refused(source, index), start=1):
        rows.append(Row(len(rows) + 1, f"object-{n:05d}", files, kind, shape, reason=reason))
    if not rows:
        raise BadInput(nothing_found(source.path, index.refused))
    return tuple(rows)


def chosen(rows: tuple[Row, ...], asked: str) -> Row:
    """The row asked for by number, id or file name; the first image, or else the first object, for "".

    A file name always means that file alone, also where it is one slice of a volume.
    Raises BadInput where nothing fits.
    """
    if not asked:
        return rows[0]
    for row in rows:
        if asked in (str(row.number), row.id):
            return row
    names = {asked, asked.replace("\\", "/")}
    for row in rows:
        for file in row.files:
            if file in names or PurePosixPath(file.rsplit(INSIDE, 1)[-1]).name in names:
                if len(row.files) == 1:
                    return row
                return Row(
                    row.number,
                    row.id,
                    (file,),
                    row.kind,
                    row.shape[-2:],
                    about="one slice",
                    reason=row.reason,
                )
    raise BadInput(
        f"the image asked for is not among the {len(rows)} of this source; expected a number from 1 to "
        f"{len(rows)}, a file name, or an id ({nearest(asked, [r.id for r in rows])})"
    )


def dataset_of(source: Source, file: str, *, header: bool = False) -> FileDataset:
    """Read a DICOM file, its pixels too unless only the `header` is wanted. Raises BadInput."""
    from hounsfield.io.dicom import datasets
    from hounsfield.io.dicom.elements import faults

    try:
        dataset = datasets.dataset_of(source, file, before_pixels=header)
        held = len(dataset)
    except BadInput:
        raise
    except faults() as error:
        raise BadInput(
            f"a DICOM file that does not follow the standard ({type(error).__name__}); send it again"
        ) from error
    if not held:
        raise BadInput("named as DICOM, but it is not; check the file")
    return dataset


def _claims(source: Source, member: str) -> bool:
    try:
        return DicomReader().claims(member, source.head(member, HEAD_BYTES))
    except BadInput:
        return False


def _about(series: Series) -> str:
    words = [series.volume, "" if series.stack in ("", "regular") else series.stack]
    return ", ".join(w for w in words if w)


def _refused(source: Source, index: Index) -> list[tuple[tuple[str, ...], str, tuple[int, ...], str]]:
    """Refused DICOM objects: files, modality, shape, reason; the slices of one refused stack are one."""
    from hounsfield.io.dicom.header_table import header_table

    members = set(source.members)
    reasons = {r.file: r.reason for r in index.refused if r.file in members}
    others = "not an image that can be read"
    files = [f for f, reason in reasons.items() if not reason.startswith(others)][:_MOST_REFUSED]
    files = [f for f in files if _claims(source, f)]
    table = header_table(source, files)
    groups: dict[tuple[str, str, tuple[int, ...], str], list[str]] = defaultdict(list)
    for row in table.select(_WANTED).to_pylist() if files else ():
        file = row["file"]
        shape: tuple[int, ...] = ()
        if row["rows"] and row["columns"]:
            shape = (row["number_of_frames"] or 1, row["rows"], row["columns"])
        of_stack = row["series_instance_uid"] and shape[:1] == (1,) and _is_of_stack(reasons[file])
        key = row["series_instance_uid"] if of_stack else file
        groups[key, _plain_kind(row["modality"] or ""), shape, reasons[file]].append(file)
    found = []
    for (_, kind, shape, reason), of_one in groups.items():
        whole = (len(of_one), *shape[1:]) if len(of_one) > 1 and shape else shape
        found.append((tuple(of_one), kind, whole, reason))
    return found


def _is_of_stack(reason: str) -> bool:
    return "slices" in reason or reason.split(":")[0] in ("gap", "duplicate", "irregular")


def _plain_kind(modality: str) -> str:
    """The modality, or "" where another text stands in its place, which may name somebody."""
    return modality if re.fullmatch("[A-Z0-9]{1,8}", modality) else ""
