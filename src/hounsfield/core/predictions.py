"""A table of scores: one row a case, with its patient, its groups and, where known, its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput

__all__ = ["Predictions"]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scores (N, C) as probabilities: C = 1 for binary (of the positive class), else one a class.

    `answers` is (N,) class numbers for binary and multiclass, (N, C) of 0 and 1 for multilabel, and
    None where unknown. `patients` are opaque keys. `groups` maps a column name to N values ("" is
    unknown). `kind` says how the rows were scored: "test", "cross-validation" or "external".

    >>> import numpy as np
    >>> p = Predictions(LabelEncoding("binary", ("0", "1")), ("a", "b"), ("p", "q"),
    ...                 np.array([[.2], [.9]]), np.array([0, 1]), {"sex": ("F", "M")}, "test")
    >>> len(p), p.where("sex", "M").ids
    (2, ('b',))
    """

    encoding: LabelEncoding
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    scores: NDArray[np.float64]
    answers: NDArray[np.int64] | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kind: str = "test"
    patients_known: bool = True

    def __post_init__(self) -> None:
        n = len(self.ids)
        lengths = {len(self.patients), len(self.scores), *(len(g) for g in self.groups.values())}
        if self.answers is not None:
            lengths.add(len(self.answers))
        if lengths != {n}:
            raise BadInput(f"predictions of {n} cases have columns of lengths {sorted(lengths)}")
        if self.scores.ndim != 2 or self.scores.shape[1] != self.encoding.outputs:
            raise BadInput(
                f"scores of shape {self.scores.shape} do not fit {self.encoding.outputs} output(s)"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> Predictions:
        """The predictions of some rows, in that order."""
        pick = rows.tolist()
        return Predictions(
            self.encoding,
            tuple(self.ids[r] for r in pick),
            tuple(self.patients[r] for r in pick),
            self.scores[rows],
            None if self.answers is None else self.answers[rows],
            {k: tuple(g[r] for r in pick) for k, g in self.groups.items()},
            self.kind,
            self.patients_known,
        )

    def where(self, group: str, value: str) -> Predictions:
        """The predictions of one group."""
        rows = np.flatnonzero(np.array(self.groups[group]) == value)
        return self.take(rows.astype(np.int64))
