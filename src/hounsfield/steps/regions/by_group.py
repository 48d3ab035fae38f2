"""Numbers of cases by group and by pairs of groups, and which columns differ by more than chance.

What is measured of a segmentation or a detection is a mean over cases (Dice, lesions found, false positives).
Every group gets it with its interval; whether a column differs at all is said by one test of its groups
(`permuted`), corrected over all columns, metrics and structures (Holm), and only there a group is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.metrics.heterogeneity import Heterogeneity, heterogeneity, holm
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.patients import Patients
from hounsfield.steps.evaluate_groups import BETWEEN, CORE, LEVEL, MOST_CELLS, MOST_VALUES, ByGroup
from hounsfield.steps.regions.permuted import permutation_test

__all__ = ["Measure", "grouping", "groups_measured", "words_of"]

Row = dict[str, Any]
Rows = NDArray[np.int64]


NAMES = {
    "dice": "Dice",
    "froc_cpm": "CPM",
    "lesion_sensitivity": "share of lesions found",
    "false_positives_per_image": "number of false positives an image",
}


def words_of(name: str) -> str:
    """A metric as a sentence names it.

    >>> words_of("dice"), words_of("relative_volume_error")
    ('Dice', 'relative volume error')
    """
    return NAMES.get(name, name.replace("_", " "))


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """One number of cases: what it is called, how some cases (rows) are measured, and what is compared.

    The mean of some cases is the sum of `total` (N,) over that of `weight` (N,), 0 where a case has none;
    `label` is the structure or class ("" is all). A measure that is `compared` is tested by group.
    """

    name: str
    label: str
    total: NDArray[np.float64]
    weight: NDArray[np.float64]
    of: Callable[[Rows], Estimate]
    compared: bool = True

    @property
    def words(self) -> str:
        """The measure as a sentence names it."""
        return words_of(self.name) + (f" of {self.label}" if self.label else "")


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """One measure in the groups of one column, with the test of all of them."""

    column: str
    names: tuple[str, ...]
    codes: Rows
    measure: Measure
    estimates: tuple[Estimate, ...]
    test: Heterogeneity
    p_adjusted: float = 1.0

    @property
    def is_clear(self) -> bool:
        return self.test.p_value is not None and self.p_adjusted < LEVEL


def groups_measured(
    groups: Mapping[str, Sequence[str]],
    patients: Sequence[str],
    measures: Sequence[Measure],
    *,
    seed: int = 0,
) -> ByGroup:
    """Every measure in every group of every column, and in the pairs of sex, age band, site and scanner.

    Cases whose group is not known ("") form "not recorded" and are not compared. Columns of more than
    `MOST_VALUES` values are named as left out.
    """
    columns, untested = grouping(groups)
    owners = Patients.of(list(patients), cases=len(patients)).code.astype(np.int64)
    tests = sum(m.compared for m in measures) * len(columns)
    tested = [
        _cells(column, values, measure, owners, tests, seed)
        for column, values in columns.items()
        for measure in measures
    ]
    cells = _corrected(tested)
    findings = [f for one in cells for f in _findings(one)]
    alarms = [_alarm(one) for one in cells if one.is_clear]
    tables = {
        "subgroup_tests": [_test(one) for one in cells if one.measure.compared and one.test.groups > 1],
        "subgroup_differences": [
            row for one in cells if one.is_clear for row in _differences(one, owners, seed)
        ],
        "subgroup_metrics": _everything(cells),
    }
    return ByGroup((*findings, *alarms), (), {name: rows for name, rows in tables.items() if rows}, untested)


def grouping(groups: Mapping[str, Sequence[str]]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """The columns that can be compared, with those of pairs, and in words which were left out.

    >>> grouping({"sex": ["F", "M"], "site": ["A", "B"], "reader": ["x", "x"]})[0]
    {'sex': ['F', 'M'], 'site': ['A', 'B'], 'sex × site': ['F × A', 'M × B']}
    """
    columns: dict[str, list[str]] = {}
    many = []
    for name, values in groups.items():
        known = len(set(values) - {""})
        if known > MOST_VALUES:
            many.append(f"{name} ({known} values)")
        elif known > 1:
            columns[name] = list(values)
    for first, second in combinations([c for c in CORE if c in columns], 2):
        both = zip(columns[first], columns[second], strict=True)
        pairs = [f"{a}{BETWEEN}{b}" if a and b else "" for a, b in both]
        if 2 <= len(set(pairs) - {""}) <= MOST_CELLS:
            columns[f"{first}{BETWEEN}{second}"] = pairs
    said = f"Groups of {', '.join(many)}: more than {MOST_VALUES} values, so that none could be compared."
    return columns, (said,) if many else ()


def _cells(
    column: str, values: Sequence[str], measure: Measure, owners: Rows, tests: int, seed: int
) -> _Cells:
    held = np.array(values)
    names = tuple(sorted(set(values) - {""}))
    codes = np.full(len(held), -1, np.int64)
    for k, name in enumerate(names):
        codes[held == name] = k
    shown = (*names, *(("not recorded",) if (codes < 0).any() and BETWEEN not in column else ()))
    estimates = tuple(
        measure.of(np.flatnonzero(codes == (k if k < len(names) else -1)).astype(np.int64))
        for k in range(len(shown))
    )
    test = Heterogeneity(None, None, None, None, 0, "not compared")
    if measure.compared:
        test = permutation_test(measure.total, measure.weight, owners, codes, tests=tests, seed=seed)
    return _Cells(column, shown, codes, measure, estimates, test)


def _corrected(cells: Sequence[_Cells]) -> list[_Cells]:
    told = [k for k, one in enumerate(cells) if one.test.p_value is not None]
    adjusted = dict(zip(told, holm([cells[k].test.p_value or 0.0 for k in told]).tolist(), strict=True))
    return [
        _Cells(c.column, c.names, c.codes, c.measure, c.estimates, c.test, adjusted.get(k, 1.0))
        for k, c in enumerate(cells)
    ]


def _named(column: str, group: str) -> str:
    """The group as the report names it: sex=F, or sex=F & site=A."""
    if BETWEEN not in column or BETWEEN not in group:
        return f"{column}={group}"
    pairs = zip(column.split(BETWEEN), group.split(BETWEEN), strict=True)
    return " & ".join(f"{c}={v}" for c, v in pairs)


def _findings(cells: _Cells) -> list[Finding]:
    """The numbers of the groups; of pairs of columns only what could be measured."""
    paired = BETWEEN in cells.column
    return [
        Finding(
            cells.measure.name, _named(cells.column, name), cells.measure.label, e.value, e.low, e.high, e.n,
            e.n_patients, e.method, note=e.reason,
        )
        for name, e in zip(cells.names, cells.estimates, strict=True)
        if not paired or (cells.measure.compared and not e.refused)
    ]  # fmt: skip


def _i_squared(cells: _Cells) -> float | None:
    return heterogeneity(
        [e for n, e in zip(cells.names, cells.estimates, strict=True) if n != "not recorded"]
    ).i_squared


def _test(cells: _Cells) -> Row:
    told = {"column": cells.column, "metric": cells.measure.name, "label": cells.measure.label}
    numbers = {"p": cells.test.p_value, "p_adjusted": cells.p_adjusted, "i2": _i_squared(cells)}
    return {**told, **numbers, "groups": cells.test.groups, "note": cells.test.reason}


def _differences(cells: _Cells, owners: Rows, seed: int) -> list[Row]:
    """Each group against the others of a column that differs; p values corrected among its groups."""
    m, known = cells.measure, cells.codes >= 0
    found = []
    for k, e in enumerate(cells.estimates):
        if e.refused or cells.names[k] == "not recorded":
            continue
        apart = np.where(known, (cells.codes == k).astype(np.int64), -1)
        test = permutation_test(m.total, m.weight, owners, apart, seed=seed)
        if test.p_value is not None:
            rest = apart == 0
            gap = (e.value or 0.0) - float(m.total[rest].sum() / max(m.weight[rest].sum(), 1e-12))
            found.append((k, gap, test.p_value))
    adjusted = holm([p for _, _, p in found])
    return [
        {
            "group": _named(cells.column, cells.names[k]), "metric": m.name, "label": m.label,
            "difference": gap, "p_adjusted": max(float(p), cells.p_adjusted),
        }
        for (k, gap, _), p in zip(found, adjusted, strict=True)
    ]  # fmt: skip


def _everything(cells: Sequence[_Cells]) -> list[Row]:
    """A row a group with every measure."""
    rows: dict[str, Row] = {}
    for one in cells:
        for name, e in zip(one.names, one.estimates, strict=True):
            row = rows.setdefault(_named(one.column, name), {"group": _named(one.column, name), "n": 0})
            row["n"] = max(row["n"], e.n)
            row[one.measure.words] = {**e.cell, "note": e.reason}
    return list(rows.values())


def _alarm(cells: _Cells) -> Finding:
    """That a column differs, in words: between which groups, and how sure."""
    known = zip(cells.names, cells.estimates, strict=True)
    told = sorted((e.value, name, e) for name, e in known if e.value is not None and name != "not recorded")
    (low, worst, first), (high, best, last) = told[0], told[-1]
    note = (
        f"{cells.measure.words} differs by {cells.column} beyond chance: {low:.3f} in {worst} "
        f"(n = {first.n}) to {high:.3f} in {best} (n = {last.n}); read who is in these groups before "
        "the model is used in them"
    )
    return Finding(
        "heterogeneity", label=f"{cells.measure.words} by {cells.column}", value=_i_squared(cells),
        n=sum(e.n for _, _, e in told), n_patients=sum(e.n_patients for _, _, e in told),
        method=f"permutation of patients, Holm p = {cells.p_adjusted:.3g}; value: I²",
        level="warning", note=note,
    )  # fmt: skip
