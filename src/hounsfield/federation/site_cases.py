"""The cases of one site: its images scanned, decoded once, joined to its labels, split by patient.

A cohort that lies in one place is divided into sites by a group column, for a simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput, HounsfieldError
from hounsfield.core.evidence import Finding
from hounsfield.core.progress import Progress, Silent
from hounsfield.io.pixel_store import PixelStore
from hounsfield.pipeline.path import look
from hounsfield.steps.audit import audit, link_pairs, refuse_leakage
from hounsfield.steps.duplicates import Fingerprints, Pair
from hounsfield.steps.encode_labels import one_spelling
from hounsfield.steps.gather import Question, resplit
from hounsfield.steps.study import Clock, Looked, Study

__all__ = [
    "SITE", "SiteCases", "at_two_sites", "divided", "encoded_as", "looked_at", "of_folder", "patients_of",
    "together",
]  # fmt: skip

SITE = "site"
"""The group that names the site of a case, where the cases of several lie together."""

_FOLDS = 2
"""No fold of a site is left out in training; two is the least that a split knows."""


@dataclass(frozen=True)
class SiteCases:
    """A site's name, its cohort (a development part to learn from, a test part), its pixels and what finds
    them again, and what the audit says of them.
    """

    name: str
    cohort: Cohort
    store: PixelStore
    marks: Fingerprints
    findings: tuple[Finding, ...] = ()

    @property
    def patients(self) -> int:
        """Patients to learn from."""
        return len({c.patient for c in self.cohort.development})


def of_folder(
    source: str, question: Question, cache: Path, *, name: str, progress: Progress | None = None
) -> SiteCases:
    """The cases of a site whose images lie in a folder, zip or file.

    Raises BadInput for labels that cannot be joined, one class only, or no cases; GateRefused where copies
    stand on both sides of a given split.
    """
    looked = looked_at(source, question, cache, progress=progress)
    refuse_leakage(looked.cohort, looked.pairs)
    return SiteCases(name, looked.cohort, looked.store, looked.marks, looked.findings)


def looked_at(source: str, question: Question, cache: Path, *, progress: Progress | None = None) -> Looked:
    """Scan, gather, decode and audit one source."""
    study = Study(source=source, out=cache.parent, question=question, changes={"validation.folds": _FOLDS})
    return look(study, cache, Clock(progress or Silent()))


def divided(looked: Looked, by: str, question: Question) -> tuple[tuple[SiteCases, ...], dict[str, str]]:
    """The sites that a group column makes of one cohort, each split by itself; and those that cannot take
    part, each with a sentence.

    A patient at two sites stays where most of its images are. Raises BadInput where no column of that name
    is known, or fewer than two sites are left.
    """
    known = sorted({k for c in looked.cohort.cases for k, v in c.groups.items() if v})
    if by not in known:
        listed = ", ".join(known) or "none"
        raise BadInput(
            f"--by {by} names no group column of the images; known are {listed}; name one, or add it to the "
            "labels and give --group"
        )
    places = _places(looked.cohort.cases, by)
    sites, refused = [], {}
    for name in sorted(set(places.values()) - {""}):
        cases = tuple(c for c in looked.cohort.cases if places[c.patient] == name)
        try:
            sites.append(_split_alone(name, cases, looked, question))
        except HounsfieldError as error:
            refused[name] = str(error)
    if len(sites) < 2:
        why = "; ".join(f"{name}: {said}" for name, said in refused.items())
        raise BadInput(f"--by {by} makes {len(sites)} site(s) that can learn ({why}); expected at least 2")
    return tuple(sites), refused


def encoded_as(cohort: Cohort, encoding: LabelEncoding) -> Cohort:
    """The cohort with its answers in the numbers of a common encoding.

    Names count as alike in any spelling of case, "_" and blanks. Raises BadInput for a class that the common
    encoding does not know.
    """
    where = {one_spelling(name): k for k, name in enumerate(encoding.classes)}
    unknown = [c for c in cohort.encoding.classes if one_spelling(c) not in where]
    if unknown:
        raise BadInput(
            f'the site has a class "{unknown[0]}"; expected {", ".join(encoding.classes)}; correct the '
            "labels, or leave such images out with --classes"
        )
    numbers = [where[one_spelling(c)] for c in cohort.encoding.classes]

    def again(case: Case) -> Case:
        if case.answer is None:
            return case
        return replace(case, answer=Label(tuple(sorted(numbers[k] for k in case.answer.positive))))

    return replace(cohort, cases=tuple(again(c) for c in cohort.cases), encoding=encoding)


def patients_of(cases: Sequence[Case]) -> NDArray[np.int64]:
    """Numbers (N,) that say which cases are of one patient."""
    return np.unique([c.patient for c in cases], return_inverse=True)[1].astype(np.int64)


def together(sites: Sequence[SiteCases], encoding: LabelEncoding, notes: tuple[str, ...] = ()) -> Cohort:
    """The cases of all sites as one cohort, each with its site as a group; ids bear the site's number,
    counted from 1, so that those of two sites do not meet.
    """
    cases: list[Case] = []
    part: dict[str, str] = {}
    for number, site in enumerate(sites, 1):
        cohort = encoded_as(site.cohort, encoding)
        for case in (*cohort.development, *cohort.test):
            named = replace(
                case, id=f"{number}-{case.id}", patient=f"{number}-{case.patient}",
                groups={**case.groups, SITE: site.name},
            )  # fmt: skip
            cases.append(named)
            part[named.id] = cohort.part[case.id]
    return Cohort(tuple(cases), encoding, part, {}, notes)


def at_two_sites(cases: Sequence[Case], by: str) -> int:
    """How many patients have images at several sites of the column `by`."""
    seen: dict[str, set[str]] = {}
    for case in cases:
        if name := case.groups.get(by, ""):
            seen.setdefault(case.patient, set()).add(name)
    return sum(len(names) > 1 for names in seen.values())


def _split_alone(name: str, cases: tuple[Case, ...], looked: Looked, question: Question) -> SiteCases:
    ids = {c.id for c in cases}
    encoding = looked.cohort.encoding
    here = Cohort(cases, encoding, {c.id: "test" for c in cases}, {})
    pairs: tuple[Pair, ...] = tuple(p for p in looked.pairs if {p.first, p.second} <= ids)
    split = resplit(here, replace(question, folds=_FOLDS), link_pairs(pairs, cases) if pairs else ())
    refuse_leakage(split, pairs)
    marks = looked.marks.chosen(ids)
    return SiteCases(name, split, looked.store, marks, audit(split, pairs, store=looked.store, marks=marks))


def _places(cases: Sequence[Case], by: str) -> dict[str, str]:
    """The site of each patient."""
    seen: dict[str, dict[str, int]] = {}
    for case in cases:
        count = seen.setdefault(case.patient, {})
        name = case.groups.get(by, "")
        count[name] = count.get(name, 0) + 1
    return {patient: max(sorted(count), key=lambda k: count[k]) for patient, count in seen.items()}
