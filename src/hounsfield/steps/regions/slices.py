"""Where a number of the cases is worst: slices by group, by pairs of groups and by how the images look.

As in `steps.failures`, every slice that is large enough is set against all other cases, the p values are
corrected together (Holm), and slices that hold nearly the same cases are named once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.metrics.heterogeneity import holm
from hounsfield.metrics.patients import Patients
from hounsfield.steps.failures import ALIKE, LEAST, LEVEL, MOST_VALUES, SHOWN, THIRDS
from hounsfield.steps.regions.by_group import Measure
from hounsfield.steps.regions.permuted import permutation_test

__all__ = ["slices_measured"]

Row = dict[str, Any]
Mask = NDArray[np.bool_]


def slices_measured(
    measure: Measure,
    groups: Mapping[str, Sequence[str]],
    patients: Sequence[str],
    looks: Mapping[str, NDArray[np.float64]],
    *,
    seed: int = 0,
) -> tuple[tuple[Finding, ...], list[Row]]:
    """The slices in which a measure is lowest: findings where chance does not explain it, and a table.

    `looks` are numbers of each case (N,), which are cut into thirds.
    """
    owners = Patients.of(list(patients), cases=len(patients))
    known = measure.weight > 0
    wanted = [(name, mask & known) for name, mask in _slices(groups, looks)]
    candidates = [(name, mask) for name, mask in wanted if _is_enough(mask, known, owners)]
    gaps, p_values = [], []
    for _, mask in candidates:
        apart = np.where(known, mask.astype(np.int64), -1)
        test = permutation_test(
            measure.total, measure.weight, owners.code.astype(np.int64), apart,
            tests=len(candidates), seed=seed,
        )  # fmt: skip
        gaps.append(_mean(measure, mask) - _mean(measure, known & ~mask))
        p_values.append(1.0 if test.p_value is None else test.p_value)
    adjusted = holm(p_values).tolist()
    kept: list[int] = []
    for k in sorted(range(len(gaps)), key=lambda k: (_mean(measure, candidates[k][1]), candidates[k][0])):
        if gaps[k] < 0 and not any(_is_alike(candidates[k][1], candidates[other][1]) for other in kept):
            kept.append(k)
        if len(kept) == SHOWN:
            break
    told = [(candidates[k][0], candidates[k][1], gaps[k], p_values[k], adjusted[k]) for k in kept]
    found = [
        _finding(measure, name, mask, gap, p_adjusted, len(candidates))
        for name, mask, gap, _, p_adjusted in told
        if p_adjusted < LEVEL
    ]
    return tuple(found), [_row(measure, *one) for one in told]


def _slices(
    groups: Mapping[str, Sequence[str]], looks: Mapping[str, NDArray[np.float64]]
) -> Iterator[tuple[str, Mask]]:
    single: dict[str, list[tuple[str, Mask]]] = {}
    for column, values in groups.items():
        held = np.array(values)
        names = sorted(set(held.tolist()) - {""})
        if 2 <= len(names) <= MOST_VALUES:
            single[column] = [(f"{column}={name}", held == name) for name in names]
    for look, numbers in looks.items():
        third = np.searchsorted(np.quantile(numbers, [1 / 3, 2 / 3]), numbers, side="right")
        single[look] = [(f"{look}: {word} third", third == k) for k, word in enumerate(THIRDS)]
    for slices in single.values():
        yield from slices
    for first, second in combinations(single, 2):
        for name, mask in single[first]:
            for other, more in single[second]:
                yield f"{name} & {other}", mask & more


def _is_enough(mask: Mask, known: Mask, owners: Patients) -> bool:
    inside, everyone = int(np.count_nonzero(mask)), int(np.count_nonzero(known))
    return LEAST <= inside <= everyone - LEAST and owners.among(mask) >= LEAST // 2


def _is_alike(first: Mask, second: Mask) -> bool:
    return float((first & second).sum()) / float((first | second).sum()) > ALIKE


def _mean(measure: Measure, mask: Mask) -> float:
    return float(measure.total[mask].sum() / measure.weight[mask].sum())


def _row(measure: Measure, name: str, mask: Mask, gap: float, p: float, adjusted: float) -> Row:
    inside = {**measure.of(np.flatnonzero(mask).astype(np.int64)).cell}
    numbers = {measure.words: inside, "less than elsewhere": -gap}
    return {"slice": name, **numbers, "p": round(p, 4), "Holm p": round(adjusted, 4)}


def _finding(measure: Measure, name: str, mask: Mask, gap: float, adjusted: float, tests: int) -> Finding:
    e = measure.of(np.flatnonzero(mask).astype(np.int64))
    note = (
        f"{measure.words} is {_mean(measure, mask):.3f} where {name}, {-gap:.3f} less than elsewhere; look "
        "at these cases before the model is used on such"
    )
    return Finding(
        "worst_slice", label=name, value=e.value, low=e.low, high=e.high, n=e.n, n_patients=e.n_patients,
        method=f"{e.method}; permutation of patients, Holm p = {adjusted:.3g} of {tests} slices",
        level="warning", note=note,
    )  # fmt: skip
