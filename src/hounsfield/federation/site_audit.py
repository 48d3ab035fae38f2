"""A simulation looks at its data as `hu train` does: each site's own audit, the same audit of all sites
together, and what no site can see: a patient or a picture that stands at two of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hounsfield.core.case import Case
from hounsfield.core.cohort import Cohort
from hounsfield.core.evidence import Finding
from hounsfield.federation.site_cases import SITE, SiteCases
from hounsfield.steps.audit import audit
from hounsfield.steps.duplicates import Pair, duplicate_pairs
from hounsfield.steps.duplicates import together as marks_together

__all__ = ["audited"]

_SHOWN = 5


def audited(sites: Sequence[SiteCases], cohort: Cohort, *, moved: int = 0) -> tuple[Finding, ...]:
    """What stands at two sites, what warns at one (group "site=NAME"), and the audit of all together.

    `cohort` is that of `site_cases.together` of the same sites in the same order. `moved` patients had images
    at several sites and were put to the one with most. Nothing stops: the run goes on, and its report warns.
    """
    marks = marks_together(
        [
            replace(site.marks, ids=tuple(f"{number}-{key}" for key in site.marks.ids))
            for number, site in enumerate(sites, 1)
        ]
    )
    pairs = duplicate_pairs(marks)
    whole = audit(cohort, pairs, marks=marks)
    return (
        _patients(sites, moved),
        _pictures(cohort, pairs),
        *(_of(site.name, f) for site in sites for f in site.findings if f.level != "info"),
        *(replace(f, level="warning") if f.level == "stop" else f for f in whole),
    )


def _patients(sites: Sequence[SiteCases], moved: int) -> Finding:
    """Known patients at two sites, by their ids; none of them is named."""
    parts: dict[str, list[set[str]]] = {}
    for site in sites:
        here: dict[str, set[str]] = {}
        for case in site.cohort.cases:
            if _is_named(case):
                here.setdefault(case.patient, set()).add(site.cohort.part[case.id])
        for patient, found in here.items():
            parts.setdefault(patient, []).append(found)
    shared = [found for found in parts.values() if len(found) > 1]
    across = sum(len(set.union(*found)) > 1 for found in shared)
    n = len(parts) + moved
    said = []
    if shared:
        said.append(
            f"{len(shared)} patient id(s) stand at two sites or more; if they are the same people, {across} "
            "of them are learned from at one site and tested at another, and the federated and pooled "
            "numbers are too good; if each site counts its own patients, give them ids that differ"
        )
    if moved:
        said.append(
            f"{moved} patient(s) have images at several sites; all of theirs were put to the site with most, "
            "which hospitals that do not know of each other cannot do"
        )
    note = "; ".join(said) or "no patient id stands at two sites"
    level = "warning" if said else "info"
    return Finding("patients_at_two_sites", value=float(len(shared) + moved), n=n, level=level, note=note)


def _is_named(case: Case) -> bool:
    """Whether the patient was named, and not made of the image's own id."""
    return case.patient_known and not case.patient.startswith(("image ", "study "))


def _pictures(cohort: Cohort, pairs: Sequence[Pair]) -> Finding:
    """The same picture at two sites; the worst are learned from at one and tested at the other."""
    where = {case.id: case.groups[SITE] for case in cohort.cases}
    across = [p for p in pairs if where[p.first] != where[p.second]]
    leaks = sum(cohort.part[p.first] != cohort.part[p.second] for p in across)
    note, n = "no two sites hold the same picture", len(cohort.cases)
    if across:
        between = Counter(" and ".join(sorted((where[p.first], where[p.second]))) for p in across)
        told = ", ".join(f"{k} at {names}" for names, k in between.most_common(_SHOWN))
        named = ", ".join(f"{p.first} and {p.second}" for p in across[:_SHOWN])
        note = (
            f"{len(across)} pair(s) of the same picture stand at two sites ({told}; "
            f"{sum(p.exact for p in across)} equal in every pixel): {named}"
            f"{'…' if len(across) > _SHOWN else ''}; {leaks} of them are learned from at one site and tested "
            "at the other, where the federated and pooled numbers measure memory and the gain is overstated; "
            "take them out, and simulate again"
        )
    level = "warning" if across else "info"
    return Finding("pictures_at_two_sites", value=float(len(across)), n=n, level=level, note=note)


def _of(site: str, finding: Finding) -> Finding:
    group = f"site={site}, {finding.group}" if finding.group else f"site={site}"
    return replace(finding, group=group)
