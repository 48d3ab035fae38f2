"""Whose eye, and how often: photographs that do not say their side, and an eye photographed twice on one day.

Asked of ophthalmic photographs only. Both eyes of a patient stand on one side of the split anyway, but by
eye nothing can be reported without its side, and an eye that was photographed again, often since the first
picture failed, counts twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hounsfield.core.case import Case
from hounsfield.core.evidence import Finding
from hounsfield.steps.audits.contract import CHECKS, Claim, Material

__all__ = ["eye_of", "eyes_twice", "missing_side", "repeated", "sideless"]

_SIDES = {
    "r": "R", "right": "R", "od": "R", "re": "R", "0": "R",
    "l": "L", "left": "L", "os": "L", "le": "L", "1": "L",
}  # fmt: skip
_NUMBERED = ("0", "1")


def eye_of(case: Case) -> str:
    """Which eye a case shows: "R", "L", or "" where neither its table nor its header says.

    >>> eye_of(Case("a", "p", (), groups={"laterality": "OD"})), eye_of(Case("a", "p", ()))
    ('R', '')
    """
    said = (case.groups.get("laterality", "") or _header(case)).strip().casefold()
    return "" if said in _NUMBERED else _SIDES.get(said, "")


def sideless(cases: Sequence[Case]) -> tuple[Case, ...]:
    """The ophthalmic photographs that do not say which eye they show."""
    return tuple(c for c in cases if _is_photograph(c) and not eye_of(c))


def repeated(cases: Sequence[Case]) -> tuple[tuple[Case, ...], ...]:
    """The photographs of each eye that was photographed more than once on one day.

    The day is the study's date, or the study where none is known; photographs of unknown patients, sides and
    days are not compared.
    """
    held: dict[tuple[str, str, str], list[Case]] = {}
    for c in cases:
        day = (c.images[0].study_date or c.images[0].study) if c.images else ""
        side = eye_of(c)
        if _is_photograph(c) and c.patient_known and side and day:
            held.setdefault((c.patient, side, day), []).append(c)
    return tuple(tuple(group) for group in held.values() if len(group) > 1)


@CHECKS.register("eye side")
def missing_side(material: Material) -> list[Claim]:
    """Photographs without a side."""
    found = sideless(material.cases)
    if not found:
        return []
    n = sum(map(_is_photograph, material.cases))
    note = (
        f"{len(found)} of {n} photographs do not say which eye they show, so that nothing can be said by eye "
        "and an eye photographed twice goes unseen; correct Image Laterality (0020,0062), or add a column "
        '"laterality" (R or L) to the label table'
    )
    finding = Finding(
        "laterality_missing",
        value=float(len(found)),
        n=n,
        n_patients=len({c.patient for c in found}),
        level="warning",
        note=note,
    )
    return [Claim(finding)]


@CHECKS.register("eye twice")
def eyes_twice(material: Material) -> list[Claim]:
    """An eye photographed more than once on one day."""
    groups = repeated(material.cases)
    if not groups:
        return []
    most = Counter(map(len, groups)).most_common(1)[0][0]
    images = sum(map(len, groups))
    answers = sum(len({c.answer for c in group}) > 1 for group in groups)
    differ = f", {answers} of them with answers that differ" if answers else ""
    note = (
        f"{len(groups)} eye(s) were photographed more than once on one day ({images} photographs, mostly "
        f"{most} an eye{differ}), so that they count more than once; keep the best photograph of each eye, "
        "or name the fields they show"
    )
    finding = Finding(
        "eye_photographed_twice",
        value=float(len(groups)),
        n=images,
        n_patients=len({group[0].patient for group in groups}),
        level="warning",
        note=note,
    )
    return [Claim(finding)]


def _header(case: Case) -> str:
    return case.images[0].laterality if case.images else ""


def _is_photograph(case: Case) -> bool:
    modality = case.images[0].modality if case.images else case.groups.get("modality", "")
    return modality == "OP"
