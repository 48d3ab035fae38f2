"""Split by patient, stratified by class, seeded: one patient, and one image, stands on one side only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.errors import BadInput

__all__ = ["assign_folds", "linked_units", "stratified_bins"]


def linked_units(cases: Sequence[Case], links: Sequence[tuple[str, str]] = ()) -> list[list[int]]:
    """Cases that must stay together: the same patient, or linked as duplicates (pairs of case ids).

    >>> a, b, c = (Case(i, p, ()) for i, p in (("1", "p"), ("2", "q"), ("3", "q")))
    >>> linked_units([a, b, c]), linked_units([a, b, c], [("1", "3")])
    ([[0], [1, 2]], [[0, 1, 2]])
    """
    root = list(range(len(cases)))

    def find(k: int) -> int:
        while root[k] != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    position = {case.id: k for k, case in enumerate(cases)}
    first: dict[str, int] = {}
    pairs = [(first.setdefault(case.patient, k), k) for k, case in enumerate(cases)]
    pairs += [(position[a], position[b]) for a, b in links if a in position and b in position]
    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        root[high] = low
    units: dict[int, list[int]] = {}
    for k in range(len(cases)):
        units.setdefault(find(k), []).append(k)
    return list(units.values())


def stratified_bins(
    counts: NDArray[np.float64], shares: Sequence[float], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deal units with class counts (U, C) into bins of the given shares, each bin alike in classes.

    Rare classes and large units are dealt first; each unit goes where its classes are missed most
    (iterative stratification, Sechidis 2011). Returns the bin of each unit.

    >>> bins = stratified_bins(np.eye(2)[[0, 1] * 10], (.5, .5), np.random.default_rng(0))
    >>> [int(np.eye(2)[[0, 1] * 10][bins == b].sum(0)[0]) for b in (0, 1)]
    [5, 5]
    """
    share = np.asarray(shares, float) / np.sum(shares)
    wanted = share[:, None] * counts.sum(0)[None, :]
    weight = 1.0 / np.maximum(counts.sum(0), 1.0)
    order = rng.permutation(len(counts))
    rarity = (counts * weight).max(1) if counts.size else np.zeros(0)
    order = order[np.argsort(-rarity[order], kind="stable")]
    bins = np.zeros(len(counts), np.int64)
    for unit in order:
        # How far each bin still is from its share of this unit's classes, relative to that share.
        need = ((wanted * weight / share[:, None]) * counts[unit]).sum(1)
        size_need = (wanted.sum(1) / share) * 1e-9
        best = np.flatnonzero(np.isclose(need + size_need, (need + size_need).max(), rtol=0, atol=1e-12))
        choice = int(rng.choice(best))
        bins[unit] = choice
        wanted[choice] -= counts[unit]
    return bins


def class_counts(cases: Sequence[Case], units: Sequence[Sequence[int]], classes: int) -> NDArray[np.float64]:
    """Per unit, how many of its cases hold each class, with a last column that counts cases: (U, C + 1)."""
    table = np.zeros((len(units), classes + 1))
    for u, members in enumerate(units):
        for k in members:
            answer = cases[k].answer
            table[u, classes] += 1
            for c in answer.positive if answer else ():
                table[u, c] += 1
    return table


def assign_folds(
    cases: Sequence[Case],
    encoding: LabelEncoding,
    *,
    folds: int,
    seed: int,
    links: Sequence[tuple[str, str]] = (),
) -> dict[str, int]:
    """The fold of each case; BadInput where a class has fewer patients than there are folds."""
    require_enough(cases, encoding, folds=folds)
    units = linked_units(cases, links)
    counts = class_counts(cases, units, len(encoding.classes))
    bins = stratified_bins(counts, (1.0,) * folds, np.random.default_rng([seed, folds, 0xF01D]))
    fold: dict[str, int] = {}
    for unit, b in zip(units, bins, strict=True):
        fold.update({cases[k].id: int(b) for k in unit})
    return fold


def require_enough(cases: Sequence[Case], encoding: LabelEncoding, *, folds: int) -> None:
    """Refuse a class that cannot be in every fold, and a cohort with one class only."""
    patients: Mapping[int, set[str]] = {k: set() for k in range(len(encoding.classes))}
    for case in cases:
        for k in case.answer.positive if case.answer else ():
            patients[k].add(case.patient)
    present = [k for k, who in patients.items() if who]
    if encoding.kind != "multilabel" and len(present) < 2:
        only = encoding.classes[present[0]] if present else "none"
        raise BadInput(
            f'all cases have one class only ("{only}"); expected at least two; check the target column'
        )
    scarce = {encoding.classes[k]: len(who) for k, who in patients.items() if len(who) < folds}
    if scarce:
        listed = ", ".join(f'"{name}" {n}' for name, n in list(scarce.items())[:8])
        keep = ",".join(encoding.classes[k] for k, who in patients.items() if len(who) >= folds)
        raise BadInput(
            f"a class has fewer patients than the {folds} folds ({listed}); leave such classes out with "
            f'--classes "{keep}", set one class against the rest with --positive CLASS, '
            "or use fewer folds (validation.folds=2 is the least)"
        )
