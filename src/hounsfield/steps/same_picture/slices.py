"""Slices of volumes that a picture of the same set may show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.compute import available_cores
from hounsfield.steps.same_picture.looks import TURNS, plane_of, turned_edges, views_of
from hounsfield.steps.same_picture.sides import LEAST_SLICES

__all__ = ["Slice", "slices_shown"]

ALIKE = 0.5
MOST = 3


@dataclass(frozen=True, eq=False)
class Slice:
    """A slice of a volume: which one in words, its edges (2, EDGES) and its plane (SIDE, SIDE)."""

    volume: str
    name: str
    views: NDArray[np.float32]
    plane: NDArray[np.float32]


def slices_shown(store: PixelStore, volumes: Sequence[str], pictures: NDArray[np.float32]) -> list[Slice]:
    """For each picture, by its edges (N, EDGES), the slices of all volumes most alike it."""
    mean = pictures.mean(0) if len(pictures) > 3 else 0.5 * pictures.mean()
    turns = np.stack([_unit(turned_edges(pictures, t) - mean) for t in range(len(TURNS))])
    best: list[list[tuple[float, Slice]]] = [[] for _ in pictures]
    with ThreadPoolExecutor(available_cores()) as pool:
        for volume in volumes:
            slices = list(pool.map(lambda named, v=volume: _look(v, *named), _planes(store.image(volume))))
            table = _unit(np.stack([s.views[0] for s in slices]) - mean)
            alike = np.max(table @ turns.transpose(0, 2, 1), axis=0)
            for picture, row in enumerate(alike.argmax(0).tolist()):
                if alike[row, picture] >= ALIKE:
                    ranked = [*best[picture], (float(alike[row, picture]), slices[row])]
                    best[picture] = sorted(ranked, key=lambda x: -x[0])[:MOST]
    return list({id(s): s for ranked in best for _, s in ranked}.values())


def _planes(data: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    flat = data.astype(np.float32).mean(0)
    for axis, words in enumerate(
        ("slice {} of a volume", "plane j = {} of a volume", "plane i = {} of a volume")
    ):
        if axis and len(flat) < LEAST_SLICES:
            return
        for number in range(flat.shape[axis]):
            plane = flat.take(number, axis)
            if plane.min() < plane.max():
                yield words.format(number), plane


def _look(volume: str, name: str, picture: NDArray[np.float32]) -> Slice:
    plane = plane_of(picture)
    return Slice(volume, name, views_of(plane), plane)


def _unit(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(edges / np.maximum(np.linalg.norm(edges, axis=-1, keepdims=True), 1e-9), np.float32)
