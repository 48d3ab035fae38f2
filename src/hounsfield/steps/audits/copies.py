"""The same picture twice: copies within and across the parts, and copies whose labels contradict each
other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hounsfield.core.case import Case
from hounsfield.core.cohort import DEVELOPMENT, TEST, Cohort
from hounsfield.core.evidence import Finding
from hounsfield.steps.audits.contract import CHECKS, Claim, Material
from hounsfield.steps.duplicates import Pair

__all__ = ["conflicting", "conflicts", "duplicates", "given_split", "leaking_pairs", "link_pairs"]

SHOWN = 5
CHAIN_LIMIT = 0.2


def link_pairs(pairs: Sequence[Pair], cases: Sequence[Case]) -> list[tuple[str, str]]:
    """Pairs to keep on one side; near-duplicates are dropped where they would chain a cohort together."""
    from hounsfield.steps.split import linked_units

    links = [(p.first, p.second) for p in pairs]
    largest = max((len(u) for u in linked_units(cases, links)), default=0)
    alone = max((len(u) for u in linked_units(cases)), default=0)
    if largest > max(alone, CHAIN_LIMIT * len(cases)):
        return [(p.first, p.second) for p in pairs if p.exact]
    return links


def leaking_pairs(cohort: Cohort, pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs of which one is to be learned from and the other tested on.

    Near-duplicates that chain a whole cohort together (see link_pairs) are left out, unless the split came
    with the data.
    """
    given = {c.id: TEST if c.given_part == "test" else DEVELOPMENT for c in cohort.cases}
    across = [p for p in pairs if cohort.part[p.first] != cohort.part[p.second]]
    if across and (TEST not in given.values() or given != dict(cohort.part)):
        linked = set(link_pairs(pairs, cohort.cases))
        across = [p for p in across if (p.first, p.second) in linked]
    return across


@CHECKS.register("duplicates")
def duplicates(material: Material) -> list[Claim]:
    """Exact and near-duplicate images; copies of another patient's image are leaks of identity or of the
    label.
    """
    cohort, n = material.cohort, len(material.cases)
    exact = [p for p in material.pairs if p.exact]
    near = [p for p in material.pairs if not p.exact]
    patient = {c.id: (c.patient, c.patient_known) for c in material.cases}
    other = [p for p in near if patient[p.first][0] != patient[p.second][0]]
    kinds = Counter(_kind(p) for p in near)
    how = f" ({', '.join(f'{k} {words}' for words, k in kinds.most_common(6))})" if near else ""
    harmless = not other and _apart(cohort, near) == 0
    note = (
        "no two images seem to be the same picture in another form"
        if not near
        else (
            f"{len(near)} pair(s) are the same picture but for recompression, scale, brightness, "
            f"orientation, a crop or a neighbouring frame{how}; {len(other)} pair(s) bear different or "
            f"unknown patients; {_kept(cohort, near)}"
        )
    )
    equal = (
        "no two images are equal in every pixel"
        if not exact
        else f"{len(exact)} pair(s) of images are equal in every pixel{_named(exact)}; {_kept(cohort, exact)}"
    )
    found = [
        Finding(
            "exact_duplicates",
            value=float(len(exact)),
            n=n,
            level=_level(cohort, exact, material.pairs),
            note=equal,
        ),
        Finding(
            "near_duplicates",
            value=float(len(near)),
            n=n,
            level="info" if harmless else _level(cohort, near, material.pairs),
            note=note + _named(near),
        ),
    ]
    return [Claim(f) for f in found]


def conflicting(material: Material) -> list[Pair]:
    """Pairs of the same picture that bear different labels; a slice may differ from its volume."""
    answer = {c.id: c.answer for c in material.cases}
    return [p for p in material.pairs if answer[p.first] != answer[p.second] and not _is_slice(p)]


def _is_slice(pair: Pair) -> bool:
    return "of a volume" in pair.how


@CHECKS.register("conflicting labels")
def conflicts(material: Material) -> list[Claim]:
    """Duplicates that bear different labels: one of the two is wrong."""
    found = conflicting(material)
    if not found:
        return []
    listed = ", ".join(f"{p.first} and {p.second}" for p in found[:SHOWN])
    note = (
        f"{len(found)} pair(s) of duplicate images bear different labels: "
        f"{listed}{'…' if len(found) > SHOWN else ''}; one of each is probably wrong: look at both, "
        "and correct one or remove both"
    )
    level = "warning"
    return [
        Claim(
            Finding(
                "conflicting_labels", value=float(len(found)), n=len(material.cases), level=level, note=note
            )
        )
    ]


@CHECKS.register("leakage in the given split")
def given_split(material: Material) -> list[Claim]:
    """Copies across the parts that the data came with."""
    given = {c.id: c.given_part for c in material.cases}
    if len(set(given.values()) - {""}) < 2:
        return []
    across = [p for p in material.pairs if given[p.first] != given[p.second]]
    exact, n = sum(p.exact for p in across), len(given)
    images = _images_across(across, given)
    told = ", ".join(f"{k} of {later} in {earlier}" for (earlier, later), k in images.items())
    note = (
        f"the split that came with the data has {sum(images.values())} image(s) of one part in another too"
        f"{f' ({told})' if told else ''}: {len(across)} pair(s) of the same picture in two parts "
        f"({exact} of them exact); {_kept(material.cohort, across)} here"
    )
    level = "warning" if across else "info"
    value = float(sum(images.values()))
    return [Claim(Finding("leakage_in_given_split", value=value, n=n, level=level, note=note))]


def _images_across(pairs: Sequence[Pair], given: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """For each two parts, how many images of the later stand in the earlier too; train comes first."""
    seen: dict[tuple[str, str], set[str]] = {}
    for p in pairs:
        (earlier, _), (later, case) = sorted(
            ((given[c], c) for c in (p.first, p.second)), key=lambda x: (x[0] != "train", x[0] == "test", x)
        )
        seen.setdefault((earlier, later), set()).add(case)
    return {parts: len(cases) for parts, cases in seen.items()}


def _level(cohort: Cohort, pairs: Sequence[Pair], every: Sequence[Pair]) -> str:
    leaking = {(p.first, p.second) for p in leaking_pairs(cohort, every)}
    if any((p.first, p.second) in leaking for p in pairs):
        return "stop"
    return "warning" if pairs else "info"


def _kind(pair: Pair) -> str:
    if _is_slice(pair):
        return "a slice of a volume"
    return pair.how or "in the same frame"


def _named(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return ""
    return (
        ": "
        + ", ".join(f"{p.first} and {p.second}" for p in pairs[:SHOWN])
        + ("…" if len(pairs) > SHOWN else "")
    )


def _apart(cohort: Cohort, pairs: Sequence[Pair]) -> int:
    """How many pairs stand in different parts or folds."""

    def side(case: str) -> tuple[str, int | None]:
        return cohort.part[case], cohort.fold.get(case)

    return sum(side(p.first) != side(p.second) for p in pairs)


def _kept(cohort: Cohort, pairs: Sequence[Pair]) -> str:
    """Whether each pair stands in one part and one fold."""
    apart = _apart(cohort, pairs)
    return f"{apart} of them stand in different parts or folds" if apart else "each pair was kept on one side"
