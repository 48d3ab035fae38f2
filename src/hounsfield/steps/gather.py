"""Join labels to images, name the groups, and split by patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, TEST, Cohort
from hounsfield.core.errors import BadInput, GateRefused
from hounsfield.core.index import Index, Series
from hounsfield.steps.dates import OWN_DATE, places_in_time
from hounsfield.steps.encode_labels import encoding_of, known_labels, label_texts, restrict
from hounsfield.steps.labels import LabelTable, join_labels, read_labels
from hounsfield.steps.split import assign_folds, hold_back
from hounsfield.steps.split_designs import folds_of_column, latest

__all__ = ["Question", "TableFacts", "case_of", "gather", "image_groups", "resplit", "table_facts"]

PATIENT_COLUMNS = ("patientid", "patient", "subjectid", "subject", "participantid", "mrn")
GROUP_COLUMNS = {
    "sex": ("sex", "gender"),
    "age": ("age", "age_years", "patient_age"),
    "site": ("site", "hospital", "institution", "center", "centre", "location"),
    "scanner": ("scanner", "device", "camera", "manufacturer"),
    "view": ("view", "projection"),
    "laterality": ("laterality", "side", "eye"),
    "density": ("density", "breast_density"),
}
KNOWN_GROUPS = (*(g for g in GROUP_COLUMNS if g != "age"), "age band", "modality")
"""Group columns that need not be asked for: a label table's by these names, or the images' own."""

UNKNOWN = ("", "nan", "na", "n/a", "none", "unknown")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the images, and how the rows of the label table are to be read.

    `target` names the label column (several: multi-label); `positive` sets one class against the
    rest; `classes` keeps only these; `groups` are further columns to break results down by.
    `resplit` lets Hounsfield split anew where the data brings its own split. `test_fraction` is the
    share of patients held back where the data names no split (0: cross-validation only; None: a fifth, and
    none where every case is left out once by the validation's own design). `targets` is a CSV of which share
    of patients each group should have (see read_targets): the audit holds the cohort to it.

    `split_by_date` names a column of dates, or "images" for the images' own study date: the latest patients
    are then the test part. `folds_by` is a group column whose values are the folds; `outer_folds` asks for
    nested cross-validation.

    Where places are asked for, `masks` names the folder of the masks (or a word of their names), `channels`
    the images of a case that are learned from, `marks` a file of marked objects; `resample_masks` lets masks
    be brought onto the grid of their image.
    """

    labels: str = ""
    target: tuple[str, ...] = ()
    on: str = ""
    patient: str = ""
    groups: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    positive: str = ""
    one_image_per_patient: bool = False
    resplit: bool = False
    test_fraction: float | None = None
    folds: int = 5
    seed: int = 0
    targets: str = ""
    split_by_date: str = ""
    folds_by: str = ""
    outer_folds: int = 0
    masks: str = ""
    channels: tuple[str, ...] = ()
    marks: str = ""
    resample_masks: bool = False

    @property
    def held_back(self) -> float:
        """The share of patients to be held back as a test part."""
        if self.test_fraction is not None:
            return self.test_fraction
        return 0.0 if (self.folds_by or self.outer_folds) and not self.split_by_date else 0.2


def gather(
    index: Index,
    question: Question,
    *,
    encoding: LabelEncoding | None = None,
    split: bool = True,
) -> Cohort:
    """Cases with answers and groups, split into development folds and a test part.

    A given `encoding` (a model's) is used instead of one made from the labels. With `split` False
    every case is put in the test part (external validation). Raises BadInput for labels that cannot
    be joined or encoded, GateRefused where the given split has a patient on both sides.
    """
    if encoding and encoding.kind == "binary" and encoding.classes[0] == f"not {encoding.positive}":
        question = replace(question, positive=encoding.positive)
    table = _table(question)
    if table:
        question = replace(question, target=tuple(dict.fromkeys(table.column(t) for t in question.target)))
    groups = _group_columns(question, table)
    column = _patient_column(question, table)
    rows, notes = _rows(index, question, table, tuple(groups.values()))
    texts = _label_texts(index, question, rows, table, notes)
    texts = restrict(
        texts, classes=question.classes, positive=question.positive, encoding=encoding, notes=notes
    )
    if encoding is None:
        encoding = encoding_of(texts, question.target, classes=question.classes, positive=question.positive)
        if encoding.kind == "binary" and not question.positive:
            notes.append(f"positive class: {encoding.positive} (change it with --positive)")
    texts = known_labels(texts, encoding)
    kept = [s for s in index.series if s.id in texts]
    cases = tuple(_case(s, encoding, texts[s.id], rows.get(s.id, {}), groups, column, question) for s in kept)
    if split and question.split_by_date:
        cases = _in_time(cases, rows, table, question.split_by_date)
    whole = Cohort(cases, encoding, {c.id: TEST for c in cases}, {}, tuple(notes))
    return _split(whole, question, ()) if split else whole


def resplit(cohort: Cohort, question: Question, links: Sequence[tuple[str, str]]) -> Cohort:
    """The same cases split again so that cases linked as duplicates stay on one side."""
    return _split(cohort, question, links)


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What a table says of images besides their answer: a row an image, the group columns, the patient's."""

    rows: Mapping[str, Mapping[str, str]]
    groups: Mapping[str, str]
    patient: str
    notes: tuple[str, ...]


def table_facts(index: Index, question: Question, series: Sequence[Series]) -> TableFacts:
    """Groups and patients of the images of a question about places, whose answer is no column.

    Raises BadInput for a table that cannot be read or joined.
    """
    table = read_labels(Path(question.labels)) if question.labels else None
    groups = _group_columns(question, table)
    column = _patient_column(question, table)
    rows, notes = _rows(replace(index, series=tuple(series)), question, table, tuple(groups.values()))
    return TableFacts(rows, groups, column, tuple(notes))


def case_of(series: Series, facts: TableFacts, question: Question) -> Case:
    """A case without an answer: its patient and groups."""
    row = facts.rows.get(series.id, {})
    return _case(series, None, "", row, facts.groups, facts.patient, question)


def _table(question: Question) -> LabelTable | None:
    if not question.labels:
        for option, name in (("--target", next(iter(question.target), "")), ("--patient", question.patient)):
            if name:
                raise BadInput(f"{option} {name} was given without --labels; give the CSV too")
        return None
    table = read_labels(Path(question.labels))
    if not question.target:
        raise BadInput(
            f"{table.name} was given without --target; name the label column, one of: "
            + ", ".join(table.columns)
        )
    return table


def _rows(
    index: Index, question: Question, table: LabelTable | None, groups: Sequence[str]
) -> tuple[dict[str, Mapping[str, str]], list[str]]:
    """The row of each image, and a note on how they were joined."""
    if table is None:
        return {}, []
    rows, column, key = join_labels(index, table, on=question.on, never=(*question.target, *groups))
    return rows, [f'labels joined on column "{column}" to the {key} of {len(rows)} image(s)']


def _label_texts(
    index: Index,
    question: Question,
    rows: Mapping[str, Mapping[str, str]],
    table: LabelTable | None,
    notes: list[str],
) -> dict[str, str]:
    """The label of each image that has one, from the table or else from the folders and files."""
    if table:
        texts = label_texts(rows, question.target, table.name, notes)
    else:
        texts = {s.id: s.label for s in index.series if s.label}
    if not texts:
        raise BadInput(
            "no image has a label; give --labels CSV and --target COLUMN, or put images into class folders"
        )
    if missing := len(index.series) - len(texts):
        notes.append(f"{missing} image(s) without a label were left out")
    return texts


def _group_columns(question: Question, table: LabelTable | None) -> dict[str, str]:
    found = {name: name for name in question.groups}
    if table:
        folded = {c.casefold(): c for c in table.columns}
        for group, names in GROUP_COLUMNS.items():
            column = next((folded[n] for n in names if n in folded), None)
            if column and column not in question.target:
                found.setdefault(group, column)
        found.update({g: table.column(g) for g in question.groups})
    return found


def _patient_column(question: Question, table: LabelTable | None) -> str:
    if table is None:
        return ""
    if question.patient:
        return table.column(question.patient)
    folded = {"".join(filter(str.isalpha, c.casefold())): c for c in table.columns}
    return next((folded[n] for n in PATIENT_COLUMNS if n in folded), "")


def _case(
    series: Series,
    encoding: LabelEncoding | None,
    text: str,
    row: Mapping[str, str],
    groups: Mapping[str, str],
    patient_column: str,
    question: Question,
) -> Case:
    patient = _known(row.get(patient_column, "")) or _known(series.patient)
    study = f"study {series.study}" if series.study else ""
    named = {name: row.get(column, "") for name, column in groups.items()}
    age = _number(named.pop("age", "")) if "age" in named else None
    known = image_groups(series)
    if age is not None:
        named["age band"] = _band(age)
    named |= {name: named.get(name) or value for name, value in known.items()}
    return Case(
        id=series.id,
        patient=patient or study or f"image {series.id}",
        images=(series,),
        answer=encoding.encode(text) if encoding else None,
        groups=named,
        patient_known=bool(patient) or question.one_image_per_patient,
        given_part=series.part,
    )


def image_groups(series: Series) -> dict[str, str]:
    """The groups that an image itself names, by column; "" where it does not say."""
    names = ("sex", "site", "scanner", "view", "laterality", "modality")
    return {"age band": _band(series.age_years), **{name: str(getattr(series, name)) for name in names}}


def _in_time(
    cases: tuple[Case, ...], rows: Mapping[str, Mapping[str, str]], table: LabelTable | None, by: str
) -> tuple[Case, ...]:
    """The cases with the place of their dates among all; the dates themselves are not kept."""
    if by == OWN_DATE:
        texts = {c.id: c.images[0].study_date for c in cases}
    elif table is None:
        raise BadInput(
            f'--split-by-date {by} was given without --labels; give the CSV too, or "{OWN_DATE}" for the '
            "study date of the images"
        )
    else:
        column = table.column(by)
        texts = {c.id: _known(rows.get(c.id, {}).get(column, "")) for c in cases}
    places = places_in_time(texts)
    return tuple(replace(c, when=places[c.id]) for c in cases)


def _known(patient: str) -> str:
    """The patient, or nothing where the id says only that nobody knows."""
    return "" if patient.casefold() in UNKNOWN else patient


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("yYaA "))
    except ValueError:
        return None


def _band(age: float | None) -> str:
    if age is None or not np.isfinite(age):
        return ""
    decade = int(age // 10) * 10
    return "under 20" if decade < 20 else "80 and over" if decade >= 80 else f"{decade}-{decade + 9}"


def _split(cohort: Cohort, question: Question, links: Sequence[tuple[str, str]]) -> Cohort:
    cases, encoding = cohort.cases, cohort.encoding
    given = Counter(c.given_part for c in cases)
    notes = list(cohort.notes)
    if given.keys() - {""} and question.split_by_date and not question.resplit:
        raise BadInput(
            "the data names its own split, and --split-by-date would learn from its test part; leave "
            "--split-by-date out, or pass --resplit too"
        )
    if question.split_by_date:
        held, said = latest(cases, share=question.held_back or 0.2, links=links)
        part = {c.id: TEST if c.id in held else DEVELOPMENT for c in cases}
        notes += said
    elif given.keys() - {""} and not question.resplit:
        part = {c.id: TEST if c.given_part == "test" else DEVELOPMENT for c in cases}
        _require_disjoint(cases, part)
        if given["train"] and given["val"]:
            notes.append("the given train and validation parts were pooled; folds validate, by patient")
        if not given["test"]:
            notes.append("the data names its own split and no test part: evaluated by cross-validation")
    elif question.held_back > 0:
        held = hold_back(
            cases,
            encoding,
            share=question.held_back,
            folds=question.folds,
            seed=question.seed,
            links=links,
        )
        part = {c.id: TEST if c.id in held else DEVELOPMENT for c in cases}
        notes.append(f"{question.held_back:.0%} of the patients were held back as the test part")
    else:
        part = {c.id: DEVELOPMENT for c in cases}
        notes.append("no test part was asked for: evaluated by cross-validation")
    development = [c for c in cases if part[c.id] == DEVELOPMENT]
    if not development:
        raise BadInput("every case stands in the given test part; expected a train part too, or --resplit")
    if question.folds_by:
        fold, said = folds_of_column(development, encoding, question.folds_by, links=links)
        notes += said
    else:
        fold = assign_folds(development, encoding, folds=question.folds, seed=question.seed, links=links)
    return replace(cohort, part=part, fold=fold, notes=tuple(dict.fromkeys(notes)))


def _require_disjoint(cases: Sequence[Case], part: Mapping[str, str]) -> None:
    sides: dict[str, set[str]] = {}
    for c in cases:
        sides.setdefault(c.patient, set()).add(part[c.id])
    both = sum(len(s) > 1 for s in sides.values())
    if both:
        raise GateRefused(
            f"{both} patient(s) stand in both the training and the test part of the given split; "
            "a patient must stand on one side; correct the split, or pass --resplit to split by patient"
        )
