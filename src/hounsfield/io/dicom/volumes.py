"""What tells apart the volumes that lie in the same place: echoes, b-values, time points, Dixon images.

A partition of slices into volumes counts only if no two slices of a volume share a position. It is
looked for in four steps, and where none gives an answer the slices stay refused:

1. elements whose values part the slices into complete volumes: one element, else two, up to four of them;
2. the same where some volumes are shorter, but their number is that of the slices at one position;
3. the rank of trigger or acquisition time at each position, where a value differs from slice to slice;
4. blocks of instance numbers, where the numbers run through every copy in one way only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.dicom.geometry import Stacked, normal_of, places_of, stacked, tolerance_mm

__all__ = ["Laid", "Part", "Separator", "laid_out", "separated"]

Whole = NDArray[np.int64]
_MOST_TOGETHER = 4
_FEWEST_SLICES = 2  # of a volume that is shorter than the others
_FEWEST_APART = 3  # of a stack beside others: any two slices are evenly spaced
_APART = ("acquisition", "stack")  # elements that say which slices at different heights belong together


@dataclass(frozen=True, slots=True)
class Separator:
    """An element by which volumes may differ: a code a slice, and the words for each code.

    A separator with `ranks` differs from slice to slice, as times do: where its values part nothing,
    their rank (N,) among the slices at one position may.
    """

    name: str
    codes: Whole
    words: tuple[str, ...]
    ranks: NDArray[np.float64] | None = None

    @property
    def varies(self) -> bool:
        return bool(self.codes.size and (self.codes != self.codes[0]).any())

    def of(self, slices: Whole) -> Separator:
        """The same element of some of the slices."""
        ranks = None if self.ranks is None else self.ranks[slices]
        return replace(self, codes=self.codes[slices], ranks=ranks)


@dataclass(frozen=True, slots=True)
class Part:
    """The slices of one volume, by number, and in words what it is ("echo 2")."""

    slices: Whole
    words: str


@dataclass(frozen=True, slots=True)
class Laid:
    """One volume: its slices in order along the normal, how they stack, and what it is; or its fault."""

    slices: Whole
    stack: Stacked
    words: str = ""


def laid_out(
    positions_mm: NDArray[np.float64],
    orientation: NDArray[np.float64],
    separators: Callable[[], list[Separator]],
    *,
    more: Callable[[], list[Separator]] = list,
    instances: Whole | None = None,
    noun: str = "slices",
) -> list[Laid]:
    """The volumes that parallel slices (N, 3) make.

    `separators` are asked only where the slices are not one regular stack, and `more` of them (which are
    dearer to read) only where those do not tell.
    """
    whole = stacked(positions_mm, orientation, noun=noun)
    if not whole.fault:
        return [Laid(np.array(whole.order), whole)]
    places = places_of(positions_mm, orientation)
    known = separators()

    def laid(part: Part) -> Laid:
        stack = stacked(positions_mm[part.slices], orientation, noun=noun)
        return Laid(part.slices[np.array(stack.order)], stack, part.words)

    def regular(slices: Whole) -> bool:
        return not stacked(positions_mm[slices], orientation).fault

    if np.unique(places).size == places.size:
        parts = _side_by_side(positions_mm, orientation, known)
        return [laid(p) for p in parts] or [Laid(np.array(whole.order), whole)]
    parts = separated(places, known, regular=regular, last_resort=False)
    if not parts:
        parts = separated(places, [*known, *more()], instances=instances, regular=regular)
    return [laid(p) for p in parts] or [Laid(np.array(whole.order), whole)]


def _side_by_side(
    positions_mm: NDArray[np.float64], orientation: NDArray[np.float64], separators: Sequence[Separator]
) -> list[Part]:
    """Stacks that are regular only each by itself, as two acquisitions with a gap between; [] if not so.

    Where two of them continue each other, the gap elsewhere is one of missing slices.
    """
    along = positions_mm @ normal_of(orientation)
    for separator in separators:
        if separator.name not in _APART or not separator.varies:
            continue
        parts = _parted(separator.codes, (separator,))
        stacks = [stacked(positions_mm[p.slices], orientation) for p in parts]
        if min(p.slices.size for p in parts) < _FEWEST_APART or any(s.fault for s in stacks):
            continue
        steps = [float(np.ptp(along[p.slices])) / (p.slices.size - 1) for p in parts]
        ends = sorted(
            (along[p.slices].min(), along[p.slices].max(), d) for p, d in zip(parts, steps, strict=True)
        )
        joins = [
            abs(low - high - step) <= 2 * tolerance_mm(step) and abs(step - other) <= 2 * tolerance_mm(step)
            for (_, high, step), (low, _, other) in pairwise(ends)
        ]
        if not any(joins):
            return parts
    return []


def separated(
    places: Whole,
    separators: Sequence[Separator],
    *,
    instances: Whole | None = None,
    regular: Callable[[Whole], bool],
    last_resort: bool = True,
) -> list[Part]:
    """Part slices, of which some share a place (a number each), into volumes; [] if nothing tells.

    >>> echo = Separator("echo", np.array([0, 1, 0, 1]), ("echo 1", "echo 2"))
    >>> parts = separated(np.array([0, 0, 1, 1]), [echo], regular=lambda slices: True)
    >>> [(p.words, p.slices.tolist()) for p in parts]
    [('echo 1', [0, 2]), ('echo 2', [1, 3])]
    """
    copies = int(np.bincount(places).max())
    useful = [s for s in separators if s.varies]
    # more values than slices at one position cannot part volumes, alone or with others
    exact = [s for s in useful if np.unique(s.codes).size <= copies]
    if found := _by_values(places, exact, regular):
        return found
    if not last_resort:
        return []
    for chosen in _choices(exact, least=0):
        together = _together(places.size, chosen)
        if np.unique(together).size > copies:
            continue
        parts = _parted(together, chosen)
        if not all(_even(places[p.slices]) for p in parts):
            continue
        cuts = [
            partial(_by_rank, places, s)
            for s in useful
            if s.ranks is not None and all(s is not c for c in chosen)
        ]
        if instances is not None:
            cuts.append(partial(_by_instances, places, instances))
        for cut in cuts:
            if found := _each(parts, cut):
                return found
    return []


def _by_values(
    places: Whole, separators: Sequence[Separator], regular: Callable[[Whole], bool]
) -> list[Part]:
    """The first choice of elements, fewest first, whose values give complete volumes, else regular ones."""
    positions = int(places.max()) + 1
    copies = int(np.bincount(places).max())
    shorter: list[Part] = []
    for chosen in _choices(separators, least=1):
        together = _together(places.size, chosen)
        volumes, volume = np.unique(together, return_inverse=True)
        # as many volumes as slices at one position, and none with two slices at one
        if volumes.size != copies or np.unique(volume * positions + places).size < places.size:
            continue
        parts = _parted(together, chosen)
        sizes = {p.slices.size for p in parts}
        if sizes == {positions}:
            return parts
        if not shorter and min(sizes) >= _FEWEST_SLICES and all(regular(p.slices) for p in parts):
            shorter = parts
    return shorter


def _choices(separators: Sequence[Separator], *, least: int) -> Iterator[tuple[Separator, ...]]:
    for many in range(least, min(len(separators), _MOST_TOGETHER) + 1):
        yield from combinations(separators, many)


def _together(slices: int, chosen: Sequence[Separator]) -> Whole:
    """One number a slice for its values of several elements."""
    together = np.zeros(slices, np.int64)
    for separator in chosen:
        together = together * (int(separator.codes.max()) + 2) + separator.codes + 1
    return together


def _parted(together: Whole, chosen: Sequence[Separator]) -> list[Part]:
    """One part for every combination of values, in the order of their codes."""
    order = np.argsort(together, kind="stable")
    parts = []
    for slices in np.split(order, np.flatnonzero(np.diff(together[order])) + 1):
        words = [_words(s, int(s.codes[slices[0]])) for s in chosen]
        parts.append(Part(slices, ", ".join(words)))
    return parts


def _words(separator: Separator, code: int) -> str:
    return separator.words[code] if code >= 0 else f"no {separator.name}"


def _even(places: Whole) -> bool:
    counts = np.unique(places, return_counts=True)[1]
    return bool((counts == counts[0]).all())


def _each(parts: Sequence[Part], cut: Callable[[Part], list[Part]]) -> list[Part]:
    """Every part cut further, [] where one that needs it cannot be."""
    found: list[Part] = []
    for part in parts:
        pieces = cut(part)
        if not pieces:
            return []
        found += pieces
    return found if len(found) > 1 else []


def _joined(first: str, second: str) -> str:
    return ", ".join(words for words in (first, second) if words)


def _by_rank(places: Whole, separator: Separator, part: Part) -> list[Part]:
    """The n-th value at every position makes volume n, if the values at a position differ."""
    here = places[part.slices]
    positions = np.unique(here).size
    copies = here.size // positions
    if copies == 1:
        return [part]
    values = np.full(here.size, np.nan) if separator.ranks is None else separator.ranks[part.slices]
    if not np.isfinite(values).all():
        return []
    order = np.lexsort((values, here))
    grid = order.reshape(positions, copies)
    if (np.diff(values[grid], axis=1) <= 0).any():
        return []
    return [
        Part(part.slices[grid[:, n]], _joined(part.words, f"{separator.name} {n + 1} of {copies}"))
        for n in range(copies)
    ]


def _by_instances(places: Whole, instances: Whole, part: Part) -> list[Part]:
    """Blocks of consecutive instance numbers: volume after volume, or all copies of a slice in a row."""
    here, numbers = places[part.slices], instances[part.slices]
    positions = np.unique(here).size
    copies = here.size // positions
    if copies == 1:
        return [part]
    order = np.argsort(numbers, kind="stable")
    steps = np.diff(numbers[order])
    if (steps <= 0).any() or (steps != steps[0]).any():
        return []
    blocks = here[order].reshape(copies, positions)
    if (blocks == blocks[0]).all() and np.unique(blocks[0]).size == positions:
        grid = order.reshape(copies, positions)
    else:
        rows = here[order].reshape(positions, copies)
        if not (rows == rows[:, :1]).all():
            return []
        grid = order.reshape(positions, copies).T
    parts = []
    for n, slices in enumerate(grid, start=1):
        parts.append(Part(part.slices[slices], _joined(part.words, f"instance block {n} of {copies}")))
    return parts
