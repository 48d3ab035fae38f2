"""What a scan found: every image that can be read, and every file that was refused with its reason."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Index", "Refused", "Series"]


@dataclass(frozen=True, slots=True)
class Series:
    """One image that a network may see: a radiograph, a photograph, a volume, a row of an array.

    `files` are the members that hold it, relative to the source ("a/b.dcm", or "x.zip::a/b.dcm"
    for a member of a zip); for an array file, `position` is the row and `part` the split that the
    file names. `patient` is empty when the source holds no patient identity. `shape` is
    (K, J, I); `spacing_mm` is (k, j, i) and empty when unknown. `label` and `part` are what the
    folders or the file itself say ("" when they say nothing; several labels are joined by "|").

    >>> Series(id="a.png", files=("a.png",), reader="raster", shape=(1, 28, 28)).is_flat
    True
    """

    id: str
    files: tuple[str, ...]
    reader: str
    shape: tuple[int, int, int]
    channels: int = 1
    bits: int = 8
    spacing_mm: tuple[float, ...] = ()
    patient: str = ""
    study: str = ""
    series: str = ""
    sop: str = ""
    modality: str = ""
    body_part: str = ""
    laterality: str = ""
    view: str = ""
    sex: str = ""
    age_years: float | None = None
    site: str = ""
    scanner: str = ""
    study_date: str = ""
    photometric: str = ""
    label: str = ""
    part: str = ""
    position: int = -1

    @property
    def is_flat(self) -> bool:
        """True for a 2D image: one slice."""
        return self.shape[0] == 1


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that was not taken, and why, in one sentence without patient identity."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Index:
    """All that a scan found under one source.

    >>> Index(source="x", series=(), refused=(Refused("a.txt", "not an image"),)).summary()
    'no image; 1 file refused (not an image: 1)'
    """

    source: str
    series: tuple[Series, ...]
    refused: tuple[Refused, ...] = field(default=())

    def summary(self) -> str:
        """One line: how many images, patients and modalities, and what was refused and why."""
        n = len(self.series)
        patients = len({s.patient for s in self.series if s.patient})
        text = "no image" if not n else f"{n} image{'s' * (n != 1)}"
        if patients:
            text += f" of {patients} patient{'s' * (patients != 1)}"
        modalities = Counter(s.modality for s in self.series if s.modality)
        if modalities:
            text += " (" + ", ".join(f"{m} {c}" for m, c in modalities.most_common()) + ")"
        if self.refused:
            reasons = Counter(r.reason for r in self.refused).most_common(3)
            text += f"; {len(self.refused)} file{'s' * (len(self.refused) != 1)} refused ("
            text += "; ".join(f"{reason}: {count}" for reason, count in reasons) + ")"
        return text

    def to_table(self) -> pa.Table:
        """The index as an Arrow table, a row a series; refusals travel in the schema's metadata."""
        import pyarrow as pa

        columns: dict[str, list[Any]] = {
            f.name: [_plain(getattr(s, f.name)) for s in self.series] for f in fields(Series)
        }
        meta = {"source": self.source, "refused": json.dumps([asdict(r) for r in self.refused])}
        return pa.table(columns).replace_schema_metadata(meta)

    @classmethod
    def from_table(cls, table: pa.Table) -> Index:
        """The index that `to_table` wrote."""
        meta = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        tuples = {"files", "shape", "spacing_mm"}
        rows: list[dict[str, Any]] = table.to_pylist()
        for row in rows:
            row.update({name: tuple(row[name]) for name in tuples})
        series = tuple(Series(**row) for row in rows)
        refused = tuple(Refused(**r) for r in json.loads(meta.get("refused", "[]")))
        return cls(source=meta.get("source", ""), series=series, refused=refused)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
