"""The visits of each patient in the order of their dates, from headers or a table; what is wrong with them.

A table joined as labels are may name patient, date and visit; headers say the rest. Files without either are
told apart by their folder (the patient) and their name (the visit), and then nothing is known of the time
between visits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath

from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.steps.labels import join_labels, read_labels

__all__ = ["Patient", "Visit", "visits_of"]

_DATE = ("date", "studydate", "visitdate", "acquisitiondate", "scandate", "examdate")
_PATIENT = ("patientid", "patient", "subjectid", "subject", "participantid")
_DRAWN = re.compile(r"(^|[^a-z])(masks?|segs?|segmentations?|labels?|gt|lesions?)([^a-z]|$)", re.IGNORECASE)
_VISIT = ("visit", "session", "timepoint")


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit: its images, its day where it is known, and its row of the table.

    `images` are in the order of the scan; most protocols have one that is measured.
    """

    images: tuple[Series, ...]
    day: date | None = None
    name: str = ""
    row: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient, by an opaque key, with visits in order."""

    key: str
    visits: tuple[Visit, ...]

    @property
    def dated(self) -> bool:
        """Whether every visit has a day."""
        return all(v.day is not None for v in self.visits)

    def years(self) -> tuple[float, ...]:
        """Years since the first visit.

        >>> Patient("p", (Visit((), date(2020, 1, 1)), Visit((), date(2021, 1, 1)))).years()[1].__round__(2)
        1.0
        """
        first = self.visits[0].day
        return tuple((v.day - first).days / 365.25 if v.day and first else float("nan") for v in self.visits)


def visits_of(index: Index, *, labels: str = "", on: str = "") -> tuple[tuple[Patient, ...], tuple[str, ...]]:
    """The patients of an index, each with visits in order, and notes on how they were told apart.

    Images of one study (or of one day, or one visit of the table) are one visit. Raises BadInput where the
    table's visits are numbered against their dates, or names one day for two numbered visits.

    >>> one = Series("a", ("p/v1.nii",), "nifti", (8, 8, 8), patient="p", study_date="20200102", study="s1")
    >>> two = Series("b", ("p/v2.nii",), "nifti", (8, 8, 8), patient="p", study_date="20190102", study="s0")
    >>> patients, _ = visits_of(Index("study", (one, two), ()))
    >>> [v.images[0].id for v in patients[0].visits]
    ['b', 'a']
    """
    rows: Mapping[str, Mapping[str, str]] = {}
    notes: list[str] = []
    columns: dict[str, str] = {}
    if labels:
        table = read_labels(Path(labels))
        rows, column, key = join_labels(index, table, on=on)
        columns = _named(table.columns)
        notes.append(f'table joined on column "{column}" to the {key} of {len(rows)} image(s)')
    held: dict[str, dict[str, list[Series]]] = {}
    by_name = 0
    images = [s for s in index.series if s.id in rows or not (labels or _is_drawn(s))]
    if len(images) < len(index.series):
        why = "have no row in the table" if labels else "are masks by their names"
        notes.append(f"{len(index.series) - len(images)} image(s) {why}: left out")
    for series in images:
        row = rows.get(series.id, {})
        patient = series.patient or row.get(columns.get("patient", ""), "") or _folder(series)
        visit = _visit_key(series, row, columns)
        by_name += not (series.patient or row.get(columns.get("patient", ""), ""))
        held.setdefault(patient, {}).setdefault(visit, []).append(series)
    if by_name:
        notes.append(f"{by_name} image(s) name no patient: the folder that each lies in was taken for one")
    patients = [
        Patient(f"patient {n}", _ordered(visits, rows, columns))
        for n, visits in enumerate(held.values(), start=1)
    ]
    return tuple(patients), tuple(notes)


def _ordered(
    visits: Mapping[str, Sequence[Series]], rows: Mapping[str, Mapping[str, str]], columns: Mapping[str, str]
) -> tuple[Visit, ...]:
    made = []
    for name, images in visits.items():
        row = rows.get(images[0].id)
        text = (row or {}).get(columns.get("date", ""), "") or images[0].study_date
        made.append(Visit(tuple(images), _day(text), name, row))
    if all(v.day for v in made):
        made.sort(key=lambda v: (v.day or date.min, _natural(v.name)))
    else:
        made.sort(key=lambda v: _natural(v.name))
    _refuse_swapped(made, columns)
    return tuple(made)


def _refuse_swapped(visits: Sequence[Visit], columns: Mapping[str, str]) -> None:
    """Raise BadInput where visits that the table numbers are not in the order of their dates."""
    column = columns.get("visit", "")
    told = [(v.row or {}).get(column, "") for v in visits]
    if column and all(re.fullmatch(r"\d+", t) for t in told) and all(v.day for v in visits):
        numbers = [int(t) for t in told]
        if numbers != sorted(numbers):
            raise BadInput(
                f"the visits of a patient are numbered {', '.join(map(str, numbers))} in the order of their "
                "dates; expected rising numbers; correct the dates or the visits, which may have been swapped"
            )


def _visit_key(series: Series, row: Mapping[str, str], columns: Mapping[str, str]) -> str:
    told = row.get(columns.get("visit", ""), "") or series.study or row.get(columns.get("date", ""), "")
    return told or series.study_date or _stem(series)


def _is_drawn(series: Series) -> bool:
    """Whether the name of a file without a header says that it is a mask."""
    return series.reader != "dicom" and bool(_DRAWN.search(series.files[0].split("::")[-1]))


def _stem(series: Series) -> str:
    """The part of a file's name that tells a visit: all before the last "_", which names the sequence."""
    name = PurePosixPath(series.files[0].split("::")[-1]).name.split(".")[0]
    return name.rsplit("_", 1)[0]


def _folder(series: Series) -> str:
    return str(PurePosixPath(series.files[0].split("::")[-1]).parent)


def _named(columns: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for column in columns:
        plain = re.sub(r"[^a-z]", "", column.casefold())
        for what, names in (("patient", _PATIENT), ("date", _DATE), ("visit", _VISIT)):
            if plain in names:
                found.setdefault(what, column)
    return found


def _day(text: str) -> date | None:
    """The day of "20200131" or "2020-01-31"; None for anything else."""
    plain = text.strip().replace("-", "")
    if not re.fullmatch(r"\d{8}", plain):
        return None
    try:
        return date(int(plain[:4]), int(plain[4:6]), int(plain[6:]))
    except ValueError:
        return None


def _natural(name: str) -> list[tuple[int, str]]:
    """Digits by their number, so that "visit 10" comes after "visit 9"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]
