"""What a site tells of how a model does on its patients: counts of many, never a score of one.

The scores of patients with the finding, and of those without, are laid on one grid of the logit; neighbouring
steps are joined until at least `smallest_n` patients lie in each cell, so that the cells of a site cover the
whole scale and none speaks of few. A number of fewer than `smallest_n` is told as a range, or not at all; of
the groups of a column so many are left out that none follows from the others.

A patient counts once for each answer, by the mean of the scores of its images with that answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.metrics.discrimination import area

__all__ = ["EDGES", "Counts", "cells_of", "counted", "key_of", "logit"]

EDGES = np.linspace(-8.0, 8.0, 321)
"""The grid of the logit, in steps of 0.05; what lies outside counts in the outermost step."""

Counts = dict[str, NDArray[np.float64] | NDArray[np.int64]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Rows:
    """Patients by answer: probability, whether with the finding, and their groups by column."""

    scores: Floats
    positive: NDArray[np.bool_]
    groups: dict[str, NDArray[np.str_]]


def counted(
    scores: NDArray[np.floating],
    answers: NDArray[np.integer] | NDArray[np.bool_],
    *,
    patients: Sequence[str],
    labels: Sequence[str],
    groups: Mapping[str, Sequence[str]] | None = None,
    thresholds: Sequence[float] = (0.5,),
    smallest_n: int = 10,
) -> Counts:
    """Counts by name, of probabilities (N, L) and answers (N, L) of 0 and 1 for L `labels`.

    `groups` are columns of N values, "" where not known; `thresholds` one for all labels, or L. The names are
    those of `key_of`: "cells" (a row a cell: answer, first step, step behind the last, patients), "sums"
    (patients; with the finding; sums of the probability, of the squared error and of its square; sum and sum
    of squares of the logit without and with the finding; the area under the ROC curve) and "cut" (threshold;
    least and most true positives; least and most true negatives). A label or group with fewer than
    `smallest_n` patients of either answer has none. Raises BadInput for arrays of different lengths.

    >>> p = np.linspace(0.02, 0.98, 50)[:, None]
    >>> told = counted(p, (p > 0.4).astype(int), patients=[str(n) for n in range(50)], labels=["x"])
    >>> told[key_of("cells", "x")][:, 3].tolist()
    [10, 10, 10, 10, 10]
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(answers)
    shaped = values.ndim == 2 and values.shape == truth.shape == (len(patients), len(labels))
    if not shaped or any(len(g) != len(values) for g in (groups or {}).values()):
        raise BadInput(
            f"scores {values.shape}, answers {truth.shape} and {len(patients)} patients for {len(labels)} "
            "labels; expected one row a case and one column a label in each"
        )
    cuts = tuple(thresholds) * (len(labels) if len(thresholds) == 1 else 1)
    found: Counts = {}
    for place, label in enumerate(labels):
        rows = _by_patient(values[:, place], truth[:, place] > 0, patients, groups or {})
        if not _enough(rows.positive, smallest_n):
            continue
        found |= _told(label, "", rows.scores, rows.positive, cuts[place], smallest_n)
        for column, names in rows.groups.items():
            for name in _shown(names, rows.positive, smallest_n):
                own = names == name
                found |= _told(
                    label, f"{column}={name}", rows.scores[own], rows.positive[own], cuts[place], smallest_n
                )
    return found


def key_of(kind: str, label: str, group: str = "") -> str:
    """The name of an array of counts.

    >>> key_of("cells", "malignant", "sex=F")
    '["cells", "malignant", "sex=F"]'
    """
    return json.dumps([kind, label, group])


def logit(scores: Floats) -> Floats:
    """The logits of probabilities, within what the grid can tell apart."""
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    return np.log(inside / (1 - inside))


def cells_of(steps: NDArray[np.int64], smallest_n: int) -> NDArray[np.int64]:
    """Cells (first step, step behind the last, patients) that tile the grid, `smallest_n` or more in each.

    >>> cells_of(np.array([3, 3, 9, 20, 40, 41, 300]), 3).tolist()
    [[0, 10, 3], [10, 320, 4]]
    """
    count = np.bincount(steps, minlength=len(EDGES) - 1)
    found: list[list[int]] = []
    start, held = 0, 0
    for step, n in enumerate(count):
        held += int(n)
        if held >= smallest_n:
            found.append([start, step + 1, held])
            start, held = step + 1, 0
    if found:
        found[-1][1] = len(count)
        found[-1][2] += held
    return np.array(found, np.int64).reshape(-1, 3)


def _told(
    label: str, group: str, scores: Floats, positive: NDArray[np.bool_], cut: float, smallest_n: int
) -> Counts:
    z = logit(scores)
    steps = np.clip(np.searchsorted(EDGES, z, "right") - 1, 0, len(EDGES) - 2)
    cells = [
        np.insert(cells_of(steps[positive == answer], smallest_n), 0, int(answer), axis=1)
        for answer in (False, True)
    ]
    error = (scores - positive) ** 2
    spread = [s for own in (z[~positive], z[positive]) for s in (own.sum(), (own**2).sum())]
    sums = [len(scores), positive.sum(), scores.sum(), error.sum(), (error**2).sum(), *spread]
    sums.append(area(scores, positive))
    called = scores >= cut
    hits = _range(int((called & positive).sum()), int(positive.sum()), smallest_n)
    clear = _range(int((~called & ~positive).sum()), int((~positive).sum()), smallest_n)
    return {
        key_of("cells", label, group): np.concatenate(cells),
        key_of("sums", label, group): np.array(sums, np.float64),
        key_of("cut", label, group): np.array([cut, *hits, *clear], np.float64),
    }


def _range(hits: int, n: int, smallest_n: int) -> tuple[int, int]:
    """Least and most that `hits` of `n` may be, where few on one side are not told exactly.

    >>> _range(60, 100, 10), _range(97, 100, 10), _range(2, 100, 10), _range(6, 12, 10)
    ((60, 60), (91, 100), (0, 9), (0, 12))
    """
    few, many = hits < smallest_n, n - hits < smallest_n
    if few and many:
        return 0, n
    if few:
        return 0, min(smallest_n - 1, n)
    return (max(n - smallest_n + 1, 0), n) if many else (hits, hits)


def _enough(positive: NDArray[np.bool_], smallest_n: int) -> bool:
    return min(int(positive.sum()), int((~positive).sum())) >= smallest_n


def _shown(names: NDArray[np.str_], positive: NDArray[np.bool_], smallest_n: int) -> list[str]:
    """The groups that are told: each has enough of both answers, and so have all that are not told, or none.

    Else a small group would follow from the whole without the others.
    """
    present = sorted(set(names.tolist()) - {""})
    kept = [name for name in present if _enough(positive[names == name], smallest_n)]
    kept.sort(key=lambda name: int((names == name).sum()))
    while kept:
        rest = positive[~np.isin(names, kept)]
        if all(n == 0 or n >= smallest_n for n in (int(rest.sum()), int((~rest).sum()))):
            break
        kept.pop(0)
    return sorted(kept)


def _by_patient(
    scores: Floats, positive: NDArray[np.bool_], patients: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> _Rows:
    _, who = np.unique(np.asarray(patients), return_inverse=True)
    _, first, place, count = np.unique(
        who * 2 + positive, return_index=True, return_inverse=True, return_counts=True
    )
    mean = np.bincount(place, scores) / count
    columns = {name: np.asarray(values, np.str_)[first] for name, values in groups.items()}
    return _Rows(mean, positive[first], columns)
