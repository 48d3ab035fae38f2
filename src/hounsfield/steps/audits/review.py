"""What a person should look at, one line an image: labels, sides and orientations that the images contradict,
duplicates that bear different labels, and images that seem to bear text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.cohort import Cohort
from hounsfield.io.files import write_text
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.audits.contract import Material
from hounsfield.steps.audits.copies import conflicting
from hounsfield.steps.audits.measures import measured
from hounsfield.steps.audits.orientation import suspected_orientations, suspected_sides
from hounsfield.steps.audits.suspects import suspected_labels
from hounsfield.steps.duplicates import Fingerprints, Pair

__all__ = ["Review", "review_list", "write_duplicates", "write_review"]


@dataclass(frozen=True, slots=True)
class Review:
    """An image to look at: why, what it is said to be, what it looks like, and how strongly (1: like the
    other).

    `strength` is None where nothing was measured; `beside` is the id of an image to look at with it.
    """

    case: str
    why: str
    given: str = ""
    looks_like: str = ""
    strength: float | None = None
    beside: str = ""


def review_list(
    cohort: Cohort, pairs: Sequence[Pair], *, store: PixelStore, marks: Fingerprints
) -> list[Review]:
    """All that is to be looked at, kind by kind, within each the most doubtful first."""
    material = Material(cohort, tuple(pairs), marks, measured(cohort.cases, store))
    return [
        *_conflicts(material),
        *(
            Review(s.case, f"label{f' {s.question}' if s.question else ''}", s.given, s.looks_like, s.margin)
            for s in suspected_labels(material)
        ),
        *(Review(s.case, "side", s.given, s.looks_like, s.margin) for s in suspected_sides(material)),
        *(
            Review(s.case, "orientation", s.given, s.looks_like, s.margin)
            for s in suspected_orientations(material)
        ),
        *_texts(material),
    ]


def _conflicts(material: Material) -> list[Review]:
    named = {c.id: _named(c, material.cohort.encoding) for c in material.cases}
    return [
        Review(p.first, "duplicate with another label", named[p.first], named[p.second], beside=p.second)
        for p in conflicting(material)
    ]


def _texts(material: Material) -> list[Review]:
    letters = material.measures.letters if material.measures else ()
    return [
        Review(c.id, "burnt-in text")
        for c, held in zip(material.cases, letters, strict=True)
        if held.in_lines > 0
    ]


def _named(case: Case, encoding: LabelEncoding) -> str:
    return "" if case.answer is None else ", ".join(encoding.classes[k] for k in case.answer.positive)


def write_review(path: Path, found: Sequence[Review], cases: Sequence[Case]) -> None:
    """Write a CSV with the file of each image, for a private folder."""
    files = _files(cases)
    rows = [
        [
            number,
            r.why,
            r.case,
            files[r.case],
            r.given,
            r.looks_like,
            "" if r.strength is None else f"{r.strength:.3f}",
            r.beside,
            files.get(r.beside, ""),
        ]
        for number, r in enumerate(found, 1)
    ]
    header = ["number", "why", "case", "file", "label", "looks_like", "strength", "beside", "file_beside"]
    _write(path, [header, *rows])


def write_duplicates(path: Path, pairs: Sequence[Pair], cases: Sequence[Case]) -> None:
    """Write all pairs of the same picture with their files, for a private folder."""
    files = _files(cases)
    rows = [
        [p.first, p.second, "yes" if p.exact else "no", p.how, files[p.first], files[p.second]] for p in pairs
    ]
    _write(path, [["first", "second", "exact", "how", "file_of_first", "file_of_second"], *rows])


def _files(cases: Sequence[Case]) -> dict[str, str]:
    """The file of each case; of a series of files the first, and how many there are."""
    named = {}
    for c in cases:
        files = c.images[0].files if c.images else ()
        more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
        named[c.id] = f"{files[0]}{more}" if files else ""
    return named


def _write(path: Path, rows: Sequence[Sequence[object]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    write_text(path, stream.getvalue())
