"""Where the model fails most: slices of the cases by group, by pairs of groups and by how the images look.

Every slice that is large enough is compared with all other cases; the p values are corrected together (Holm),
since among many slices some are bad by chance. Slices that hold nearly the same cases are named once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.heterogeneity import holm, p_from_interval
from hounsfield.metrics.measured import Measured, combine, proportion
from hounsfield.metrics.patients import Patients
from hounsfield.steps.one_against_rest import known_answers
from hounsfield.steps.prepare import Prepared

__all__ = ["image_looks", "worst_slices"]

Row = dict[str, Any]
Mask = NDArray[np.bool_]
SHOWN = 10
LEAST = 20
"""Cases, and half as many patients, that a slice must have."""
ALIKE = 0.8
LEVEL = 0.025
"""Half of the 5 % that an evaluation may err by; the tests of the groups have the other half."""
THIRDS = ("lowest", "middle", "highest")
MOST_VALUES = 24


def worst_slices(
    predictions: Predictions,
    called: NDArray[np.int64],
    looks: Mapping[str, NDArray[np.float64]] | None = None,
) -> tuple[tuple[Finding, ...], list[Row]]:
    """The slices with the most errors: as findings where chance does not explain them, and as a table.

    `looks` are numbers of each case (N,), such as `image_looks` gives, which are cut into thirds. An error
    is a call that is not the answer; of several labels any wrong one. Of one kind of slice, missed findings
    and false alarms are counted beside.
    """
    answers = known_answers(predictions)
    wrong = called != answers if answers.ndim == 1 else (called != answers).any(axis=1)
    owners = Patients.of(list(predictions.patients), cases=len(wrong))
    candidates = [(name, mask) for name, mask in _slices(predictions, looks or {}) if _enough(mask, owners)]
    compared = [_compared(wrong, mask, owners) for _, mask in candidates]
    adjusted = holm([p for _, _, p in compared]).tolist()
    order = sorted(range(len(compared)), key=lambda k: (-compared[k][0].low, candidates[k][0]))
    kept: list[int] = []
    for k in order:
        more = compared[k][1].value > 0
        if more and not any(_alike(candidates[k][1], candidates[other][1]) for other in kept):
            kept.append(k)
        if len(kept) == SHOWN:
            break
    rows = [
        _row(candidates[k][0], candidates[k][1], predictions, called, compared[k], adjusted[k]) for k in kept
    ]
    found = [
        _finding(candidates[k][0], compared[k], adjusted[k], len(candidates))
        for k in kept
        if adjusted[k] < LEVEL
    ]
    return tuple(found), rows


def image_looks(prepared: Prepared, ids: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Brightness, contrast and sharpness of each case's prepared image, as numbers to be cut into thirds.

    Brightness and contrast are the mean and the spread of the stored values, sharpness the mean step between
    neighbouring pixels as a share of the spread.
    """
    found = np.zeros((len(ids), 3))
    for place, row in enumerate(prepared.rows(ids)):
        image = np.asarray(prepared.images[row], np.float32)
        spread = float(image.std())
        steps = np.abs(np.diff(image, axis=-1)).mean() + np.abs(np.diff(image, axis=-2)).mean()
        found[place] = image.mean(), spread, steps / spread if spread > 0 else 0.0
    names = ("brightness", "contrast", "sharpness")
    return {name: found[:, k] for k, name in enumerate(names) if np.ptp(found[:, k]) > 0}


def _slices(predictions: Predictions, looks: Mapping[str, NDArray[np.float64]]) -> Iterator[tuple[str, Mask]]:
    single: dict[str, list[tuple[str, Mask]]] = {}
    for column, values in predictions.groups.items():
        held = np.array(values)
        names = sorted(set(held.tolist()) - {""})
        if 2 <= len(names) <= MOST_VALUES:
            single[column] = [(f"{column}={name}", held == name) for name in names]
    for look, numbers in looks.items():
        cuts = np.quantile(numbers, [1 / 3, 2 / 3])
        third = np.searchsorted(cuts, numbers, side="right")
        single[look] = [(f"{look}: {word} third", third == k) for k, word in enumerate(THIRDS)]
    for slices in single.values():
        yield from slices
    for first, second in combinations(single, 2):
        for name, mask in single[first]:
            for other, more in single[second]:
                yield f"{name} & {other}", mask & more


def _enough(mask: Mask, owners: Patients) -> bool:
    inside = int(np.count_nonzero(mask))
    return LEAST <= inside <= len(mask) - LEAST and owners.among(mask) >= LEAST // 2


def _compared(wrong: Mask, mask: Mask, owners: Patients) -> tuple[Measured, Measured, float]:
    """The share of errors in a slice, its difference from all other cases, and the p value of none."""
    inside, outside = proportion(wrong, mask, owners), proportion(wrong, ~mask, owners)
    gap = combine([inside, outside], [1.0, -1.0], n=len(mask), n_patients=owners.count)
    return inside, gap, p_from_interval(gap.value, gap.low, gap.high)


def _alike(first: Mask, second: Mask) -> bool:
    return float((first & second).sum()) / float((first | second).sum()) > ALIKE


def _row(
    name: str,
    mask: Mask,
    predictions: Predictions,
    called: NDArray[np.int64],
    compared: tuple[Measured, Measured, float],
    adjusted: float,
) -> Row:
    inside, gap, p = compared
    row: Row = {"slice": name, "errors": _cell(inside), "more than elsewhere": _cell(gap)}
    if predictions.encoding.kind == "binary":
        answers = known_answers(predictions)
        for words, truth in (("missed", 1), ("false alarms", 0)):
            members = mask & (answers == truth)
            row[words] = f"{int((members & (called != truth)).sum())} of {int(members.sum())}"
    return {**row, "p": round(p, 4), "Holm p": round(adjusted, 4)}


def _finding(name: str, compared: tuple[Measured, Measured, float], adjusted: float, tests: int) -> Finding:
    inside, gap, _ = compared
    note = (
        f"{inside.value:.0%} of the calls are wrong where {name}, {gap.value:.0%} more than elsewhere; look "
        "at these cases before the model is used on such"
    )
    return Finding(
        "worst_slice", label=name, value=inside.value, low=inside.low, high=inside.high, n=inside.n,
        n_patients=inside.n_patients, method=f"{inside.method}; Holm p = {adjusted:.3g} of {tests} slices",
        level="warning", note=note,
    )  # fmt: skip


def _cell(part: Measured) -> Row:
    return {"value": part.value, "low": part.low, "high": part.high, "n": part.n}
