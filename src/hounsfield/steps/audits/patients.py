"""Whose the images are: is every patient known, does one stand on two sides, is one spelled in two ways?"""

from __future__ import annotations

from hounsfield.core.evidence import Finding
from hounsfield.steps.audits.contract import CHECKS, Claim, Material

__all__ = ["identity", "separation", "spelling"]


@CHECKS.register("patient identity")
def identity(material: Material) -> list[Claim]:
    """Whether every image names its patient."""
    cohort = material.cohort
    n = len({c.patient for c in cohort.cases})
    if cohort.patients_known:
        note = f"{len(cohort.cases)} images of {n} patients; the patient of every image is known"
        return [Claim(Finding("patient_identity", n=len(cohort.cases), n_patients=n, note=note))]
    unknown = sum(not c.patient_known for c in cohort.cases)
    note = (
        f"{unknown} of {len(cohort.cases)} images name no patient, so that separation by patient cannot be "
        "proved; if every image is of another patient, say so with --one-image-per-patient; otherwise give "
        "the patient column with --patient"
    )
    return [Claim(Finding("patient_identity", n=len(cohort.cases), level="warning", note=note))]


@CHECKS.register("patient separation")
def separation(material: Material) -> list[Claim]:
    """Whether a patient stands on two sides."""
    cohort = material.cohort
    sides = [{c.patient for c in part} for part in (cohort.development, cohort.test)]
    shared = len(sides[0] & sides[1])
    parts = f"{len(sides[0])} patients in development, {len(sides[1])} in test"
    finding = Finding(
        "patients_in_both_parts",
        value=float(shared),
        n=len(cohort.cases),
        n_patients=len(sides[0] | sides[1]),
        level="stop" if shared else "info",
        note=f"{shared} patients stand on both sides ({parts}); folds are disjoint by patient too",
    )
    return [Claim(finding)]


@CHECKS.register("patient spelling")
def spelling(material: Material) -> list[Claim]:
    """Whether ids differ only in case, spaces, signs or leading noughts: probably one patient under two
    names.
    """
    forms: dict[str, set[str]] = {}
    for c in material.cases:
        if c.patient_known:
            forms.setdefault(_plain(c.patient), set()).add(c.patient)
    doubled = [ids for form, ids in forms.items() if form and len(ids) > 1]
    if not doubled:
        return []
    ids = sum(map(len, doubled))
    note = (
        f"{ids} patient ids are {len(doubled)} if case, spaces, signs and leading noughts are left aside; "
        "one patient under two ids may come to stand on both sides; make the ids alike"
    )
    n = sum(c.patient in names for names in doubled for c in material.cases)
    return [
        Claim(
            Finding(
                "patient_spelled_twice",
                value=float(len(doubled)),
                n=n,
                n_patients=ids,
                level="warning",
                note=note,
            )
        )
    ]


def _plain(name: str) -> str:
    """The letters and digits of an id, small, each number without leading noughts.

    >>> _plain("P-007 a"), _plain("p7A")
    ('p7a', 'p7a')
    """
    import re

    return re.sub(r"(?<!\d)0+(?=\d)", "", "".join(c for c in name.casefold() if c.isalnum()))
