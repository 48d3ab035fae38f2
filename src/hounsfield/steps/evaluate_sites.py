"""Site by site: the forest with its mean and where a new site would lie, and what thresholds give there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.model import OperatingPoint
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.discrimination import auroc
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.measured import proportion
from hounsfield.metrics.operating import MIN_FOR_OWN_THRESHOLD, site_points
from hounsfield.metrics.patients import Patients
from hounsfield.metrics.pooling import pooled
from hounsfield.metrics.thresholds import Rule
from hounsfield.steps.one_against_rest import calls_of, found_names, known_answers, rows_of

__all__ = ["forest_of_sites", "site_column", "site_thresholds"]

Row = dict[str, Any]
COLUMNS = ("site", "scanner")
MOST_SITES = 30


def site_column(predictions: Predictions) -> str:
    """The column whose values are sites: "site", else "scanner"; "" where neither has two values."""
    for column in COLUMNS:
        if 2 <= len(set(predictions.groups.get(column, ())) - {""}) <= MOST_SITES:
            return column
    return ""


def forest_of_sites(predictions: Predictions, called: NDArray[np.int64]) -> list[Row]:
    """AUROC, sensitivity and specificity of every site, then their random-effects mean ("pooled").

    Of several findings each is a metric of its own. Sites that share patients have no mean.
    """
    column = site_column(predictions)
    if not column:
        return []
    scores, answers = rows_of(predictions)
    said = calls_of(predictions, called)
    sites = np.array(predictions.groups[column])
    names = sorted(set(sites.tolist()) - {""})
    apart = _apart(predictions.patients, sites)
    rows: list[Row] = []
    several = found_names(predictions.encoding)
    for k, finding in enumerate(several):
        measured: dict[str, list[Estimate]] = {}
        for name in names:
            inside = np.flatnonzero(sites == name)
            who = [predictions.patients[r] for r in inside]
            for e in _measured(scores[inside, k], answers[inside, k], said[inside, k], who):
                measured.setdefault(e.name, []).append(e)
        for metric, estimates in measured.items():
            title = metric if len(several) == 1 else f"{metric}, {finding}"
            rows += [_row(title, site, e) for site, e in zip(names, estimates, strict=True)]
            rows += [_pooled_row(title, estimates)] if apart else []
    return rows


def site_thresholds(predictions: Predictions, point: OperatingPoint, *, seed: int = 0) -> list[Row]:
    """What the common threshold gives in each site, and the threshold that the site would choose itself."""
    column = site_column(predictions)
    rule, target = _rule_of(point)
    if not column or predictions.encoding.kind != "binary" or not point.values:
        return []
    answers = known_answers(predictions)
    rows = np.flatnonzero(np.array(predictions.groups[column]) != "")
    if not 0 < answers[rows].sum() < len(rows):
        return []
    found = site_points(
        predictions.scores[rows, 0],
        answers[rows],
        [predictions.groups[column][r] for r in rows],
        threshold=point.values[0],
        rule=rule,
        target=target,
        patients=[predictions.patients[r] for r in rows],
        seed=seed,
    )
    table = []
    for one in found:
        own = one.own.threshold if one.own else None
        mine: Any = f"too few ({MIN_FOR_OWN_THRESHOLD} patients of each class)"
        if own is not None:
            mine = {"value": own.value, "low": own.low, "high": own.high}
        rates = {"sensitivity": one.sensitivity.cell, "specificity": one.specificity.cell}
        common = {"common threshold": point.values[0], "threshold of its own": mine}
        table.append({column: one.group, **rates, **common})
    return table


def _rule_of(point: OperatingPoint) -> tuple[Rule, float | None]:
    """The rule that the words name, and what it holds; Youden's where a site could follow none."""
    held = re.match(r"(sensitivity|specificity) of ([\d.]+)$", point.rule)
    if held:
        return ("sensitivity" if held[1] == "sensitivity" else "specificity"), float(held[2])
    dear = re.match(r"cost, a missed finding as ([\d.e+]+) ", point.rule)
    if dear:
        return "cost", float(dear[1])
    plain: dict[str, Rule] = {"accuracy": "accuracy", "f1": "f1"}
    return plain.get(point.rule, "youden"), None


def _measured(
    scores: NDArray[np.float64], answers: NDArray[np.int64], said: NDArray[np.int64], patients: Sequence[str]
) -> tuple[Estimate, Estimate, Estimate]:
    owners = Patients.of(list(patients), cases=len(answers))
    positive, hit = answers == 1, said == 1
    sensitivity = proportion(hit, positive, owners).estimate("sensitivity")
    specificity = proportion(~hit, ~positive, owners).estimate("specificity")
    return _area(scores, answers, owners), sensitivity, specificity


def _area(scores: NDArray[np.float64], answers: NDArray[np.int64], owners: Patients) -> Estimate:
    if 0 < answers.sum() < len(answers):
        return auroc(scores, answers, patients=owners)
    reason = "all cases are of one class: an AUROC is not defined"
    return Estimate.refuse("auroc", reason, n=len(answers), n_patients=owners.count)


def _row(metric: str, site: str, e: Estimate) -> Row:
    told = {"site": site, "metric": metric, "value": e.value, "low": e.low, "high": e.high}
    return {**told, "n": e.n, "n_patients": e.n_patients, "method": e.method, "note": e.reason}


def _pooled_row(metric: str, estimates: Sequence[Estimate]) -> Row:
    mean = pooled(estimates)
    row = _row(metric, "pooled", mean.estimate)
    return {**row, "prediction_low": mean.prediction_low, "prediction_high": mean.prediction_high}


def _apart(patients: Sequence[str], sites: NDArray[Any]) -> bool:
    """Whether no patient has images of two sites."""
    where: dict[str, str] = {}
    return all(where.setdefault(p, s) == s for p, s in zip(patients, sites.tolist(), strict=True))
