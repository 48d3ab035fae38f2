"""External validation: which cases of a set are evaluated, and which of them the model has learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.steps.duplicates import Fingerprints, duplicate_pairs
from hounsfield.steps.run_folder import RunFolder

__all__ = ["only_test", "overlap_with_training"]


def only_test(cohort: Cohort) -> Cohort:
    """Of a set that names its parts, the cases of the test part alone; all cases of any other set."""
    kept = tuple(c for c in cohort.cases if c.given_part == "test")
    if not kept or len(kept) == len(cohort.cases):
        return cohort
    note = f"{len(cohort.cases) - len(kept)} case(s) of other parts than test were left out"
    return replace(
        cohort, cases=kept, part={c.id: cohort.part[c.id] for c in kept}, notes=(*cohort.notes, note)
    )


def overlap_with_training(run: Path, cohort: Cohort, marks: Fingerprints) -> Finding:
    """Whether patients or pictures of the run's development part stand in this set; `marks` are the set's."""
    beside = run.name == "model" and (run.parent / "private").is_dir()
    n = len(cohort.cases)
    untested = "overlap with the training data could not be tested"
    try:
        kept = RunFolder(run.parent if beside else run).kept_marks()
    except BadInput as error:
        return Finding("overlap_with_training", n=n, level="warning", note=f"{untested}: {error}")
    if kept is None:
        note = f"the run's private folder is not there: {untested}"
        return Finding("overlap_with_training", n=n, level="warning", note=note)
    learned, patients = kept
    pairs = duplicate_pairs(marks, learned)
    images = {p.first for p in pairs}
    known = {c.patient for c in cohort.cases if c.patient_known} & patients
    note = (
        f"{len(images)} of {n} images ({len({p.first for p in pairs if p.exact})} exactly) and {len(known)} "
        "patients stand in the training data too; the numbers below include them"
    )
    level = "warning" if images or known else "info"
    return Finding("overlap_with_training", value=float(len(images)), n=n, level=level, note=note)
