"""Every metric of every finding in every subgroup, with intervals, and whether groups differ.

One bootstrap of patients serves all (`subgroup_values` says what is exact in it, `subgroup_intervals` how
an interval is made of it, `subgroup_tests` how groups are compared). Only metrics that do not follow from
how common a finding is in a group are compared unless asked; the expected calibration error never is,
since its bias grows as groups shrink.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.inputs import (
    check_binary_answers,
    check_probabilities,
    check_same_length,
    check_scores,
)
from hounsfield.metrics.measured import Measured
from hounsfield.metrics.patients import BoolArray, FloatArray, Resampling, draw
from hounsfield.metrics.subgroup_intervals import CellResamples, measure_cell
from hounsfield.metrics.subgroup_sums import OWNERS, cell_sums
from hounsfield.metrics.subgroup_tests import ColumnTest, Subgroup, compare, corrected_groups, corrected_tests
from hounsfield.metrics.subgroup_values import METRICS, pulls_of, resampled_metrics, sample_metrics

__all__ = ["COMPARED", "METRICS", "ColumnTest", "Subgroup", "SubgroupTable", "subgroup_metrics"]

COMPARED = ("auroc", "sensitivity", "specificity", "calibration_slope", "calibration_intercept")
"""What is compared between groups unless told otherwise."""

_UNRECORDED = "not recorded"


@dataclass(frozen=True, slots=True)
class SubgroupTable:
    """All subgroups, of each finding everyone first, and the tests of all columns."""

    rows: tuple[Subgroup, ...]
    tests: tuple[ColumnTest, ...]

    def row(self, finding: str, metric: str, *, column: str = "", group: str = "") -> Subgroup:
        """The one row of a finding, a metric and a group."""
        wanted = (finding, column, group, metric)
        found = [r for r in self.rows if (r.finding, r.column, r.group, r.estimate.name) == wanted]
        if not found:
            raise BadInput(f'the table has no row for {metric} of {finding} in {column}="{group}".')
        return found[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The groups of every column, as cells: cell 0 is everyone, `names` are (column, group)."""

    code: npt.NDArray[np.int32]
    names: tuple[tuple[str, str], ...]
    columns: Mapping[str, tuple[int, ...]]


def subgroup_metrics(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    groups: Mapping[str, npt.ArrayLike],
    *,
    patients: npt.ArrayLike | None,
    findings: Sequence[str],
    thresholds: float | Sequence[float] = 0.5,
    called: npt.ArrayLike | None = None,
    known: npt.ArrayLike | None = None,
    metrics: Sequence[str] = METRICS,
    compared: Sequence[str] = COMPARED,
    resamples: int = 2000,
    seed: int | np.random.Generator = 0,
) -> SubgroupTable:
    """Measure probabilities (N, L) of L findings against answers 0 or 1 (N, L) in every group.

    `groups` names columns of N values ("sex": …, "site": …); an empty value is the group "not recorded".
    For an intersection give a column of pairs. `called` (N, L) replaces the `thresholds` where each case was
    called by a rule of its own. `known` (N, L) leaves out answers that nobody gave. Raises BadInput for
    arrays that do not fit and for metrics that are not in `METRICS`.

    >>> rng = np.random.default_rng(0)
    >>> answers = rng.integers(0, 2, (400, 1))
    >>> scores = 1 / (1 + np.exp(-rng.normal(size=(400, 1)) - 2 * answers + 1))
    >>> sex = np.where(np.arange(400) % 2, "F", "M")
    >>> table = subgroup_metrics(scores, answers, {"sex": sex}, patients=None, findings=["nodule"])
    >>> row = table.row("nodule", "auroc", column="sex", group="F")
    >>> row.estimate.n, row.p_adjusted > 0.05
    (200, True)
    """
    values = check_probabilities(check_scores(scores, ndim=2))
    told = _known(known, values.shape)
    truth = check_binary_answers(answers if known is None else np.where(told, answers, 0), ndim=2)
    check_same_length(values, truth)
    _check_findings(values, truth, findings)
    said = values >= _cuts(thresholds, len(findings)) if called is None else _said(called, values)
    _check_metrics(metrics, compared)
    draws = draw(patients, cases=len(values), resamples=resamples, seed=seed)
    cells, counts = _cells(groups, len(values)), draws.counts.astype(np.float32)
    shared = {name: _shares(cells.code[1 + k], draws) for k, name in enumerate(cells.columns)}

    def one(k: int) -> tuple[list[Subgroup], list[ColumnTest]]:
        measured = _measure(values[:, k], truth[:, k], said[:, k], told[:, k], cells, draws, counts)
        return _rows(findings[k], measured, cells, metrics, compared, shared)

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(one, range(len(findings))))
    rows = corrected_groups([row for part in parts for row in part[0]])
    return SubgroupTable(rows, corrected_tests([test for part in parts for test in part[1]]))


def _measure(
    scores: FloatArray,
    positive: BoolArray,
    said: BoolArray,
    known: BoolArray,
    cells: _Cells,
    draws: Resampling,
    counts: npt.NDArray[np.float32],
) -> list[CellResamples]:
    """One finding in every cell."""
    count, patient = len(cells.names), draws.patients.code
    code = np.where(known, cells.code, np.int32(-1))
    sums = cell_sums(scores, positive, said, code, count, draws.block, counts.shape[1], patient)
    values = sample_metrics(sums)
    resampled, bias = resampled_metrics(sums, counts)
    pulls = {name: np.ascontiguousarray(pulls_of(table).T) for name, table in resampled.items()}
    columns = sums.by_block.sum(axis=0)
    measured = []
    for g in range(count):
        owners = dict(zip(OWNERS, (int(k) for k in sums.owners[g]), strict=True))
        mine = {name: float(table[g]) for name, table in values.items()}
        spread = {name: table[g] for name, table in pulls.items()}
        distinct = owners["all"] == round(float(columns[g, :4].sum()))
        measured.append(CellResamples(columns[g], owners, mine, spread, float(bias[g]), distinct))
    return measured


def _rows(
    finding: str,
    measured: Sequence[CellResamples],
    cells: _Cells,
    metrics: Sequence[str],
    compared: Sequence[str],
    shared: Mapping[str, bool],
) -> tuple[list[Subgroup], list[ColumnTest]]:
    rows, tests = [], []
    for metric in metrics:
        parts = [measure_cell(metric, cell) for cell in measured]
        every = [_row(finding, names, part, metric) for names, part in zip(cells.names, parts, strict=True)]
        rows.append(every[0])
        for name, members in cells.columns.items():
            mine = [every[g] for g in members]
            if metric in compared:
                mine, test = compare(mine, [parts[g] for g in members], share_patients=shared[name])
                tests.append(test)
            rows += mine
    return rows, tests


def _row(finding: str, names: tuple[str, str], part: Measured, metric: str) -> Subgroup:
    column, group = names
    estimate = part.estimate(metric, group=f"{column}={group}" if column else "")
    return Subgroup(finding, column, group, estimate)


def _cells(groups: Mapping[str, npt.ArrayLike], cases: int) -> _Cells:
    codes, names = [np.zeros(cases, np.int32)], [("", "")]
    columns: dict[str, tuple[int, ...]] = {}
    for column, values in groups.items():
        texts, of_case = _texts(np.asarray(values))
        if len(of_case) != cases:
            raise BadInput(
                f'the column "{column}" has {len(of_case)} values for {cases} cases; give one each.'
            )
        place = {text: k + len(names) for k, text in enumerate(sorted(set(texts)))}
        codes.append(np.array([place[text] for text in texts], np.int32)[of_case])
        columns[column] = tuple(place.values())
        names += [(column, text) for text in place]
    return _Cells(np.stack(codes), tuple(names), columns)


def _texts(values: npt.NDArray[np.generic]) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Groups as texts, and which of them each case has: (N,)."""
    if values.dtype.kind in "iubU":
        distinct, of_case = np.unique(values, return_inverse=True)
        return [_text(value) for value in distinct.tolist()], of_case
    return [_text(value) for value in values.tolist()], np.arange(len(values))


def _text(value: object) -> str:
    missing = value is None or value != value or str(value).strip() == ""
    return _UNRECORDED if missing else str(value)


def _shares(code: npt.NDArray[np.int32], draws: Resampling) -> bool:
    """Whether a patient has cases in two groups of a column."""
    patient, count = draws.patients.code, draws.patients.count
    first = np.zeros(count, np.int32)
    first[patient] = code
    return bool((first[patient] != code).any())


def _known(known: npt.ArrayLike | None, shape: tuple[int, ...]) -> BoolArray:
    told = np.ones(shape, np.bool_) if known is None else np.asarray(known, np.bool_)
    if told.shape != shape:
        raise BadInput(f"known has the shape {told.shape}; expected {shape}, as the scores.")
    return told


def _check_findings(values: FloatArray, truth: BoolArray, findings: Sequence[str]) -> None:
    count = values.shape[1]
    if truth.shape != values.shape:
        raise BadInput(f"answers have the shape {truth.shape}; expected {values.shape}, as the scores.")
    if len(findings) != count or len(set(findings)) != count:
        raise BadInput(f"{len(findings)} findings were named; expected {count} different names.")


def _cuts(thresholds: float | Sequence[float], count: int) -> FloatArray:
    cuts = np.asarray(thresholds, np.float64)
    if cuts.ndim > 1 or (cuts.ndim and len(cuts) != count) or not np.isfinite(cuts).all():
        raise BadInput(f"{cuts.size} thresholds were given; expected one finite number, or {count}.")
    return np.broadcast_to(cuts, (count,))


def _said(called: npt.ArrayLike, values: FloatArray) -> BoolArray:
    said = check_binary_answers(called, ndim=2)
    check_same_length(said, values)
    if said.shape != values.shape:
        raise BadInput(f"calls have the shape {said.shape}; expected {values.shape}, as the scores.")
    return said


def _check_metrics(metrics: Sequence[str], compared: Sequence[str]) -> None:
    unknown = [name for name in (*metrics, *compared) if name not in METRICS]
    if unknown:
        raise BadInput(f'"{unknown[0]}" is not measured in subgroups; choose among {", ".join(METRICS)}.')
    if "ece" in compared:
        raise BadInput("the ece of groups of different size cannot be compared; compare calibration_slope.")
