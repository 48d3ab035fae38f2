"""Objects of DICOM results: of measurement reports, segmentations and structure sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index
from hounsfield.io.dicom.datasets import dataset_of
from hounsfield.io.dicom.elements import faults
from hounsfield.io.source import Source
from hounsfield.steps.detection.drawn import Drawn, Grids, Told
from hounsfield.steps.detection.pictured import Pictured

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

__all__ = ["marks_of_dicom"]


class _Files:
    """The results of a folder by kind, and segmentations by their instance UID; opened when asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @cached_property
    def kinds(self) -> dict[str, list[tuple[str, str]]]:
        """(member, instance UID) by what the objects are: SR, SEG, RTSTRUCT."""
        from hounsfield.io.dicom.header_table import header_table
        from hounsfield.io.dicom.reader import DicomReader
        from hounsfield.io.reader import HEAD_BYTES

        reader = DicomReader()
        members = [m for m in self._source.members if reader.claims(m, self._source.head(m, HEAD_BYTES))]
        found: dict[str, list[tuple[str, str]]] = {"SR": [], "SEG": [], "RTSTRUCT": []}
        if not members:
            return found
        table = header_table(self._source, members)
        columns = (table[c].to_pylist() for c in ("file", "modality", "sop_instance_uid"))
        for file, modality, instance in zip(*columns, strict=True):
            if modality in found:
                found[modality].append((file, instance or ""))
        return found

    def each(self, kind: str, faulty: list[str]) -> list[FileDataset]:
        """All objects of a kind that can be read; the others are counted in `faulty`."""
        return [d for member, _ in self.kinds[kind] if (d := self._read(member, faulty)) is not None]

    def segmentation(self, instance: str, faulty: list[str]) -> FileDataset | None:
        """The segmentation of that instance UID, None where it is not here."""
        member = next((m for m, uid in self.kinds["SEG"] if uid == instance), None)
        return None if member is None else self._read(member, faulty)

    def _read(self, member: str, faulty: list[str]) -> FileDataset | None:
        try:
            return dataset_of(self._source, member)
        except BadInput:
            faulty.append(member)
        except faults():
            faulty.append(member)
        return None


Reading = tuple[list[Drawn], set[str], list[str]]


@dataclass(slots=True)
class _Gathered:
    """What the results told so far; `faulty` has an entry for each that could not be read."""

    objects: list[Drawn] = field(default_factory=list)
    images: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    faulty: list[str] = field(default_factory=list)

    def take(self, read: Callable[[Dataset], Reading], dataset: Dataset) -> None:
        """Add what a result tells, or count it as faulty."""
        try:
            found, spoken, more = read(dataset)
        except BadInput:
            raise
        except faults():
            self.faulty.append(str(dataset.get("SOPInstanceUID") or ""))
            return
        self.objects.extend(found)
        self.twice |= self.images & spoken
        self.images |= spoken
        self.notes.extend(more)

    def all_notes(self) -> tuple[str, ...]:
        told = list(dict.fromkeys(self.notes))
        if self.faulty:
            told.append(f"{len(self.faulty)} DICOM result(s) could not be read and were left out")
        if self.twice:
            told.append(
                f"{len(self.twice)} image(s) are marked by several results; all that they mark counts"
            )
        return tuple(told)


def marks_of_dicom(path: Path, index: Index) -> Told:
    """Objects of reports (SR TID 1500), of segmentations (SEG) and of structure sets (RTSTRUCT).

    Of a report every measurement group is one object: by the segment it refers to, by a surface, or by
    points, circles, ellipses, ellipsoids and polygons, in mm or on an image. A segmentation that no report
    refers to gives an object a segment where several are of one name (numbers at the end apart), else an
    object a connected component; a structure set an object an ROI. Where a result has no object at all, the
    images that it was drawn on have none; images that no result speaks of are unmarked. Raises BadInput where
    none speaks of an image.
    """
    from hounsfield.steps.detection.marks_of_contours import read_structures
    from hounsfield.steps.detection.marks_of_reports import read_report
    from hounsfield.steps.detection.marks_of_segments import read_segments

    gathered = _Gathered()
    with Source(path) as source, Grids(index) as grids:
        pictured, files = Pictured(index, grids), _Files(source)
        told: set[str] = set()

        def segmentation(instance: str) -> FileDataset | None:
            told.add(instance)
            return files.segmentation(instance, gathered.faulty)

        for report in files.each("SR", gathered.faulty):
            gathered.take(lambda d: read_report(d, pictured, segmentation), report)
        for drawn in files.each("SEG", gathered.faulty):
            if str(drawn.get("SOPInstanceUID") or "") not in told:
                gathered.take(lambda d: read_segments(d, pictured), drawn)
        for structures in files.each("RTSTRUCT", gathered.faulty):
            gathered.take(lambda d: read_structures(d, pictured), structures)
        count = sum(len(members) for members in files.kinds.values())
    notes = gathered.all_notes()
    if not gathered.images:
        why = "".join(f"; {note}" for note in notes)
        raise BadInput(
            f"{count} report(s), segmentation(s) and structure set(s) were found, and none was drawn on one "
            f"of the {len(index.series)} images{why}; expected results that refer to these images' series"
        )
    return Told(tuple(gathered.objects), frozenset(gathered.images), notes, others=True)
