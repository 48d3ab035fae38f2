"""How well cases were outlined: for each structure a row a case, with its patient and its groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.metrics.segmentation import SegmentedCase

__all__ = ["Segmented"]


@dataclass(frozen=True, slots=True)
class Segmented:
    """N cases whose masks were compared with a reader's, on the image's own grid.

    `cases` maps a structure to N comparisons, None where nobody outlined the structure (partial annotation).
    Distances and volumes are in `unit` ("mm", or "pixel" where the images say no spacing); `tolerance` is
    that of the normalised surface distance, in the same unit. `patients` are opaque keys, `groups` maps a
    column to N values ("" is unknown), `kind` says how the cases were scored: "test", "cross-validation",
    "external".
    """

    structures: tuple[str, ...]
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    cases: Mapping[str, tuple[SegmentedCase | None, ...]]
    tolerance: float
    unit: str = "mm"
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kind: str = "test"
    patients_known: bool = True

    def __post_init__(self) -> None:
        n = len(self.ids)
        columns = (self.patients, *self.groups.values(), *(self.cases[s] for s in self.structures))
        if any(len(column) != n for column in columns):
            raise BadInput(f"a table of {n} segmented cases has columns of other lengths")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> Segmented:
        """Some of the cases, in that order."""
        pick = rows.tolist()
        return Segmented(
            self.structures,
            tuple(self.ids[r] for r in pick),
            tuple(self.patients[r] for r in pick),
            {s: tuple(held[r] for r in pick) for s, held in self.cases.items()},
            self.tolerance,
            self.unit,
            {g: tuple(held[r] for r in pick) for g, held in self.groups.items()},
            self.kind,
            self.patients_known,
        )
