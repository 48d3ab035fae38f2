"""Images without labels, of nobody and of nothing that the cohort holds: a test must not be learned from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Plan
from hounsfield.steps.compute import available_cores
from hounsfield.steps.decode import decode
from hounsfield.steps.duplicates import duplicate_pairs, fingerprints
from hounsfield.steps.prepare import Prepared, prepare
from hounsfield.steps.scan import scan
from hounsfield.steps.study import Looked

__all__ = ["LEAST", "unlabelled_images"]

LEAST = 16
"""Fewer images than this teach nothing without labels."""


def unlabelled_images(
    source: str,
    looked: Looked,
    plan: Plan,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Prepared, str]:
    """The images of a source, prepared as the plan says, and a sentence on what was left out.

    Left out is every image of a patient of the cohort, every image that is the same picture as one of it,
    and what is 2D where the plan wants volumes (or the reverse). Raises BadInput where fewer than 16 remain.
    """
    index = scan(source)
    flat = plan.input.size[0] == 1
    patients = {c.patient for c in looked.cohort.cases if c.patient_known}
    fitting = [s for s in index.series if s.is_flat == flat]
    strange = [s for s in fitting if s.patient not in patients]
    store = decode(index, strange, folder, threads=available_cores(), progress=progress)
    marks = fingerprints(store, [s.id for s in strange])
    known = {p.first for p in duplicate_pairs(marks, looked.marks)}
    taken = [s for s in strange if s.id not in known]
    note = (
        f"{len(taken)} images without labels; left out: {len(fitting) - len(strange)} of patients of "
        f"the cohort, {len(known)} that are pictures of it, {len(index.series) - len(fitting)} of other "
        "dimensions"
    )
    if len(taken) < LEAST:
        raise BadInput(
            f"only {len(taken)} images without labels can be used ({note}); expected at least {LEAST}; give "
            "more, or leave --unlabelled out"
        )
    cases = tuple(Case(s.id, s.patient or f"image {s.id}", (s,)) for s in taken)
    return prepare(cases, plan.input, store, folder, threads=available_cores(), progress=progress), note
