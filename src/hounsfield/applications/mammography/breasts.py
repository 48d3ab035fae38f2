"""Scores of views become scores of breasts and of patients, whatever views an exam has.

A breast takes the mean of the log-odds of its views, so that a missing view leaves the others' opinion as it
is; a patient takes the higher of both breasts, as one breast with a cancer is a patient with a cancer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.predictions import Predictions

__all__ = ["Breasts", "breasts_of", "sides_of", "views_of"]

_LEAST = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Breasts:
    """N breasts or patients: `score` and `answer` (N,), whose they are, and how many views each has (N,)."""

    score: NDArray[np.float64]
    answer: NDArray[np.int64]
    patient: tuple[str, ...]
    views: NDArray[np.int64]
    groups: dict[str, tuple[str, ...]]

    def patients(self) -> Breasts:
        """The same by patient."""
        names = tuple(dict.fromkeys(self.patient))
        rows = [np.flatnonzero(np.array(self.patient) == name) for name in names]
        return Breasts(
            np.array([self.score[r].max() for r in rows]),
            np.array([self.answer[r].max() for r in rows]),
            names,
            np.array([self.views[r].sum() for r in rows]),
            {key: tuple(held[r[0]] for r in rows) for key, held in self.groups.items()},
        )


def sides_of(cases: Sequence[Case]) -> list[str]:
    """The side of each image, "L" or "R", from its header or its label table; "" where neither says.

    >>> from hounsfield.core.index import Series
    >>> image = Series("a", ("a.dcm",), "dicom", (1, 8, 8), laterality="L")
    >>> sides_of([Case("a", "p", (image,)), Case("b", "p", (), groups={"laterality": "right"})])
    ['L', 'R']
    """
    told = [(c.images[0].laterality if c.images else "") or c.groups.get("laterality", "") for c in cases]
    return [text.strip().upper()[:1] if text.strip().upper()[:1] in ("L", "R") else "" for text in told]


def views_of(cases: Sequence[Case]) -> list[str]:
    """The view of each image ("CC", "MLO", …), from its header or its label table; "" where neither says."""
    return [((c.images[0].view if c.images else "") or c.groups.get("view", "")).upper() for c in cases]


def breasts_of(table: Predictions, sides: Sequence[str], *, keep: NDArray[np.bool_] | None = None) -> Breasts:
    """The breasts of the images whose side is known and, where `keep` (images,) is given, that are kept.

    >>> from hounsfield.core.case import LabelEncoding
    >>> table = Predictions(LabelEncoding("binary", ("0", "1")), ("a", "b", "c"), ("p", "p", "p"),
    ...                     np.array([[0.9], [0.5], [0.1]]), np.array([1, 1, 0]))
    >>> made = breasts_of(table, ["L", "L", "R"])
    >>> made.score.round(2).tolist(), made.answer.tolist(), made.views.tolist()
    ([0.75, 0.1], [1, 0], [2, 1])
    """
    assert table.answers is not None
    used = np.array([bool(s) for s in sides]) & (True if keep is None else keep)
    keys = [(p, s) if use else None for p, s, use in zip(table.patients, sides, used, strict=True)]
    rows: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(keys):
        if key is not None:
            rows.setdefault(key, []).append(row)
    clipped = np.clip(table.scores[:, 0], _LEAST, 1 - _LEAST)
    odds = np.log(clipped / (1 - clipped))
    held = list(rows.values())
    return Breasts(
        1 / (1 + np.exp(-np.array([odds[r].mean() for r in held]))),
        np.array([table.answers[r].max() for r in held], np.int64),
        tuple(p for p, _ in rows),
        np.array([len(r) for r in held], np.int64),
        {key: tuple(values[r[0]] for r in held) for key, values in table.groups.items()},
    )
