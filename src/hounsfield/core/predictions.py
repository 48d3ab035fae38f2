"""A table of scores: one row a case, with its patient, its groups and, where known, its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput

__all__ = ["Predictions", "Referrals"]


@dataclass(frozen=True, slots=True)
class Referrals:
    """Which of N cases go to a reader, and why: what a model knows of its own answers.

    `reasons` are those for which a case is referred, none where it is not. `sets` (N, C) are True for a class
    that may hold; of a multi-label task (N, 2 C), absent and present of each class in turn; (N, 0) where
    none were asked for. `typicality` (N,) is the share of development patients whose images are at least as
    odd, NaN where it cannot be told, and `unlike` says in words what is odd ("" if nothing). `confidence`
    (N,) is how sure the call is, from 0.5 for a score at the threshold to 1; for one of several classes its
    probability. `notes` say what could not be told of any case.

    >>> nothing = np.zeros((2, 0), bool), np.array([0.5, 0.01]), ("", "its tones"), np.array([0.9, 0.9])
    >>> told = Referrals(((), ("unlike the training images",)), *nothing)
    >>> told.refer.tolist(), told.counts
    ([False, True], {'unlike the training images': 1})
    """

    reasons: tuple[tuple[str, ...], ...]
    sets: NDArray[np.bool_]
    typicality: NDArray[np.float64]
    unlike: tuple[str, ...]
    confidence: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def refer(self) -> NDArray[np.bool_]:
        """Whether each case (N,) goes to a reader."""
        return np.array([bool(own) for own in self.reasons], np.bool_)

    @property
    def counts(self) -> dict[str, int]:
        """How many cases are referred for each reason; a case may have several."""
        return dict(Counter(reason for own in self.reasons for reason in own).most_common())

    def take(self, rows: NDArray[np.int64]) -> Referrals:
        """Those of some rows, in that order."""
        pick = rows.tolist()
        return Referrals(
            tuple(self.reasons[r] for r in pick),
            self.sets[rows],
            self.typicality[rows],
            tuple(self.unlike[r] for r in pick),
            self.confidence[rows],
            self.notes,
        )


@dataclass(frozen=True, slots=True)
class Predictions:
    """Scores (N, C) as probabilities: C = 1 for binary (of the positive class), else one a class.

    `answers` is (N,) class numbers for binary and multiclass, (N, C) of 0 and 1 for multilabel, and
    None where unknown. `patients` are opaque keys. `groups` maps a column name to N values ("" is
    unknown). `kind` says how the rows were scored: "test", "cross-validation" or "external". `referrals`
    say which cases go to a reader; None where the model cannot tell.

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
    referrals: Referrals | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        lengths = {len(self.patients), len(self.scores), *(len(g) for g in self.groups.values())}
        if self.answers is not None:
            lengths.add(len(self.answers))
        if self.referrals is not None:
            lengths |= {len(self.referrals.reasons), len(self.referrals.typicality)}
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
            None if self.referrals is None else self.referrals.take(rows),
        )

    def where(self, group: str, value: str) -> Predictions:
        """The predictions of one group."""
        rows = np.flatnonzero(np.array(self.groups[group]) == value)
        return self.take(rows.astype(np.int64))
