"""Which pairs of images are worth a close look: those whose edges run alike in one of eight orientations.

From the edges the mean of the set is taken, and from many images they are reduced to their whitened
principal components, so that what all images share does not make a pair. All pairs are then
compared by matrix products: whole with whole, whole with middle, middle with whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.steps.same_picture.looks import TURNS, turned_edges

__all__ = ["Candidates", "candidates"]

ALIKE, ALIKE_WHITENED = 0.45, 0.55
"""Cosine of two images' edges from which a pair is looked at: as they are, and on whitened components."""
MOST, MOST_WHITENED = 2, 1
"""Looked at for an image are its most alike partners, and every pair beyond CERTAIN."""
CERTAIN = 0.9
FEW = 200
"""In a set up to this size the most alike partners are looked at however little alike they are."""
COMPONENTS = 64
FROM = 6 * COMPONENTS
"""Images from which on edges are reduced to components."""
BLOCK = 1024
CROWD = 32

Views = NDArray[np.float32]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of rows (M,), the turn of the second that is alike, and which of them is the crop (0: neither, 1,
    2).
    """

    first: Rows
    second: Rows
    turn: Rows
    crop: Rows
    alike: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.first)

    def some(self, rows: Rows) -> Candidates:
        """The candidates of these places."""
        first, second, turn, crop = (x[rows] for x in (self.first, self.second, self.turn, self.crop))
        return Candidates(first, second, turn, crop, self.alike[rows])

    @property
    def _columns(self) -> tuple[NDArray[np.generic], ...]:
        return self.first, self.second, self.turn, self.crop, self.alike


@dataclass(frozen=True, eq=False)
class _Space:
    """Edges to unit vectors: less the mean, on whitened components where there are enough images."""

    mean: NDArray[np.float32]
    axes: NDArray[np.float32] | None

    def of(self, edges: NDArray[np.float32]) -> NDArray[np.float32]:
        found = edges - self.mean
        if self.axes is not None:
            found = found @ self.axes
        length = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(length, 1e-9), np.float32)


def candidates(a: Views, b: Views | None = None) -> Candidates:
    """Pairs within the views (N, crops, EDGES) of a set, or between those of two sets, that may be one
    picture.
    """
    other = a if b is None else b
    space = _space(a[:, 0] if b is None else np.concatenate([a[:, 0], other[:, 0]]))
    least = (ALIKE if space.axes is None else ALIKE_WHITENED) if max(len(a), len(other)) > FEW else -1.0
    found = [c for way in _ways(space, a, other) for c in _compared(*way, least=least, within=b is None)]
    columns = zip(*(c._columns for c in found), strict=True)
    once = _once(Candidates(*map(np.concatenate, columns)), len(other))
    return _most_alike(once, MOST if space.axes is None else MOST_WHITENED)


def _space(edges: NDArray[np.float32]) -> _Space:
    mean = edges.mean(0) if len(edges) > 3 else np.zeros(edges.shape[1], np.float32)
    if len(edges) < FROM:
        return _Space(mean, None)
    centred = edges - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(edges))
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    spread = np.sqrt(np.maximum(values, 0))
    return _Space(mean, (vectors / np.sqrt(spread + 0.05 * spread[0])).astype(np.float32))


def _ways(space: _Space, a: Views, b: Views) -> Iterator[tuple[Views, Views, int, int]]:
    """Unit vectors of the first and of the turned second, the turn, and which is taken for a crop."""
    whole, middle = space.of(a[:, 0]), space.of(a[:, 1])
    for turn in range(len(TURNS)):
        turned = space.of(turned_edges(b[:, 0], turn))
        yield whole, turned, turn, 0
        yield whole, space.of(turned_edges(b[:, 1], turn)), turn, 1
        yield middle, turned, turn, 2


def _compared(
    left: Views, right: Views, turn: int, crop: int, *, least: float, within: bool
) -> Iterator[Candidates]:
    for start in range(0, len(left), BLOCK):
        origin = start if within else 0
        table = left[start : start + BLOCK] @ right[origin:].T
        if within:
            table[np.tril_indices(len(table), 0, table.shape[1])] = -2
        limit: float | NDArray[np.float32] = least
        hits = table >= least
        if np.count_nonzero(hits) > CROWD * len(table) and table.shape[1] > CROWD:
            crowded = np.partition(table, -CROWD, axis=1)[:, -CROWD][:, None]
            limit = np.minimum(np.maximum(crowded, least), CERTAIN)
            hits = table >= limit
        rows, columns = np.nonzero(hits)
        kind = (np.full(len(rows), turn), np.full(len(rows), crop))
        yield Candidates(rows + start, columns + origin, *kind, table[rows, columns])


def _once(found: Candidates, width: int) -> Candidates:
    """Each pair once, as it is most alike; whole with whole where that is hardly worse."""
    key = found.first * width + found.second
    order = np.lexsort((-(found.alike - 0.01 * (found.crop > 0) - 0.001 * (found.turn > 0)), key))
    first = np.ones(len(order), np.bool_)
    first[1:] = key[order][1:] != key[order][:-1]
    return found.some(order[first])


def _most_alike(found: Candidates, most: int) -> Candidates:
    """Of each image its most alike partners, and all that are certain."""
    keep = found.alike >= CERTAIN
    for side in (found.first, found.second):
        order = np.lexsort((-found.alike, side))
        ordered = side[order]
        begins = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.zeros(0, np.bool_)
        place = np.arange(len(order)) - np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        keep[order[place < most]] = True
    return found.some(np.flatnonzero(keep))
