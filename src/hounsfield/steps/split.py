"""Split by patient, stratified by class, seeded: one patient, and one image, stands on one side only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.redact import listed, looks_like_ids

__all__ = [
    "assign_folds",
    "class_counts",
    "fill_gaps",
    "hold_back",
    "linked_units",
    "require_enough",
    "stratified_bins",
]

MOST_MOVES = 2_000


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
    """The fold of each case: no fold is empty, and every class stands in every fold.

    Raises BadInput where a class has fewer patients, or fewer groups of linked patients, than there are
    folds, and where patients with several classes leave no such split.
    """
    require_enough(cases, encoding, folds=folds, links=links)
    units = linked_units(cases, links)
    counts = class_counts(cases, units, len(encoding.classes))
    rng = np.random.default_rng([seed, folds, 0xF01D])
    bins = stratified_bins(counts, (1.0,) * folds, rng)
    bins = fill_gaps(bins, counts, np.ones((folds, counts.shape[1]), np.int64), rng)
    return {cases[k].id: int(b) for unit, b in zip(units, bins, strict=True) for k in unit}


def hold_back(
    cases: Sequence[Case],
    encoding: LabelEncoding,
    *,
    share: float,
    folds: int,
    seed: int,
    links: Sequence[tuple[str, str]] = (),
) -> set[str]:
    """The ids of the cases of a test part: about `share` of each class, at least one patient of each.

    Raises BadInput where what is left of a class would not fill the folds.
    """
    require_enough(cases, encoding, folds=folds, links=links, share=share)
    units = linked_units(cases, links)
    counts = class_counts(cases, units, len(encoding.classes))
    rng = np.random.default_rng([seed, 0x7E57])
    bins = stratified_bins(counts, (1 - share, share), rng)
    least = np.repeat([[folds], [1]], counts.shape[1], 1)
    bins = fill_gaps(bins, counts, least, rng)
    return {cases[k].id for unit, b in zip(units, bins, strict=True) if b for k in unit}


def fill_gaps(
    bins: NDArray[np.int64], counts: NDArray[np.float64], least: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Move units (U,) between bins until each bin holds `least` (bins, C) units of each class.

    Each step moves the unit that closes most gaps and opens fewest, out of the fullest bin. Raises
    BadInput where the gaps stay.

    >>> counts, least = np.eye(2)[[0, 0, 1, 1]], np.ones((2, 2), int)
    >>> fill_gaps(np.array([0, 0, 0, 1]), counts, least, np.random.default_rng(0)).tolist()[2:]
    [0, 1]
    """
    bins = bins.copy()
    holds = counts.astype(np.bool_)
    have = np.zeros(least.shape, np.int64)
    np.add.at(have, bins, holds)
    for _ in range(MOST_MOVES):
        gaps = np.argwhere(have < least)
        if not len(gaps):
            return bins
        to, lacking = gaps[rng.integers(len(gaps))]
        units = np.flatnonzero(holds[:, lacking] & (bins != to))
        if not len(units):
            break
        opened = (holds[units] & (have[bins[units]] <= least[bins[units]])).sum(1)
        closed = (holds[units] & (have[to] < least[to])).sum(1)
        fullness = have[bins[units], -1] - counts[units, -1]
        gain: NDArray[np.float64] = np.asarray(closed - opened + 1e-9 * fullness, np.float64)
        unit = int(rng.choice(units[np.flatnonzero(gain == gain.max())]))
        have[bins[unit]] -= holds[unit]
        have[to] += holds[unit]
        bins[unit] = to
    short = len(set(np.argwhere(have < least)[:, 1].tolist()) - {least.shape[1] - 1})
    raise BadInput(
        f"no split was found: of {len(bins)} groups of patients that must stay together, some hold several "
        f"classes, and {short} class(es) would be missing in one of {len(least)} parts; use fewer folds "
        "(validation.folds=2 is the least), or leave rare classes out with --classes"
    )


def require_enough(
    cases: Sequence[Case],
    encoding: LabelEncoding,
    *,
    folds: int,
    links: Sequence[tuple[str, str]] = (),
    share: float = 0.0,
) -> None:
    """Refuse a class that cannot be in every fold, and a cohort with one class only.

    What counts is the groups that stay together: patients, joined where `links` name duplicates. A
    `share` is held back first as a test part, of which each class needs a patient too.
    """
    patients = _units_of_classes(cases, linked_units(cases), encoding)
    groups = _units_of_classes(cases, linked_units(cases, links), encoding) if links else patients
    present = np.flatnonzero(patients)
    if encoding.kind != "multilabel" and len(present) < 2:
        only = encoding.classes[present[0]] if len(present) else "none"
        raise BadInput(
            f'all cases have one class only ("{only}"); expected at least two; check the target column'
        )
    scarce = np.flatnonzero(groups - bool(share) < folds)
    if not len(scarce):
        return
    ids = looks_like_ids(len(present), len(cases))
    names = [listed([encoding.classes[k]], ids=ids) for k in scarce[:8]]
    kept = ",".join(c for k, c in enumerate(encoding.classes) if k not in scarce)
    mend = (
        f"leave such classes out with --classes {listed([kept], ids=ids) if kept else 'A,B'}, set one class "
        "against the rest with --positive CLASS, or use fewer folds (validation.folds=2 is the least)"
    )
    raise BadInput(f"{_too_few(names, patients[scarce], groups[scarce], folds, share)}; {mend}")


def _units_of_classes(
    cases: Sequence[Case], units: Sequence[Sequence[int]], encoding: LabelEncoding
) -> NDArray[np.int64]:
    """How many of the units hold each class."""
    counts = class_counts(cases, units, len(encoding.classes))[:, :-1]
    return np.asarray(np.count_nonzero(counts, axis=0), np.int64)


def _too_few(
    names: Sequence[str],
    patients: NDArray[np.int64],
    groups: NDArray[np.int64],
    folds: int,
    share: float,
) -> str:
    """In words why classes do not fill the folds: too few patients, joined duplicates, or the test part."""
    if (patients < folds).any():
        least = ", ".join(f"{name} {n}" for name, n in zip(names, patients, strict=False) if n < folds)
        return f"a class has fewer patients than the {folds} folds ({least})"
    if (groups < folds).any():
        joined = ", ".join(
            f"{name} {n} patients, {g} groups"
            for name, n, g in zip(names, patients, groups, strict=False)
            if g < folds
        )
        return (
            "duplicate images join patients into groups that must stay together, and a class has fewer "
            f"groups than the {folds} folds ({joined})"
        )
    left = ", ".join(f"{name} {n} patients, {n - 1} left" for name, n in zip(names, groups, strict=False))
    return (
        f"holding back {share:.0%} of the patients as a test part leaves a class fewer patients than the "
        f"{folds} folds ({left})"
    )
