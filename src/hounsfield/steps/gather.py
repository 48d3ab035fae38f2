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
from hounsfield.steps.labels import LabelTable, join_labels, read_labels
from hounsfield.steps.split import assign_folds, class_counts, linked_units, require_enough, stratified_bins

__all__ = ["Question", "gather", "resplit"]

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
MOST_CLASSES = 60
MISSING = ("", "nan", "na", "n/a")
YES = ("1", "1.0", "yes", "true", "y", "positive", "present", "x")
NO = ("0", "0.0", "no", "false", "n", "negative", "absent", *MISSING)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the images, and how the rows of the label table are to be read.

    `target` names the label column (several: multi-label); `positive` sets one class against the
    rest; `classes` keeps only these; `groups` are further columns to break results down by.
    `resplit` lets Hounsfield split anew where the data brings its own split. `test_fraction` is the
    share of patients held back where the data names no split (0: cross-validation only).
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
    test_fraction: float = 0.2
    folds: int = 5
    seed: int = 0


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
    rows, table, joined = _rows(index, question)
    texts = _label_texts(index, question, rows, table)
    notes = [joined] if joined else []
    kept = [s for s in index.series if texts.get(s.id)]
    if not kept:
        raise BadInput(
            "no image has a label; give --labels CSV and --target COLUMN, or put images into class folders"
        )
    if missing := len(index.series) - len(kept):
        notes.append(f"{missing} image(s) without a label were left out")
    texts, kept = _restrict(texts, kept, question, notes)
    encoding = encoding or _encoding(texts, question)
    groups = _group_columns(question, table)
    column = _patient_column(question, table)
    cases = tuple(_case(s, encoding, texts[s.id], rows.get(s.id, {}), groups, column, question) for s in kept)
    if not split:
        return Cohort(cases, encoding, {c.id: TEST for c in cases}, {}, tuple(notes))
    return _split(Cohort(cases, encoding, {c.id: TEST for c in cases}, {}, tuple(notes)), question, ())


def resplit(cohort: Cohort, question: Question, links: Sequence[tuple[str, str]]) -> Cohort:
    """The same cases split again so that cases linked as duplicates stay on one side."""
    return _split(cohort, question, links)


def _rows(index: Index, question: Question) -> tuple[dict[str, Mapping[str, str]], LabelTable | None, str]:
    if not question.labels:
        if question.target:
            raise BadInput(f"--target {question.target[0]} was given without --labels; give the CSV too")
        return {}, None, ""
    table = read_labels(Path(question.labels))
    if not question.target:
        raise BadInput(
            f"{table.name} was given without --target; name the label column, one of: "
            + ", ".join(table.columns)
        )
    for name in (*question.target, *question.groups):
        table.column(name)
    rows, column, key = join_labels(index, table, on=question.on)
    return rows, table, f'labels joined on column "{column}" to the {key} of {len(rows)} image(s)'


def _label_texts(
    index: Index, question: Question, rows: Mapping[str, Mapping[str, str]], table: LabelTable | None
) -> dict[str, str]:
    if table is None:
        return {s.id: s.label for s in index.series}
    columns = [table.column(t) for t in question.target]
    if len(columns) == 1:
        texts = {k: row.get(columns[0], "").replace(";", "|") for k, row in rows.items()}
        return {k: text for k, text in texts.items() if text.casefold() not in MISSING}
    for c in columns:
        if any(row.get(c, "").casefold() not in (*YES, *NO) for row in rows.values()):
            raise BadInput(
                f'column "{c}" of {table.name} holds more than yes and no; several --target columns are read '
                "as one finding each; expected 1 and 0, or name one column"
            )
    return {
        k: "|".join(c for c in columns if row.get(c, "").casefold() in YES) or "none"
        for k, row in rows.items()
    }


def _restrict(
    texts: dict[str, str], kept: list[Series], question: Question, notes: list[str]
) -> tuple[dict[str, str], list[Series]]:
    known = sorted({part for text in texts.values() for part in (text, *text.split("|")) if part})
    for name in (*question.classes, *((question.positive,) if question.positive else ())):
        if name not in known:
            from hounsfield.core.registry import nearest

            raise BadInput(f'no case has the label "{name}"; {nearest(name, known)}')
    if question.classes:
        before = len(kept)
        kept = [s for s in kept if texts[s.id] in question.classes]
        notes.append(f"{before - len(kept)} image(s) of classes that were not asked for were left out")
    if question.positive:
        rest = f"not {question.positive}"
        texts = {
            k: question.positive if question.positive in (v, *v.split("|")) else rest
            for k, v in texts.items()
        }
        notes.append(f'binary question: "{question.positive}" against all other labels')
    return texts, kept


def _encoding(texts: Mapping[str, str], question: Question) -> LabelEncoding:
    target = question.target or ("label",)
    values = {v for v in texts.values() if v}
    if len(question.target) > 1 or any("|" in v for v in values):
        names = question.target if len(question.target) > 1 else ()
        parts = names or tuple(sorted({p for v in values for p in v.split("|") if p}))
        return LabelEncoding("multilabel", tuple(p for p in parts if p != "none"), target)
    ordered = _ordered(values)
    if question.positive:
        ordered = [v for v in ordered if v != question.positive] + [question.positive]
    elif question.classes:
        ordered = [c for c in question.classes if c in values]
    if len(ordered) < 2:
        raise BadInput(
            f"all cases have one class only ({ordered}); expected at least two; check the target column"
        )
    if len(ordered) > MOST_CLASSES:
        raise BadInput(
            f"the target has {len(ordered)} different values; expected classes (at most {MOST_CLASSES}); "
            "choose a column of categories, or band the numbers first"
        )
    return LabelEncoding("binary" if len(ordered) == 2 else "multiclass", tuple(ordered), target)


NEGATIVE_NAMES = (
    "normal", "benign", "negative", "control", "healthy", "no", "no finding", "none", "false", "absent", "cn",
)  # fmt: skip


def _ordered(values: set[str]) -> list[str]:
    """Numbers by size, names by alphabet, with names of health first so that disease is positive."""
    try:
        return sorted(values, key=float)
    except ValueError:
        return sorted(values, key=lambda v: (v.casefold() not in NEGATIVE_NAMES, v.casefold()))


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
    encoding: LabelEncoding,
    text: str,
    row: Mapping[str, str],
    groups: Mapping[str, str],
    patient_column: str,
    question: Question,
) -> Case:
    patient = row.get(patient_column, "") or series.patient
    named = {name: row.get(column, "") for name, column in groups.items()}
    age = _number(named.pop("age", "")) if "age" in named else None
    named["age band"] = _band(age if age is not None else series.age_years)
    for name in ("sex", "site", "scanner", "view", "laterality", "modality"):
        named[name] = named.get(name) or str(getattr(series, name))
    text = "" if text == "none" and encoding.kind == "multilabel" else text
    return Case(
        id=series.id,
        patient=patient or f"image {series.id}",
        images=(series,),
        answer=encoding.encode(text),
        groups=named,
        patient_known=bool(patient) or question.one_image_per_patient,
        given_part=series.part,
    )


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
    if given.keys() - {""} and not question.resplit:
        part = {c.id: TEST if c.given_part == "test" else DEVELOPMENT for c in cases}
        _require_disjoint(cases, part)
        if given["train"] and given["val"]:
            notes.append("the given train and validation parts were pooled; folds validate, by patient")
        if not given["test"]:
            notes.append("the data names its own split and no test part: evaluated by cross-validation")
    elif question.test_fraction > 0:
        require_enough(cases, encoding, folds=question.folds)
        part = _held_back(cases, encoding, question, links)
        notes.append(f"{question.test_fraction:.0%} of the patients were held back as the test part")
    else:
        part = {c.id: DEVELOPMENT for c in cases}
        notes.append("no test part was asked for: evaluated by cross-validation")
    development = [c for c in cases if part[c.id] == DEVELOPMENT]
    if not development:
        raise BadInput("every case stands in the given test part; expected a train part too, or --resplit")
    fold = assign_folds(development, encoding, folds=question.folds, seed=question.seed, links=links)
    return replace(cohort, part=part, fold=fold, notes=tuple(dict.fromkeys(notes)))


def _held_back(
    cases: Sequence[Case], encoding: LabelEncoding, question: Question, links: Sequence[tuple[str, str]]
) -> dict[str, str]:
    units = linked_units(cases, links)
    counts = class_counts(cases, units, len(encoding.classes))
    share = (1 - question.test_fraction, question.test_fraction)
    bins = stratified_bins(counts, share, np.random.default_rng([question.seed, 0x7E57]))
    part: dict[str, str] = {}
    for unit, b in zip(units, bins, strict=True):
        part.update({cases[k].id: TEST if b else DEVELOPMENT for k in unit})
    return part


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
