"""Predicted masks tidied: only the largest component, no pieces below a size, no holes.

What is tidied is chosen structure by structure on validation cases, and only what clearly gains is kept: the
mean change of Dice over patients must be above 0 by a one-sided t-test at 5 %, so that neither one lucky
case nor chance decides. Where a structure is neither there nor predicted, its Dice counts as 1 here, so
that a false finding that goes is a gain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.core.model import Cleaning
from hounsfield.steps.segmentation.islands import boxes_of, components, counts, holes

__all__ = ["choose_cleaning", "cleaned"]

Labels = NDArray[Any]
Real = NDArray[np.float64]

_SIZES = 12  # thresholds that are tried: more would fit the validation cases and nothing else
_LEAST_GAIN = 1e-4  # of Dice: less is not seen in a report


def cleaned(labels: Labels, cleaning: Cleaning, *, spacing_mm: Sequence[float]) -> Labels:
    """The labels (K, J, I) tidied, as a new array; what goes becomes 0, and only what is 0 is filled.

    `spacing_mm` is along (k, j, i): ones where none is known.

    >>> row = np.array([[[1, 0, 1, 1, 2]]], np.uint8)
    >>> cleaned(row, Cleaning((True, False), (0, 0), (False, False)), spacing_mm=(1, 1, 1)).tolist()
    [[[0, 0, 1, 1, 2]]]
    """
    made = labels.copy()
    boxes = boxes_of(labels, len(cleaning.fill))
    voxel = float(np.prod(spacing_mm))
    for n, box in enumerate(boxes):
        if box is None or not (cleaning.largest_only[n] or cleaning.least_mm3[n] > 0):
            continue
        numbered, sizes = components(labels[box] == n + 1)
        keep = _kept(sizes, voxel, cleaning.largest_only[n], cleaning.least_mm3[n])
        made[box][~np.concatenate(([True], keep))[numbered]] = 0
    for n, fill in enumerate(cleaning.fill):
        box = boxes[n]
        if fill and box is not None:
            inside = made[box]
            inside[holes(inside == n + 1) & (inside == 0)] = n + 1
    return made


def _kept(sizes: NDArray[np.int64], voxel: float, largest: bool, least_mm3: float) -> NDArray[np.bool_]:
    keep = sizes * voxel >= least_mm3 * (1 - 1e-9)
    if largest and len(sizes):
        keep &= np.arange(len(sizes)) == sizes.argmax()
    return keep


def choose_cleaning(
    predicted: Sequence[Labels],
    reference: Sequence[Labels],
    *,
    structures: Sequence[str],
    spacings: Sequence[Sequence[float]],
    patients: Sequence[str],
    ignore: int = -1,
    outlined: Sequence[Collection[int]] = (),
) -> Cleaning:
    """What to tidy in masks like `predicted`, judged against `reference`: N validation cases (K, J, I).

    `structures` names the labels 1, 2, …; `spacings` are each case's in mm along (k, j, i). Voxels of the
    label `ignore` in the reference are not counted; `outlined` holds for each case the labels that its reader
    looked for (empty: all). Both sequences are read case by case, at most three times, and may load lazily.

    >>> truth = [np.array([[[1, 1, 1, 0, 0]]])] * 3
    >>> said = [np.array([[[1, 1, 1, 0, 1]]])] * 3
    >>> chosen = choose_cleaning(said, truth, structures=["hippocampus"], spacings=[(1, 1, 1)] * 3,
    ...                          patients=["a", "b", "c"])
    >>> chosen.largest_only, chosen.notes[0]
    ((True,), 'hippocampus: the largest component only: Dice 0.857 to 1.000 (+0.1429 ± 0.0000 over 3 \
patients): kept')
    """
    n = len(predicted)
    if not n == len(reference) == len(spacings) == len(patients) or (outlined and len(outlined) != n):
        raise BadInput(f"{n} predicted masks have another number of references, spacings or patients")
    names = tuple(structures)
    cases = _Cases(predicted, reference, tuple(spacings), tuple(patients), ignore, tuple(outlined))
    nothing = Cleaning((False,) * len(names), (0.0,) * len(names), (False,) * len(names))
    if len(set(patients)) < 2:
        why = "fewer than two patients to choose by: predicted masks are not tidied"
        return Cleaning(nothing.largest_only, nothing.least_mm3, nothing.fill, (why,))
    tables = _tables(cases, len(names))
    chosen = [
        _components_chosen(name, table, cases.patients) for name, table in zip(names, tables, strict=True)
    ]
    largest, least = (tuple(c[0] for c in chosen), tuple(c[1] for c in chosen))
    fill, said = _holes_chosen(names, cases, Cleaning(largest, least, nothing.fill))
    notes = tuple(note for (_, _, first), last in zip(chosen, said, strict=True) for note in (*first, last))
    return Cleaning(largest, least, fill, notes)


@dataclass(frozen=True, slots=True, eq=False)
class _Cases:
    predicted: Sequence[Labels]
    reference: Sequence[Labels]
    spacings: tuple[Sequence[float], ...]
    patients: tuple[str, ...]
    ignore: int
    outlined: tuple[Collection[int], ...]

    def __len__(self) -> int:
        return len(self.patients)

    def looked_for(self, case: int, label: int) -> bool:
        return not self.outlined or not self.outlined[case] or label in self.outlined[case]

    def pair(self, case: int) -> tuple[Labels, Labels]:
        said, truth = np.asarray(self.predicted[case]), np.asarray(self.reference[case])
        if said.shape != truth.shape:
            raise BadInput(
                f"validation case {case + 1} has a predicted mask of {said.shape} and a reference of "
                f"{truth.shape}; expected one grid"
            )
        return said, truth


@dataclass(frozen=True, slots=True, eq=False)
class _Components:
    """Of one structure in one case: each component's size in mm³, its counted voxels and its hits."""

    mm3: Real
    counted: NDArray[np.int64]
    hits: NDArray[np.int64]
    reference: int

    def dice(self, keep: NDArray[np.bool_]) -> float:
        return _dice(int(self.counted[keep].sum()), int(self.hits[keep].sum()), self.reference)


def _dice(counted: int, hits: int, reference: int) -> float:
    return 2 * hits / (counted + reference) if counted + reference else 1.0


def _tables(cases: _Cases, structures: int) -> list[list[_Components | None]]:
    """A row a case for each structure, None where nobody looked for it."""
    found: list[list[_Components | None]] = [[] for _ in range(structures)]
    for case in range(len(cases)):
        said, truth = cases.pair(case)
        totals = counts(truth, structures)
        voxel = float(np.prod(cases.spacings[case]))
        for n, box in enumerate(boxes_of(said, structures)):
            if not cases.looked_for(case, n + 1):
                found[n].append(None)
                continue
            if box is None:
                none = np.zeros(0, np.int64)
                found[n].append(_Components(_mm3(none, voxel), none, none, int(totals[n])))
                continue
            numbered, sizes = components(said[box] == n + 1)
            there = truth[box]
            counted, hits = (
                counts(np.where(where, numbered, 0), len(sizes))
                for where in (there != cases.ignore, there == n + 1)
            )
            found[n].append(_Components(_mm3(sizes, voxel), counted, hits, int(totals[n])))
    return found


def _mm3(sizes: NDArray[np.int64], voxel: float) -> Real:
    return np.asarray(sizes * voxel, np.float64)


Rule = tuple[bool, float]


def _components_chosen(
    name: str, table: Sequence[_Components | None], patients: Sequence[str]
) -> tuple[bool, float, tuple[str, ...]]:
    """Whether to keep the largest alone, the least size, and what was found: one change, then the other."""
    rules: list[list[Rule]] = [[(True, 0.0)], [(False, size) for size in _sizes(table)]]
    chosen: Rule = (False, 0.0)
    notes: list[str] = []
    trials = [_best(table, options, chosen, patients) for options in rules]
    first, second = (0, 1) if trials[0][1].mean >= trials[1][1].mean else (1, 0)
    for position, which in enumerate((first, second)):
        options = [(o[0] or chosen[0], o[1] or chosen[1]) for o in rules[which]]
        rule, gain = trials[which] if position == 0 else _best(table, options, chosen, patients)
        wording = "the largest component only" if which == 0 else f"components below {rule[1]:g} mm³ dropped"
        notes.append(
            f"{name}: {wording}: {gain.text}" if rules[which] else f"{name}: no component that hits nothing"
        )
        if gain.clear:
            chosen = rule
    return chosen[0], chosen[1], tuple(notes)


def _best(
    table: Sequence[_Components | None], options: Sequence[Rule], now: Rule, patients: Sequence[str]
) -> tuple[Rule, _Gain]:
    """The option that gains most over `now`; of equal ones the first, which changes least."""
    before = _scores(table, now)
    gains = [(rule, _gain(before, _scores(table, rule), patients)) for rule in options]
    return max(gains, key=lambda g: g[1].mean, default=(now, _gain(before, before, patients)))


def _scores(table: Sequence[_Components | None], rule: Rule) -> Real:
    """Dice of each case, not-a-number where nobody looked for the structure."""
    return np.array([np.nan if c is None else c.dice(_rows(c, *rule)) for c in table], np.float64)


def _rows(held: _Components, largest: bool, least_mm3: float) -> NDArray[np.bool_]:
    keep = held.mm3 >= least_mm3 * (1 - 1e-9)
    if largest and len(keep):
        keep &= np.arange(len(keep)) == held.mm3.argmax()
    return keep


def _sizes(table: Sequence[_Components | None]) -> list[float]:
    """Thresholds to try, rising: each just above some sizes of components that hit nothing."""
    false = [c.mm3[(c.hits == 0) & (c.counted > 0)] for c in table if c is not None]
    sizes = np.unique(np.concatenate(false)) if false else np.zeros(0)
    if not len(sizes):
        return []
    picked = np.geomspace(sizes[0], sizes[-1], _SIZES) if len(sizes) > _SIZES else sizes
    return list(dict.fromkeys(_above(float(size)) for size in picked))


def _above(size: float) -> float:
    """The next number of three figures above a size."""
    unit = 10.0 ** (np.floor(np.log10(size)) - 2)
    return float(f"{(np.floor(size / unit * (1 + 1e-9)) + 1) * unit:.3g}")


@dataclass(frozen=True, slots=True)
class _Gain:
    before: float
    after: float
    mean: float
    error: float
    patients: int

    @property
    def clear(self) -> bool:
        from scipy.special import stdtrit

        if self.patients < 2 or self.mean < _LEAST_GAIN:
            return False
        return bool(self.mean > stdtrit(self.patients - 1, 0.95) * self.error)

    @property
    def text(self) -> str:
        if self.patients < 2:
            return "fewer than two patients to choose by: left out"
        change = f"{self.mean:+.4f} ± {self.error:.4f} over {self.patients} patients"
        verdict = "kept" if self.clear else "left out"
        return f"Dice {self.before:.3f} to {self.after:.3f} ({change}): {verdict}"


def _gain(before: Real, after: Real, patients: Sequence[str]) -> _Gain:
    """The mean over patients of the change of Dice, and its standard error."""
    there = np.isfinite(before)
    if not there.any():
        return _Gain(np.nan, np.nan, 0.0, 0.0, 0)
    _, of = np.unique(np.array(patients)[there], return_inverse=True)
    counts = np.bincount(of)
    one, two = (np.bincount(of, values[there]) / counts for values in (before, after))
    n = len(counts)
    change = np.round(two - one, 12)  # what is the same everywhere has no spread
    error = float(np.std(change, ddof=1) / np.sqrt(n)) if n > 1 else np.inf
    return _Gain(float(one.mean()), float(two.mean()), float(change.mean()), error, n)


def _holes_chosen(
    names: Sequence[str], cases: _Cases, removal: Cleaning
) -> tuple[tuple[bool, ...], tuple[str, ...]]:
    """Which structures' holes are filled once pieces are gone."""
    scores = np.full((2, len(names), len(cases)), np.nan)
    for case, said, truth in _tidied(cases, removal):
        totals = counts(truth, len(names))
        for n, box in enumerate(boxes_of(said, len(names))):
            if not cases.looked_for(case, n + 1):
                continue
            if box is None:
                scores[:, n, case] = _dice(0, 0, int(totals[n]))
                continue
            inside, there = said[box], truth[box]
            mask = inside == n + 1
            filled = mask | (holes(mask) & (inside == 0))
            for stage, drawn in enumerate((mask, filled)):
                counted = int(np.count_nonzero(drawn & (there != cases.ignore)))
                hits = int(np.count_nonzero(drawn & (there == n + 1)))
                scores[stage, n, case] = _dice(counted, hits, int(totals[n]))
    gains = [_gain(scores[0, n], scores[1, n], cases.patients) for n in range(len(names))]
    notes = tuple(f"{name}: holes filled: {gain.text}" for name, gain in zip(names, gains, strict=True))
    return tuple(g.clear for g in gains), notes


def _tidied(cases: _Cases, removal: Cleaning) -> Iterator[tuple[int, Labels, Labels]]:
    for case in range(len(cases)):
        said, truth = cases.pair(case)
        yield case, cleaned(said, removal, spacing_mm=cases.spacings[case]), truth
