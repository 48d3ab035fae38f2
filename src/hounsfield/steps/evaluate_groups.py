"""The same numbers by group, by pairs of groups and by site: whether they differ by more than chance.

One bootstrap of patients gives every metric in every group (`metrics.subgroups`). A column is said to differ
only by a test of all its groups at once, corrected for the number of tests (Holm); a single group is marked
only where its column differs, so that the chance of any false alarm stays at one level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.subgroups import (
    COMPARED,
    METRICS,
    ColumnTest,
    Subgroup,
    SubgroupTable,
    subgroup_metrics,
)
from hounsfield.steps.one_against_rest import calls_of, found_names, rows_of

__all__ = ["ByGroup", "by_group", "columns_of"]

Row = dict[str, Any]
CORE = ("sex", "age band", "site", "scanner")
"""Columns of which every pair is looked at."""
MOST_VALUES = 12
MOST_CELLS = 48
"""A pair of columns with more groups than this says nothing that a reader could take in."""
RESAMPLES = 2000
LEVEL = 0.025
"""Half of the 5 % that an evaluation may err by; the worst slices have the other half."""
MAIN = ("auroc", "accuracy", "sensitivity", "specificity")
BESIDE = ("precision", "calibration_slope")
PAIRED = ("auroc", "sensitivity", "specificity")
GAPS = (("under_diagnosis", "sensitivity"), ("over_diagnosis", "specificity"))
BETWEEN = " × "


@dataclass(frozen=True)
class ByGroup:
    """What was found by group: findings for the report, tables beside them, and what was left out.

    `overall` are the calibration's slope and intercept of everyone, which the same bootstrap gives.
    """

    findings: tuple[Finding, ...] = ()
    overall: tuple[Finding, ...] = ()
    tables: Mapping[str, Any] | None = None
    untested: tuple[str, ...] = ()


def by_group(predictions: Predictions, called: NDArray[np.int64], *, seed: int = 0) -> ByGroup:
    """Every metric in every group of every column, and in the pairs of sex, age band, site and scanner.

    Cases without a value form the group "not recorded". Without a case of each class there is nothing to
    rank, and every number that needs one says so.
    """
    columns, untested = columns_of(predictions)
    scores, answers = rows_of(predictions)
    table = subgroup_metrics(
        scores,
        answers,
        columns,
        patients=list(predictions.patients),
        findings=found_names(predictions.encoding),
        called=calls_of(predictions, called),
        resamples=RESAMPLES,
        seed=seed,
    )
    naming = _Naming(predictions)
    clear = {(t.finding, t.column, t.metric): t for t in table.tests if _p(t.p_adjusted) < LEVEL}
    groups = [row for row in table.rows if row.column]
    told = {(r.finding, r.column, r.estimate.name) for r in groups if not r.estimate.refused}
    findings = [f for row in groups if (f := _shown(row, told, naming)) is not None]
    tables = {
        "subgroup_tests": [_test(t, naming) for t in table.tests if t.test.groups > 1],
        "subgroup_differences": _differences(groups, clear, naming),
        "subgroup_metrics": _everything(table, naming),
        "diagnosis_gaps": _gaps(groups, clear, naming),
    }
    alarms = [_alarm(test, groups, naming) for test in clear.values()]
    everyone = [row for row in table.rows if not row.column]
    overall = [_finding(row, naming) for row in everyone if row.estimate.name.startswith("calibration_")]
    return ByGroup(
        (*findings, *_gap_findings(groups, naming), *alarms),
        tuple(overall),
        {name: rows for name, rows in tables.items() if rows},
        untested,
    )


def columns_of(predictions: Predictions) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """The columns that can be compared, with those of pairs, and in words which were left out."""
    columns: dict[str, list[str]] = {}
    many = []
    for name, values in predictions.groups.items():
        known = len(set(values) - {""})
        if known > MOST_VALUES:
            many.append(f"{name} ({known} values)")
        elif known > 1:
            columns[name] = list(values)
    for first, second in combinations([c for c in CORE if c in columns], 2):
        pairs = [
            f"{a}{BETWEEN}{b}" if a and b else ""
            for a, b in zip(columns[first], columns[second], strict=True)
        ]
        if 2 <= len(set(pairs) - {""}) <= MOST_CELLS:
            columns[f"{first}{BETWEEN}{second}"] = pairs
    said = f"Groups of {', '.join(many)}: more than {MOST_VALUES} values, so that none could be compared."
    return columns, (said,) if many else ()


class _Naming:
    """Names as the report knows them: the one finding of a binary task is no label."""

    def __init__(self, predictions: Predictions) -> None:
        self.binary = predictions.encoding.kind == "binary"

    def label(self, finding: str) -> str:
        return "" if self.binary else finding

    def group(self, column: str, group: str) -> str:
        if BETWEEN not in column or BETWEEN not in group:
            return f"{column}={group}"
        names = zip(column.split(BETWEEN), group.split(BETWEEN), strict=True)
        return " & ".join(f"{c}={v}" for c, v in names)


def _p(value: float | None) -> float:
    return 1.0 if value is None else value


def _finding(row: Subgroup, naming: _Naming) -> Finding:
    e = row.estimate
    group = naming.group(row.column, row.group) if row.column else ""
    return Finding(
        e.name, group, naming.label(row.finding), e.value, e.low, e.high, e.n, e.n_patients, e.method,
        note=e.reason,
    )  # fmt: skip


def _shown(row: Subgroup, told: set[tuple[str, str, str]], naming: _Naming) -> Finding | None:
    """A number that the report prints; of pairs, and beside the main ones, only what could be measured."""
    paired, name = BETWEEN in row.column, row.estimate.name
    if name not in (PAIRED if paired else (*MAIN, *BESIDE)):
        return None
    if name in BESIDE and (row.finding, row.column, name) not in told:
        return None
    if paired and (row.estimate.refused or row.group == "not recorded"):
        return None
    return _finding(row, naming)


def _test(test: ColumnTest, naming: _Naming) -> Row:
    found = test.test
    row = {"column": test.column, "metric": test.metric, "label": naming.label(test.finding)}
    numbers = {"p": found.p_value, "p_adjusted": test.p_adjusted, "i2": found.i_squared}
    return {**row, **numbers, "groups": found.groups, "note": found.reason}


def _differences(
    rows: Sequence[Subgroup], clear: Mapping[tuple[str, str, str], ColumnTest], naming: _Naming
) -> list[Row]:
    """Each group against the others of its column, where the column differs; p corrected."""
    found = []
    for row in rows:
        test = clear.get((row.finding, row.column, row.estimate.name))
        if test is None or row.difference is None or row.difference.refused:
            continue
        p = max(_p(row.p_adjusted), _p(test.p_adjusted))
        told = {"group": naming.group(row.column, row.group), "metric": row.estimate.name}
        numbers = {"difference": row.difference.cell, "p_adjusted": p}
        found.append({**told, "label": naming.label(row.finding), **numbers})
    return found


def _everything(table: SubgroupTable, naming: _Naming) -> list[Row]:
    """A row a group with every metric; where there are too few cases the cell is empty."""
    rows: dict[tuple[str, str], Row] = {}
    for row in table.rows:
        if BETWEEN in row.column and row.group == "not recorded":
            continue
        group = naming.group(row.column, row.group) if row.column else "everyone"
        start = {"group": group} if naming.binary else {"finding": row.finding, "group": group}
        cells = rows.setdefault((row.finding, group), {**start, "n": 0})
        cells["n"] = max(cells["n"], row.estimate.n)
        cells[row.estimate.name] = row.estimate.cell
    return list(rows.values())


def _gaps(
    rows: Sequence[Subgroup], clear: Mapping[tuple[str, str, str], ColumnTest], naming: _Naming
) -> list[Row]:
    """Missed findings and false alarms of each group, and by how much more than in the column's others."""
    made: dict[tuple[str, str], Row] = {}
    for row in rows:
        name = next((name for name, metric in GAPS if metric == row.estimate.name), "")
        if not name or row.difference is None or row.difference.refused:
            continue
        group = naming.group(row.column, row.group)
        start = {"group": group} if naming.binary else {"finding": row.finding, "group": group}
        cells = made.setdefault((row.finding, group), start)
        words = name.replace("_", "-")
        test = clear.get((row.finding, row.column, row.estimate.name))
        cells[words] = _turned(row.estimate, about=1.0).cell
        cells[f"{words} gap"] = _turned(row.difference, about=0.0).cell
        cells[f"{words} p"] = max(_p(row.p_adjusted), _p(test.p_adjusted)) if test else 1.0
    return list(made.values())


def _gap_findings(rows: Sequence[Subgroup], naming: _Naming) -> list[Finding]:
    """Differences in under- and over-diagnosis, of single columns."""
    found = []
    for row in rows:
        name = next((name for name, metric in GAPS if metric == row.estimate.name), "")
        if not name or row.difference is None or row.difference.refused or BETWEEN in row.column:
            continue
        gap = _turned(row.difference, about=0.0)
        shown = replace(row, estimate=replace(gap, name=f"{name}_gap"))
        found.append(_finding(shown, naming))
    return found


def _turned(e: Estimate, *, about: float) -> Estimate:
    """The same with its sign turned: a miss for a hit (about 1), more for less (about 0)."""
    if e.value is None or e.low is None or e.high is None:
        return e
    return replace(e, value=about - e.value, low=about - e.high, high=about - e.low)


def _alarm(test: ColumnTest, rows: Sequence[Subgroup], naming: _Naming) -> Finding:
    """That a column differs, in words: between which values, and how sure."""
    same = [
        r for r in rows
        if (r.finding, r.column, r.estimate.name) == (test.finding, test.column, test.metric)
        and r.estimate.value is not None
    ]  # fmt: skip
    same.sort(key=lambda r: r.estimate.value or 0.0)
    worst, best = same[0], same[-1]
    metric = test.metric.replace("_", " ")
    of = f" of {test.finding}" if naming.label(test.finding) else ""
    note = (
        f"{metric}{of} differs by {test.column} beyond chance: {_words(worst)} to {_words(best)}; read who "
        "is in these groups before the model is used in them"
    )
    return Finding(
        "heterogeneity", label=f"{metric}{of} by {test.column}", value=test.test.i_squared,
        n=sum(r.estimate.n for r in same), n_patients=sum(r.estimate.n_patients for r in same),
        method=f"Cochran's Q, Holm p = {_p(test.p_adjusted):.3g}; value: I²", level="warning", note=note,
    )  # fmt: skip


def _words(row: Subgroup) -> str:
    return f"{row.estimate.value:.3f} in {row.group} (n = {row.estimate.n})"


assert {*MAIN, *BESIDE} <= set(METRICS) and set(PAIRED) <= set(COMPARED)
