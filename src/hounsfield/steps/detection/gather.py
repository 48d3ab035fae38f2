"""Cases of a detection: images with what a reader marked in them, groups from a table, split by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hounsfield.core.case import Label, LabelEncoding
from hounsfield.core.cohort import TEST, Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index
from hounsfield.core.redact import listed
from hounsfield.io.source import Source
from hounsfield.steps.detection.annotations import read_marks
from hounsfield.steps.gather import Question, case_of, table_facts
from hounsfield.steps.regions.dataset_file import described
from hounsfield.steps.regions.pairing import pairing_of
from hounsfield.steps.regions.split import resplit_places

__all__ = ["gather_marked", "marks_beside"]

_NAMES = ("annotations.csv", "annotations.json", "instances.json", "boxes.csv", "nodules.csv")


def gather_marked(
    index: Index,
    question: Question,
    *,
    classes: Sequence[str] = (),
    channels: Sequence[str] = (),
    split: bool = True,
) -> tuple[Cohort, tuple[str, ...]]:
    """Cases with their marks, whose answer says which classes were marked; and the names of the channels.

    Images that the marks do not speak of are left out. `classes` and `channels` are those of a model. Without
    `split` every case is put in the test part. Raises BadInput where no marks are given, or none
    fits an image.
    """
    with Source(index.source) as source:
        told = described(source)
    paired = pairing_of(
        index,
        channels=channels or question.channels,
        masks=question.masks,
        channel_names=told.channels or tuple(channels),
    )
    images = {p.images[0].id: p for p in paired.pairs}
    shown = replace(index, series=tuple(s for p in paired.pairs for s in p.images))
    path = Path(question.marks) if question.marks else marks_beside(index.source)
    marks = read_marks(path, shown, classes=tuple(classes) or question.classes)
    kept = [p for key, p in images.items() if key in marks.by_series]
    if not any(marks.by_series[p.images[0].id] for p in kept):
        raise BadInput(
            f"{path.name} marks nothing in any of {len(images)} images; expected objects in some; check it"
        )
    notes = [*paired.notes, *marks.notes]
    if len(kept) < len(images):
        notes.append(f"{len(images) - len(kept)} image(s) of which {path.name} does not speak were left out")
    encoding = LabelEncoding("multilabel", marks.classes, ("marked",))
    facts = table_facts(index, question, tuple(p.images[0] for p in kept))
    cases = []
    for pair in kept:
        series = pair.images[0]
        known = series if series.patient or not pair.patient else replace(series, patient=pair.patient)
        held = marks.by_series[series.id]
        answer = Label(tuple(sorted({m.label for m in held if not m.excluded})))
        case = case_of(known, facts, question)
        cases.append(replace(case, images=pair.images, marked=held, answer=answer))
    objects = sum(not m.excluded for c in cases for m in c.marked or ())
    notes += [*facts.notes, f"{objects} marked ({listed(marks.classes, ids=False)}) in {len(cases)} images"]
    whole = Cohort(tuple(cases), encoding, {c.id: TEST for c in cases}, {}, tuple(notes))
    return (resplit_places(whole, question) if split else whole), paired.channels


def marks_beside(source: str) -> Path:
    """The file of marks that lies in a source's folder. Raises BadInput where there is none."""
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    found = [folder / name for name in _NAMES if (folder / name).is_file()]
    if len(found) != 1:
        what = (
            "no file of marks"
            if not found
            else f"several files of marks ({', '.join(p.name for p in found)})"
        )
        raise BadInput(
            f"{what} lies beside the images; expected one of {', '.join(_NAMES)}; name it (CSV, COCO JSON, "
            "DICOM SR or RTSTRUCT, or a folder of masks) with --marks"
        )
    return found[0]
