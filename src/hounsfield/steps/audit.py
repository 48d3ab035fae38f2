"""Look at the data before any training: leakage, duplicates, shortcuts; an unsafe run is stopped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hounsfield.core.case import Case
from hounsfield.core.cohort import DEVELOPMENT, TEST, Cohort
from hounsfield.core.errors import GateRefused
from hounsfield.core.evidence import Finding
from hounsfield.steps.duplicates import Pair

__all__ = ["association", "audit", "link_pairs", "refuse_leakage"]

STRONG_ASSOCIATION = 0.3
CHAIN_LIMIT = 0.2


def audit(cohort: Cohort, pairs: Sequence[Pair]) -> tuple[Finding, ...]:
    """Findings about the cohort: patients, duplicates, label conflicts, groups that give the answer away."""
    return (
        _patients(cohort),
        _separation(cohort),
        *_duplicates(cohort, pairs),
        *_given_split(cohort, pairs),
        *_associations(cohort),
        *_missing(cohort),
    )


def refuse_leakage(cohort: Cohort, pairs: Sequence[Pair]) -> None:
    """Raise GateRefused where the same picture is to be learned from and tested on.

    Near-duplicates that chain a whole cohort together (see link_pairs) are left to the audit's warning,
    unless the split came with the data.
    """
    given = {c.id: TEST if c.given_part == "test" else DEVELOPMENT for c in cohort.cases}
    if TEST not in given.values() or given != dict(cohort.part):
        linked = set(link_pairs(pairs, cohort.cases))
        pairs = [p for p in pairs if (p.first, p.second) in linked]
    across = [p for p in pairs if cohort.part[p.first] != cohort.part[p.second]]
    if across:
        exact = sum(p.exact for p in across)
        raise GateRefused(
            f"{len(across)} image(s) of the test part stand in the training part too ({exact} exactly, "
            f"{len(across) - exact} nearly); the test would measure memory; remove them, or pass --resplit "
            "to split again with such pairs kept on one side"
        )


def association(cases: Sequence[Case], group: str) -> tuple[float, float, int]:
    """Cramér's V between a group column and the answer, corrected for bias (Bergsma 2013), with p and n.

    Counts patients, not images: each patient enters once, with its highest class.
    """
    from scipy.stats import chi2_contingency

    seen: dict[str, tuple[str, int]] = {}
    for c in cases:
        value = c.groups.get(group, "")
        if value and c.answer is not None:
            answer = max(c.answer.positive, default=-1)
            held = seen.get(c.patient)
            seen[c.patient] = (value, max(answer, held[1]) if held else answer)
    values = sorted({v for v, _ in seen.values()})
    answers = sorted({a for _, a in seen.values()})
    if len(values) < 2 or len(answers) < 2:
        return 0.0, 1.0, len(seen)
    table = np.zeros((len(values), len(answers)))
    for v, a in seen.values():
        table[values.index(v), answers.index(a)] += 1
    chi2, p, _, _ = chi2_contingency(table, correction=False)
    n, (r, k) = table.sum(), table.shape
    phi = max(0.0, chi2 / n - (k - 1) * (r - 1) / (n - 1))
    r_, k_ = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    return float(np.sqrt(phi / max(1e-12, min(k_ - 1, r_ - 1)))), float(p), int(n)


def _patients(cohort: Cohort) -> Finding:
    n = len({c.patient for c in cohort.cases})
    if cohort.patients_known:
        note = f"{len(cohort.cases)} images of {n} patients; the patient of every image is known"
        return Finding("patient_identity", n=len(cohort.cases), n_patients=n, note=note)
    unknown = sum(not c.patient_known for c in cohort.cases)
    note = (
        f"{unknown} of {len(cohort.cases)} images name no patient, so that separation by patient cannot be "
        "proved; if every image is of another patient, say so with --one-image-per-patient; otherwise give "
        "the patient column with --patient"
    )
    return Finding("patient_identity", n=len(cohort.cases), level="warning", note=note)


def _separation(cohort: Cohort) -> Finding:
    sides = [{c.patient for c in part} for part in (cohort.development, cohort.test)]
    shared = len(sides[0] & sides[1])
    parts = f"{len(sides[0])} patients in development, {len(sides[1])} in test"
    return Finding(
        "patients_in_both_parts",
        value=float(shared),
        n=len(cohort.cases),
        n_patients=len(sides[0] | sides[1]),
        level="stop" if shared else "info",
        note=f"{shared} patients stand on both sides ({parts}); folds are disjoint by patient too",
    )


def _duplicates(cohort: Cohort, pairs: Sequence[Pair]) -> list[Finding]:
    n = len(cohort.cases)
    exact = [p for p in pairs if p.exact]
    near = [p for p in pairs if not p.exact]
    by_id = {c.id: c for c in cohort.cases}
    conflicts = [p for p in pairs if by_id[p.first].answer != by_id[p.second].answer]
    other = [p for p in near if by_id[p.first].patient != by_id[p.second].patient]
    found = [
        Finding(
            "exact_duplicates",
            value=float(len(exact)),
            n=n,
            level="warning" if exact else "info",
            note=f"{len(exact)} pair(s) of images are equal in every pixel; {_kept(cohort, exact)}",
        ),
        Finding(
            "near_duplicates",
            value=float(len(near)),
            n=n,
            level="warning" if near else "info",
            note=f"{len(near)} pair(s) are the same picture but for recompression, scale, brightness or a "
            f"neighbouring frame; {len(other)} pair(s) bear different or unknown patients; "
            f"{_kept(cohort, near)}",
        ),
    ]
    if conflicts:
        found.append(
            Finding(
                "conflicting_labels",
                value=float(len(conflicts)),
                n=n,
                level="warning",
                note=f"{len(conflicts)} pair(s) of duplicate images bear different labels: "
                + ", ".join(f"{p.first} and {p.second}" for p in conflicts[:5])
                + ("…" if len(conflicts) > 5 else ""),
            )
        )
    return found


def _kept(cohort: Cohort, pairs: Sequence[Pair]) -> str:
    """Whether each pair stands in one part and one fold."""

    def side(case: str) -> tuple[str, int | None]:
        return cohort.part[case], cohort.fold.get(case)

    apart = sum(side(p.first) != side(p.second) for p in pairs)
    return f"{apart} of them stand in different parts or folds" if apart else "each pair was kept on one side"


def _given_split(cohort: Cohort, pairs: Sequence[Pair]) -> list[Finding]:
    given = {c.id: c.given_part for c in cohort.cases}
    if len(set(given.values()) - {""}) < 2:
        return []
    across = [p for p in pairs if given[p.first] != given[p.second]]
    exact = sum(p.exact for p in across)
    note = (
        f"the split that came with the data has {len(across)} pair(s) of the same picture in two parts "
        f"({exact} of them exact); {_kept(cohort, across)} here"
    )
    level = "warning" if across else "info"
    return [Finding("leakage_in_given_split", value=float(len(across)), n=len(given), level=level, note=note)]


def _associations(cohort: Cohort) -> list[Finding]:
    found = []
    for group in sorted({g for c in cohort.cases for g in c.groups}):
        v, p, n = association(cohort.cases, group)
        if n < 20 or p >= 0.01 or v < 0.1:
            continue
        strong = v >= STRONG_ASSOCIATION
        note = (
            f"{group} is associated with the answer (Cramér's V {v:.2f}, p "
            f"{'< .001' if p < 0.001 else f'= {p:.3f}'}, {n} patients); a model may learn {group} instead of "
            f"disease: compare the results by {group}"
        )
        level = "warning" if strong else "info"
        found.append(
            Finding(f"{group}_label_association", value=v, n=n, n_patients=n, level=level, note=note)
        )
    return found


def _missing(cohort: Cohort) -> list[Finding]:
    found = []
    n = len(cohort.cases)
    for group in ("sex", "age band", "site", "scanner"):
        absent = sum(not c.groups.get(group) for c in cohort.cases)
        if absent:
            share = "no" if absent == n else f"{n - absent} of {n}"
            note = f"{share} images name {group}; results by {group} speak only of these"
            found.append(Finding(f"missing_{group.replace(' ', '_')}", value=float(absent), n=n, note=note))
    return found


def link_pairs(pairs: Sequence[Pair], cases: Sequence[Case]) -> list[tuple[str, str]]:
    """Pairs to keep on one side; near-duplicates are dropped where they would chain a cohort together."""
    from hounsfield.steps.split import linked_units

    links = [(p.first, p.second) for p in pairs]
    largest = max((len(u) for u in linked_units(cases, links)), default=0)
    alone = max((len(u) for u in linked_units(cases)), default=0)
    if largest > max(alone, CHAIN_LIMIT * len(cases)):
        return [(p.first, p.second) for p in pairs if p.exact]
    return links
