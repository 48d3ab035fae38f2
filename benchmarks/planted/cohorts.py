"""Cohorts in memory: their images and what is known of them, and what the audit says of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import TEST, Cohort
from hounsfield.core.errors import GateRefused
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Series
from hounsfield.io.pixel_store import write_pixels
from hounsfield.steps.audit import audit, link_pairs
from hounsfield.steps.audits.targets import Targets
from hounsfield.steps.duplicates import duplicate_pairs, fingerprints
from hounsfield.steps.gather import Question, resplit
from planted.pictures import Image, phantom

__all__ = ["GROUPS", "Item", "Study", "alarms", "audited", "caught", "clean_study", "with_parts"]

GROUPS = {
    "sex": ["F", "M"],
    "age band": ["40-49", "50-59", "60-69"],
    "site": ["North", "South", "West"],
    "scanner": ["Alpha", "Beta"],
}
TWO = LabelEncoding("binary", ("healthy", "ill"))


@dataclass
class Item:
    """One image with all that is known of it."""

    image: Image
    answer: int | tuple[int, ...]
    patient: str
    groups: dict[str, str]
    part: str = ""
    ending: str = "png"
    spacing_mm: tuple[float, ...] = (1.0, 0.2, 0.2)
    date: str = ""
    bits: int = 0


@dataclass
class Study:
    """A cohort to be: items, and the target table if there is one."""

    items: list[Item]
    rng: np.random.Generator
    targets: Targets | None = None
    encoding: LabelEncoding = TWO


def clean_study(
    seed: int,
    *,
    n: int = 160,
    side: int = 96,
    images: int = 1,
    parts: bool = False,
    picture: Callable[..., Image] = phantom,
) -> Study:
    """A cohort without any fault: balanced, complete, nothing associated with the answer."""
    rng = np.random.default_rng([seed, n, side])
    items = []
    for k in range(n):
        groups = {name: str(rng.choice(values)) for name, values in GROUPS.items()}
        for _ in range(images):
            items.append(Item(picture(rng, k % 2, side=side), k % 2, f"patient-{k}-{seed}", dict(groups)))
    study = Study(items, rng)
    return with_parts(study) if parts else study


def with_parts(study: Study) -> Study:
    """The same with a train and a test part that it came with, alike but for chance."""
    patients = sorted({i.patient for i in study.items})
    held = set(study.rng.choice(patients, len(patients) // 3, replace=False).tolist())
    for item in study.items:
        item.part = "test" if item.patient in held else "train"
    return study


def audited(study: Study) -> tuple[Finding, ...]:
    """The findings, as `hu audit` would print them; a refusal of the split is a finding too."""
    series = [_series(k, item) for k, item in enumerate(study.items)]
    cases = tuple(
        Case(
            s.id,
            i.patient,
            (s,),
            Label(i.answer if isinstance(i.answer, tuple) else (i.answer,)),
            i.groups,
            True,
            i.part,
        )
        for s, i in zip(series, study.items, strict=True)
    )
    question = Question(folds=3, resplit=False)
    with tempfile.TemporaryDirectory() as scratch:
        shaped = (
            x.image if x.image.ndim == 4 else x.image.reshape(1, -1, *x.image.shape[-2:]) for x in study.items
        )
        pixels = ((s.id, x, ()) for s, x in zip(series, shaped, strict=True))
        store = write_pixels(Path(scratch), pixels, state="x")
        try:
            whole = Cohort(cases, study.encoding, {c.id: TEST for c in cases}, {})
            cohort = resplit(whole, question, ())
            marks = fingerprints(store, [c.id for c in cases])
            pairs = duplicate_pairs(marks)
            cohort = resplit(cohort, question, link_pairs(pairs, cases)) if pairs else cohort
        except GateRefused as refused:
            return (Finding("refused_split", level="stop", note=str(refused)),)
        return audit(cohort, pairs, store=store, marks=marks, targets=study.targets)


def _series(number: int, item: Item) -> Series:
    shape = item.image.shape if item.image.ndim == 3 else (1, *item.image.shape[-2:])
    bits = item.bits or 8 * item.image.dtype.itemsize
    return Series(
        f"image-{number:05d}", (f"image-{number:05d}.{item.ending}",), "raster", shape, bits=bits,
        spacing_mm=item.spacing_mm, study_date=item.date,
    )  # fmt: skip


def caught(study: Study, names: Sequence[str]) -> bool:
    """Whether a finding of one of the names warns or stops."""
    return any(f.level != "info" and f.name in names for f in audited(study))


def alarms(study: Study, but: Sequence[str] = ()) -> tuple[str, ...]:
    """What warns or stops, but for findings of some names."""
    return tuple(
        f"{f.name} {f.group} {f.label}".strip()
        for f in audited(study)
        if f.level != "info" and f.name not in but
    )
