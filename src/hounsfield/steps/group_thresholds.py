"""A threshold for each group of patients, where a person has consented to it: chosen, looked up, said.

A group's threshold is chosen on its validation cases by the plan's rule. Where a group has too few patients
with and without the finding, and where the group of a new case is not known, the common threshold holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.model import GroupPoint, OperatingPoint
from hounsfield.core.plan import Plan
from hounsfield.core.predictions import Predictions
from hounsfield.steps.calibrate import operating_point
from hounsfield.steps.mitigation import group_names
from hounsfield.tasks.classification import predicted_classes

__all__ = ["called_at", "called_by_group", "group_of_cases", "unknown_groups", "with_group_points"]


def group_of_cases(cases: Sequence[Case], plan: Plan) -> tuple[str, ...] | None:
    """The group of each case by which thresholds differ; None where the plan has one threshold for all."""
    if not plan.mitigation.thresholds_per_group:
        return None
    columns = plan.mitigation.columns
    return group_names(
        {c: tuple(case.groups.get(c, "") for case in cases) for c in columns}, columns, cases=len(cases)
    )


def with_group_points(
    point: OperatingPoint,
    scores: NDArray[np.float64],
    answers: NDArray[np.int64],
    patients: Sequence[str],
    named: Sequence[str],
    encoding: LabelEncoding,
    plan: Plan,
    *,
    seed: int,
) -> OperatingPoint:
    """The operating point with the thresholds of the groups (N,) that have enough validation cases.

    An output of which a group has fewer than `mitigation.least_patients` patients with the finding, or
    without it, keeps the common threshold.
    """
    groups = np.array(named)
    table = answers.reshape(len(answers), -1)
    found = []
    for name in sorted(set(named)):
        rows = np.flatnonzero(groups == name)
        who = [patients[r] for r in rows.tolist()]
        own = operating_point(
            scores[rows], answers[rows], who, encoding, plan.validation, seed=seed, chosen_on=name
        )
        enough = [
            min(len({p for p, a in zip(who, table[rows, c], strict=True) if a == held}) for held in (0, 1))
            >= plan.mitigation.least_patients
            for c in range(table.shape[1])
        ]
        if not any(enough):
            continue
        values = tuple(
            mine if ok else common for mine, common, ok in zip(own.values, point.values, enough, strict=True)
        )
        low, high = (own.low, own.high) if enough[0] else (point.low, point.high)
        found.append(GroupPoint(name, values, len(rows), len(set(who)), low, high))
    return replace(point, by=plan.mitigation.columns, groups=tuple(found))


def called_by_group(
    scores: NDArray[np.float64], encoding: LabelEncoding, point: OperatingPoint, named: Sequence[str]
) -> NDArray[np.int64]:
    """What is called of scores (N, outputs), each case by its group's threshold, or by the common one.

    >>> point = OperatingPoint((0.5,), "youden", "", by=("sex",), groups=(GroupPoint("sex=F", (0.2,), 9, 9),))
    >>> scores, encoding = np.array([[0.3], [0.3]]), LabelEncoding("binary", ("0", "1"))
    >>> called_by_group(scores, encoding, point, ["sex=F", "sex not known"]).tolist()
    [1, 0]
    """
    called = predicted_classes(scores, encoding, point.values)
    groups = np.array(named)
    for own in point.groups:
        rows = groups == own.group
        called[rows] = predicted_classes(scores[rows], encoding, own.values)
    return called


def called_at(predictions: Predictions, point: OperatingPoint) -> NDArray[np.int64]:
    """What a model's operating point calls: by group, where it has thresholds of groups."""
    if not point.groups:
        return predicted_classes(predictions.scores, predictions.encoding, point.values)
    return called_by_group(
        predictions.scores, predictions.encoding, point, _named(predictions.groups, point, len(predictions))
    )


def unknown_groups(predictions: Predictions, point: OperatingPoint) -> str:
    """How many cases were called by the common threshold, in words; "" where there is one for all."""
    if not point.groups:
        return ""
    known = {own.group for own in point.groups}
    named = _named(predictions.groups, point, len(predictions))
    n = sum(name not in known for name in named)
    by = " and ".join(point.by)
    if not n:
        return f"every case was called by the threshold of its own group ({by})"
    return (
        f"{n} of {len(predictions)} case(s) were called by the common threshold: their group ({by}) is not "
        "known, or has none of its own"
    )


def _named(groups: Mapping[str, Sequence[str]], point: OperatingPoint, cases: int) -> tuple[str, ...]:
    return group_names(groups, point.by, cases=cases)
