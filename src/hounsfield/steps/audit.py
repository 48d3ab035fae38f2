"""Look at the data before any training: leakage, duplicates, shortcuts, wrong labels; an unsafe run is
stopped.

Each check is a file in `audits`; here they are run in order, corrected for their number, and sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hounsfield.core.case import Case
from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import GateRefused
from hounsfield.core.evidence import Finding
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.audits import CHECKS, Material, settled
from hounsfield.steps.audits.chance import tabled, unit_table
from hounsfield.steps.audits.copies import leaking_pairs, link_pairs
from hounsfield.steps.audits.measures import measured
from hounsfield.steps.audits.targets import Targets
from hounsfield.steps.duplicates import Fingerprints, Pair

__all__ = ["association", "audit", "link_pairs", "refuse_leakage", "worst_first"]

MARKS = ("border_label_association", "letters_label_association", "margin_label_association")
"""Findings that something beside the anatomy tells the classes."""
SEVERITY = {"stop": 0, "warning": 1, "info": 2}


def audit(
    cohort: Cohort,
    pairs: Sequence[Pair],
    *,
    store: PixelStore | None = None,
    marks: Fingerprints | None = None,
    targets: Targets | None = None,
) -> tuple[Finding, ...]:
    """Findings about the cohort: leakage, duplicates, missing data, shortcuts, shift, suspected labels.

    Without a `store` nothing is said of files and pixels, without `marks` (the store's fingerprints) nothing
    of margins, label errors and orientation, without `targets` nothing of representation. Raises BadInput
    where the targets name a column that the cohort does not have.
    """
    measures = None if store is None else measured(cohort.cases, store)
    material = Material(cohort, tuple(pairs), marks, measures, targets)
    return _weighed(settled([claim for name in CHECKS for claim in CHECKS[name](material)]))


def _weighed(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Where something beside the anatomy tells the classes, a label that the image contradicts may be right:
    the quick model looks at the mark too. Then it is no warning, and says so.
    """
    marks = [f.name for f in findings if f.level != "info" and f.name in MARKS]
    if not marks:
        return tuple(findings)
    told = marks[0].replace("_", " ")
    doubt = (
        f"; but see {told}: the mark may be what contradicts these labels, so deal with it and audit again"
    )
    return tuple(
        replace(f, level="info", note=f.note + doubt) if f.name == "label_errors" else f for f in findings
    )


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """What stops, what warns, what informs; otherwise in the order in which it was found."""
    return sorted(findings, key=lambda f: SEVERITY.get(f.level, 2))


def refuse_leakage(cohort: Cohort, pairs: Sequence[Pair]) -> None:
    """Raise GateRefused where the same picture is to be learned from and tested on.

    Near-duplicates that chain a whole cohort together (see link_pairs) are left to the audit's warning,
    unless the split came with the data.
    """
    across = leaking_pairs(cohort, pairs)
    if across:
        exact = sum(p.exact for p in across)
        raise GateRefused(
            f"{len(across)} image(s) of the test part stand in the training part too ({exact} exactly, "
            f"{len(across) - exact} nearly); the test would measure memory; remove them, or pass --resplit "
            "to split again with such pairs kept on one side"
        )


def association(cases: Sequence[Case], group: str) -> tuple[float, float, int]:
    """Cramér's V between a group column and the answer, corrected for bias (Bergsma 2013), with p and n.

    Counts patients, not images: each patient enters once for each class that it has.
    """
    patients = np.unique([c.patient for c in cases], return_inverse=True)[1].astype(np.intp)
    answers = [max(c.answer.positive, default=-1) if c.answer else -1 for c in cases]
    values = [c.groups.get(group, "") for c in cases]
    found = tabled(unit_table(values, patients, np.array(answers, np.intp))[2])
    return found.v, found.p, found.n
