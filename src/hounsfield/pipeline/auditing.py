"""Every task's cohort before a plan: decoded once, freed of what cannot be judged, its duplicates kept on one
side of the split, and audited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hounsfield.core.cohort import Cohort
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Index
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.audit import audit, link_pairs
from hounsfield.steps.audits.targets import read_targets
from hounsfield.steps.compute import available_cores
from hounsfield.steps.decode import decode
from hounsfield.steps.duplicates import Fingerprints, Pair, duplicate_pairs, fingerprints
from hounsfield.steps.study import Clock, Study

__all__ = ["Audited", "audited_cohort"]

Resplit = Callable[[Cohort, Sequence[tuple[str, str]]], Cohort]


@dataclass(frozen=True)
class Audited:
    """A cohort with its pixels, what is kept of each image to find it again, duplicates, and findings."""

    cohort: Cohort
    store: PixelStore
    marks: Fingerprints
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]


def audited_cohort(
    index: Index, cohort: Cohort, study: Study, cache: Path, clock: Clock, *, resplit: Resplit | None
) -> Audited:
    """Decode, leave out what the application cannot judge, find duplicates and audit.

    `resplit` divides the cohort anew so that pairs stay together; None where it has no two sides.
    """
    targets = read_targets(study.question.targets) if study.question.targets else None
    with clock.step("decode") as said:
        series = [c.images[0] for c in cohort.cases]
        store = decode(index, series, cache, threads=available_cores(), progress=clock.progress.advance)
        said.append(f"{len(store.rows)} images, {store.path.stat().st_size / 1e6:.0f} MB")
    unreadable: tuple[Finding, ...] = ()
    if study.keeps is not None:
        with clock.step("quality") as said:
            kept, unreadable = study.keeps(cohort.cases, store)
            why = f"{len(cohort.cases) - len(kept)} of {len(cohort.cases)} images cannot be judged"
            cohort = cohort.only(kept, why) if len(kept) < len(cohort.cases) else cohort
            said += [f.note for f in unreadable]
    with clock.step("audit") as said:
        marks = fingerprints(store, [c.id for c in cohort.cases])
        pairs = duplicate_pairs(marks)
        if pairs and resplit is not None:
            cohort = resplit(cohort, link_pairs(pairs, cohort.cases))
        findings = audit(cohort, pairs, store=store, marks=marks, targets=targets)
        warned = [f.name for f in findings if f.level != "info"]
        named = f": {', '.join(warned)}" if warned else ""
        said.append(f"{len(findings)} checks, {len(warned)} warning(s){named}")
    return Audited(cohort, store, marks, pairs, (*findings, *unreadable))
