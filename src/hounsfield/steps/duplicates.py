"""Find images that are the same picture: exactly, or mirrored, turned, cropped, rescaled, recompressed,
windowed, brightened or inverted; and slices of volumes that stand elsewhere as pictures.

Three steps, each in a file of `same_picture`: what is kept of an image (`looks`), which pairs are worth a
close look (`candidates`), and how well the fine structure of two images agrees, as they are (`structure`) or
laid over each other (`registration`). Volumes that agree from above must agree from the sides (`sides`).
`benchmarks/duplicates.py` measures how far true copies and other patients' images lie from the limits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.files import whole_file
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.compute import available_cores
from hounsfield.steps.same_picture.candidates import candidates
from hounsfield.steps.same_picture.confirmation import confirmed
from hounsfield.steps.same_picture.looks import CROPS, EDGES, SIDE, TURNS, plane_of, views_of
from hounsfield.steps.same_picture.sides import SIDES, alike_from_the_sides, sides_of
from hounsfield.steps.same_picture.structure import Common, common_of

__all__ = ["Fingerprints", "Pair", "duplicate_pairs", "fingerprints", "together"]


def _no_sides(count: int = 0) -> NDArray[np.float16]:
    return np.zeros((count, SIDES, SIDE, SIDE), np.float16)


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """Per row an image: a digest of its pixels, its edges (N, 2, EDGES), and its plane (N, SIDE, SIDE).

    A volume is seen through its mean along k; `sides` (N or 0, SIDES, SIDE, SIDE) are its means along j and
    i, noughts where there are none. Where a set holds volumes and pictures, further rows bear the id of a
    volume and one of its slices that a picture may show; `slices` says which ("" for a whole image).
    """

    ids: tuple[str, ...]
    digests: tuple[str, ...]
    coarse: NDArray[np.float32]
    fine: NDArray[np.float16]
    slices: tuple[str, ...] = ()
    sides: NDArray[np.float16] = field(default_factory=_no_sides)

    def digest(self) -> str:
        """A hash of every pixel of every image."""
        return hashlib.sha256("".join(self.digests).encode()).hexdigest()[:16]

    def chosen(self, ids: set[str]) -> Fingerprints:
        """The rows of these images."""
        return self.rows([row for row, key in enumerate(self.ids) if key in ids])

    def rows(self, rows: Sequence[int]) -> Fingerprints:
        """Some of the rows."""
        names, digests = (tuple(column[row] for row in rows) for column in (self.ids, self.digests))
        slices = tuple(self.slices[row] for row in rows) if self.slices else ()
        sides = self.sides[rows] if len(self.sides) else self.sides
        return Fingerprints(names, digests, self.coarse[rows], self.fine[rows], slices, sides)

    def save(self, path: Path) -> None:
        """Write as .npz without pickling."""
        with whole_file(path) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                ids=np.array(self.ids, str),
                digests=np.array(self.digests, str),
                coarse=self.coarse,
                fine=self.fine,
                slices=np.array(self.slices, str),
                sides=self.sides,
            )

    @classmethod
    def load(cls, path: Path) -> Fingerprints:
        """Read what `save` has written. Raises BadInput for fingerprints of another version of Hounsfield."""
        with np.load(path, allow_pickle=False) as z:
            shapes = {name: z[name].shape[1:] for name in ("coarse", "fine") if name in z}
            if "slices" not in z or shapes != {"coarse": (len(CROPS), EDGES), "fine": (SIDE, SIDE)}:
                raise BadInput(
                    f"{path.name} holds fingerprints of another version of Hounsfield, which cannot be "
                    "compared with these images; train again to have new ones"
                )
            texts = (tuple(z[name].tolist()) for name in ("ids", "digests", "slices"))
            ids, digests, slices = texts
            return cls(
                ids, digests, z["coarse"], z["fine"], slices, z["sides"] if "sides" in z else _no_sides()
            )


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images (by id) that are the same picture; `exact` if every pixel is equal.

    `how` says in words what tells them apart: "mirrored left to right, cropped"; "" if nothing but values.
    """

    first: str
    second: str
    exact: bool
    how: str = ""


def fingerprints(store: PixelStore, ids: Sequence[str]) -> Fingerprints:
    """Fingerprints of images in the store."""
    from hounsfield.steps.same_picture.slices import slices_shown

    coarse = np.empty((len(ids), len(CROPS), EDGES), np.float32)
    fine = np.empty((len(ids), SIDE, SIDE), np.float16)
    flat = [row for row, key in enumerate(ids) if store.rows[key].shape[1] == 1]
    sides = _no_sides(0 if len(flat) == len(ids) else len(ids))

    def look(row: int) -> None:
        image = store.image(ids[row]).astype(np.float32).mean(0)
        plane = plane_of(image.mean(0))
        coarse[row], fine[row] = views_of(plane), plane
        if len(sides):
            sides[row] = sides_of(image)

    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(look, range(len(ids))))
    digests = tuple(store.rows[k].digest for k in ids)
    whole = Fingerprints(tuple(ids), digests, coarse, fine, ("",) * len(ids), sides)
    if not flat or len(flat) == len(ids):
        return whole
    shown = slices_shown(store, [k for k in ids if store.rows[k].shape[1] > 1], coarse[flat, 0])
    return Fingerprints(
        (*whole.ids, *(s.volume for s in shown)),
        (*whole.digests, *("" for _ in shown)),
        np.concatenate([coarse, *(s.views[None] for s in shown)]),
        np.concatenate([fine, *(s.plane[None].astype(np.float16) for s in shown)]),
        (*whole.slices, *(s.name for s in shown)),
        np.concatenate([sides, _no_sides(len(shown))]),
    )


def together(sets: Sequence[Fingerprints]) -> Fingerprints:
    """Fingerprints of several sets as one; their ids must differ."""
    seen = any(len(marks.sides) for marks in sets)
    sides = [m.sides if len(m.sides) or not seen else _no_sides(len(m.ids)) for m in sets]
    return Fingerprints(
        tuple(key for m in sets for key in m.ids),
        tuple(digest for m in sets for digest in m.digests),
        np.concatenate([m.coarse for m in sets]),
        np.concatenate([m.fine for m in sets]),
        tuple(name for m in sets for name in m.slices or ("",) * len(m.ids)),
        np.concatenate(sides),
    )


def duplicate_pairs(a: Fingerprints, b: Fingerprints | None = None) -> tuple[Pair, ...]:
    """Pairs within `a`, or between `a` and `b`."""
    other = a if b is None else b
    common = common_of(a.fine if b is None else np.concatenate([a.fine, other.fine]))
    found = _exact(a, b)
    for left, right in _sides(a, b):
        found += [p for p in _near(left, right, common) if b is not None or p.first != p.second]
    once: dict[object, Pair] = {}
    for pair in found:
        once.setdefault(
            (pair.first, pair.second) if b is not None else frozenset((pair.first, pair.second)), pair
        )
    return tuple(once.values())


def _sides(a: Fingerprints, b: Fingerprints | None) -> list[tuple[Fingerprints, Fingerprints | None]]:
    """What is compared with what: whole images with each other, and with slices of volumes."""
    (whole, parts), (other, others) = _parted(a), _parted(a if b is None else b)
    sides: list[tuple[Fingerprints, Fingerprints | None]] = [(whole, None if b is None else other)]
    sides += [(whole, others)] if others.ids else []
    sides += [(parts, other)] if b is not None and parts.ids else []
    return sides


def _parted(marks: Fingerprints) -> tuple[Fingerprints, Fingerprints]:
    if not any(marks.slices):
        return marks, marks.rows([])
    whole = [row for row, name in enumerate(marks.slices) if not name]
    return marks.rows(whole), marks.rows([row for row, name in enumerate(marks.slices) if name])


def _exact(a: Fingerprints, b: Fingerprints | None) -> list[Pair]:
    places: dict[str, list[int]] = {}
    other = a if b is None else b
    for row, digest in enumerate(other.digests):
        if digest:
            places.setdefault(digest, []).append(row)
    return [
        Pair(a.ids[row], other.ids[match], True)
        for row, digest in enumerate(a.digests)
        for match in places.get(digest, ())
        if b is not None or match > row
    ]


def _near(a: Fingerprints, b: Fingerprints | None, common: Common) -> list[Pair]:
    other = a if b is None else b
    if min(len(a.ids), len(other.ids)) < (2 if b is None else 1):
        return []
    likely = candidates(a.coarse, None if b is None else b.coarse)
    near = confirmed(a.fine, other.fine, likely, common)
    rows = np.array([found.row for found in near], np.intp)
    if len(a.sides) and len(other.sides):
        agree = alike_from_the_sides(a.sides, other.sides, likely.some(rows))
        near = [found for found, alike in zip(near, agree, strict=True) if alike]
    pairs = []
    for found in near:
        i, j = int(likely.first[found.row]), int(likely.second[found.row])
        shown = (marks.slices[k] for marks, k in ((a, i), (other, j)) if marks.slices)
        words = [w for w in (*shown, TURNS[likely.turn[found.row]], *found.words) if w]
        pairs.append(Pair(a.ids[i], other.ids[j], False, ", ".join(words)))
    return pairs
