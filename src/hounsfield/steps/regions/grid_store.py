"""Images on the plan's grid with their labels and marks: memory-mapped, decoded and resampled once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.marked import Marked
from hounsfield.io.files import write_text
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.regions.orientation import AS_STORED, Turn

__all__ = ["GridRow", "GridStore", "Placed"]

Three = tuple[int, int, int]
TABLE = "grid.json"


@dataclass(frozen=True, slots=True)
class Placed:
    """How an image's grid lies in its native voxels: turned, cut from `low` to `high`, resampled to `shape`.

    `native` is the shape (K, J, I) of the image, `affine` its voxel-to-LPS matrix row by row (16 numbers),
    `spacing_mm` its spacing, empty where unknown. `order` and `backwards` are those of its `Turn`.

    >>> Placed((1, 8, 8), (0, 2, 0), (1, 6, 8), (1, 8, 8), (), ()).to_native((0.0, 0.5, 3.0))
    (0.0, 2.0, 3.0)
    """

    native: Three
    low: Three
    high: Three
    shape: Three
    spacing_mm: tuple[float, ...]
    affine: tuple[float, ...]
    order: Three = AS_STORED.order
    backwards: tuple[bool, bool, bool] = AS_STORED.backwards

    @property
    def turn(self) -> Turn:
        """How the image's axes were turned."""
        return Turn(self.order, self.backwards)

    @property
    def cut(self) -> tuple[slice, slice, slice]:
        """The box that was cut out of the turned image."""
        k, j, i = (slice(a, b) for a, b in zip(self.low, self.high, strict=True))
        return k, j, i

    @property
    def box(self) -> Three:
        """Its size in native voxels, before it was resampled."""
        k, j, i = (b - a for a, b in zip(self.low, self.high, strict=True))
        return k, j, i

    @property
    def scale(self) -> tuple[float, float, float]:
        """Native voxels a voxel of the grid, along the grid's (k, j, i)."""
        k, j, i = (side / n for side, n in zip(self.box, self.shape, strict=True))
        return k, j, i

    def to_native(self, place: Sequence[float]) -> tuple[float, float, float]:
        """A place (k, j, i) of the grid in native voxels."""
        turned = [a + (p + 0.5) * s - 0.5 for p, a, s in zip(place, self.low, self.scale, strict=True)]
        found = [0.0, 0.0, 0.0]
        for at, own, back in zip(turned, self.order, self.backwards, strict=True):
            found[own] = self.native[own] - 1 - at if back else at
        return found[0], found[1], found[2]

    def from_native(self, place: Sequence[float]) -> tuple[float, float, float]:
        """A place in native voxels on the grid."""
        turned = [
            self.native[own] - 1 - place[own] if back else place[own]
            for own, back in zip(self.order, self.backwards, strict=True)
        ]
        k, j, i = ((p + 0.5 - a) / s - 0.5 for p, a, s in zip(turned, self.low, self.scale, strict=True))
        return k, j, i

    def size_from_native(self, size: Sequence[float]) -> tuple[float, float, float]:
        """Lengths along the image's axes, in its voxels, as lengths on the grid."""
        k, j, i = (s / by for s, by in zip(self.turn.three(size), self.scale, strict=True))
        return k, j, i

    def size_to_native(self, size: Sequence[float]) -> tuple[float, float, float]:
        """Lengths on the grid along the image's axes, in its voxels."""
        found = [0.0, 0.0, 0.0]
        for length, by, own in zip(size, self.scale, self.order, strict=True):
            found[own] = length * by
        return found[0], found[1], found[2]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """The grid's spacing (k, j, i), in mm, or in native voxels where no spacing is known."""
        known = self.turn.three(self.spacing_mm or (1.0, 1.0, 1.0))
        k, j, i = (s * n for s, n in zip(self.scale, known, strict=True))
        return k, j, i


@dataclass(frozen=True, slots=True)
class GridRow:
    """A case in the store: its place, the levels of each channel, its annotated structures, its marks.

    `labelled` is whether labels are stored; `foreground` maps a label to how many voxels bear it.
    """

    place: Placed
    levels: tuple[tuple[float, float, float, float], ...]
    labelled: bool
    annotated: tuple[int, ...] | None = None
    foreground: Mapping[int, int] | None = None
    marked: tuple[Marked, ...] | None = None


@dataclass(frozen=True)
class GridStore:
    """Cases by id: `image` (C, K, J, I) stored numbers, `labels` (K, J, I) uint8, `places_of` some voxels."""

    folder: Path
    pixels: PixelStore
    rows: Mapping[str, GridRow]

    def image(self, case: str) -> NDArray[Any]:
        return self.pixels.image(case)

    def labels(self, case: str) -> NDArray[np.uint8] | None:
        """Labels of a case, 255 where nothing is learned; None where it has no mask."""
        if not self.rows[case].labelled:
            return None
        held: NDArray[np.uint8] = self.pixels.image(f"{case}|labels")[0].view(np.uint8)
        return held

    def some_voxels(self, case: str, label: int) -> NDArray[np.int32]:
        """At most some thousand voxels (n, 3) of a label, evenly taken."""
        found: NDArray[np.int32] = self.pixels.image(f"{case}|{label}")[0, 0].astype(np.int32)
        return found

    def digest(self) -> str:
        """A hash of all images, labels and marks; no identity can be read from it."""
        held = {key: row.digest for key, row in self.pixels.rows.items()}
        text = json.dumps([held, {case: asdict(row) for case, row in self.rows.items()}], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def write_rows(self) -> None:
        """Keep the table; the store can be opened from now on."""
        rows = {case: asdict(row) for case, row in self.rows.items()}
        write_text(self.folder / TABLE, json.dumps({"state": self.pixels.state, "rows": rows}))

    @classmethod
    def open(cls, folder: Path, state: str = "") -> GridStore | None:
        """The store in a folder if it is whole, and of this state if one is given."""
        table = folder / TABLE
        if not table.is_file():
            return None
        raw = json.loads(table.read_text())
        if state and raw["state"] != state:
            return None
        pixels = PixelStore.open(folder, raw["state"])
        if pixels is None:
            return None
        return cls(folder, pixels, {case: _row(held) for case, held in raw["rows"].items()})


def _row(held: dict[str, Any]) -> GridRow:
    place = Placed(**{k: tuple(v) for k, v in held["place"].items()})
    marked = held["marked"]
    counted = held["foreground"]
    return GridRow(
        place,
        tuple(tuple(c) for c in held["levels"]),
        held["labelled"],
        None if held["annotated"] is None else tuple(held["annotated"]),
        None if counted is None else {int(k): int(v) for k, v in counted.items()},
        None if marked is None else tuple(_mark(m) for m in marked),
    )


def _mark(held: dict[str, Any]) -> Marked:
    return Marked(**{**held, "centre": tuple(held["centre"]), "size": tuple(held["size"])})
