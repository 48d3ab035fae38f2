"""The interval of each metric of one subgroup: the shape that covers, with the bootstrap's spread in it.

Percentiles of resamples cover too little where groups are small or accurate, so that each metric takes the
interval that covers best for it elsewhere in this package, and the resamples supply its spread, its bias
and its correlations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hounsfield.metrics.intervals import (
    MIN_CASES,
    MIN_DENOMINATOR,
    critical_value,
    logit_interval,
    perfect_bound,
    shortage,
    skewed_interval,
)
from hounsfield.metrics.measured import Measured, average, f_of, rate
from hounsfield.metrics.patients import FloatArray
from hounsfield.metrics.subgroup_sums import COLUMNS

__all__ = ["CellResamples", "measure_cell"]

_FIRST_BIN = COLUMNS.index("gap_0")
_RATES = {
    "accuracy": (("tp", "tn"), ("tp", "fn", "fp", "tn"), "all"),
    "sensitivity": (("tp",), ("tp", "fn"), "found"),
    "specificity": (("tn",), ("fp", "tn"), "clear"),
    "precision": (("tp",), ("tp", "fp"), "called"),
    "npv": (("tn",), ("fn", "tn"), "passed"),
    "selection_rate": (("tp", "fp"), ("tp", "fn", "fp", "tn"), "all"),
    "prevalence": (("tp", "fn"), ("tp", "fn", "fp", "tn"), "all"),
    "false_negative_rate": (("fn",), ("tp", "fn"), "found"),
    "false_positive_rate": (("fp",), ("fp", "tn"), "clear"),
}


@dataclass(frozen=True, slots=True, eq=False)
class CellResamples:
    """One subgroup: its sums (columns,), patients by `OWNERS`, and of each metric the value and the pull.

    A `pull` (B,) are the resamples' deviations, scaled so that the sum of their squares is the variance.
    `distinct` says that no patient has a second case; `ece_bias` is the most that noise adds to the ECE.
    """

    sums: FloatArray
    owners: Mapping[str, int]
    values: Mapping[str, float]
    pulls: Mapping[str, FloatArray]
    ece_bias: float
    distinct: bool

    def count(self, *names: str) -> int:
        """How many cases of the subgroup are, say, true or false positives."""
        return round(sum(float(self.sums[COLUMNS.index(name)]) for name in names))

    @property
    def n(self) -> int:
        """All cases."""
        return self.count("tp", "fn", "fp", "tn")

    @property
    def patients(self) -> int:
        """All patients."""
        return self.owners["all"]


def measure_cell(metric: str, cell: CellResamples) -> Measured:
    """One metric of `METRICS` in one subgroup, with its interval, or with the reason why there is none.

    >>> import numpy as np
    >>> from hounsfield.metrics.subgroup_sums import OWNERS
    >>> sums = np.zeros(len(COLUMNS))
    >>> sums[:4] = 9, 1, 2, 8
    >>> owners = dict.fromkeys(OWNERS, 10) | {"all": 20}
    >>> cell = CellResamples(sums, owners, {}, {"sensitivity": np.array([0.1, -0.1])}, 0.0, True)
    >>> round(measure_cell("sensitivity", cell).low, 4)
    0.5958
    """
    if metric in _RATES:
        return _rate(metric, cell)
    if metric == "balanced_accuracy":
        return _balanced(cell)
    if metric == "f1":
        return _f1(cell)
    if metric in ("auroc", "auprc"):
        return _area(metric, cell)
    if metric in ("brier", "ece"):
        return _error(metric, cell)
    return _fit(metric, cell)


def _rate(metric: str, cell: CellResamples) -> Measured:
    hits, members, whose = _RATES[metric]
    pull = cell.pulls[metric]
    return rate(cell.count(*hits), cell.count(*members), cell.owners[whose], float(pull @ pull), pull)


def _balanced(cell: CellResamples) -> Measured:
    both = [_rate("sensitivity", cell), _rate("specificity", cell)]
    reason = next((part.reason for part in both if part.reason), "")
    mean = average(both, n=cell.n, n_patients=cell.patients, reason=reason)
    return replace(mean, influence=cell.pulls["balanced_accuracy"])


def _f1(cell: CellResamples) -> Measured:
    found = cell.count("tp", "fn")
    reason = shortage(
        n=found, n_patients=cell.owners["found"], least=MIN_DENOMINATOR, what="with the finding"
    )
    pull = cell.pulls["f1"]
    # The spread of F* = F1 / (2 - F1) from that of F1.
    steep = 2 / (2 - cell.values["f1"]) ** 2 if found else 0.0
    touched = cell.count("tp", "fn", "fp")
    overlap = rate(cell.count("tp"), touched, cell.owners["found_or_called"], float(pull @ pull) * steep**2)
    return replace(f_of(overlap, n=cell.n, n_patients=cell.patients, reason=reason), influence=pull)


def _area(metric: str, cell: CellResamples) -> Measured:
    reason = ""
    for kind, what, names in (
        ("found", "with the finding", ("tp", "fn")),
        ("clear", "without the finding", ("fp", "tn")),
    ):
        few = shortage(n=cell.count(*names), n_patients=cell.owners[kind], least=MIN_CASES, what=what)
        reason = reason or few
    if reason:
        return Measured(0.5, 0.0, 1.0, cell.n, cell.patients, "", None, reason)
    value, pull = cell.values[metric], cell.pulls[metric]
    ranks = metric == "auroc"
    # In a small group the spread itself is known from few patients of the rarer class.
    rarer = min(cell.owners["found"], cell.owners["clear"]) if ranks else cell.owners["found"]
    critical = critical_value(dof=rarer - 1)
    low, high = logit_interval(value, math.sqrt(float(pull @ pull)), critical=critical)
    pairs = min(cell.owners["found"], cell.owners["clear"], cell.patients // 2)
    bound = perfect_bound(pairs if ranks else cell.owners["found"])
    if value == 1:
        low = bound
    if value == 0 and ranks:
        high = 1 - bound
    return Measured(value, low, high, cell.n, cell.patients, "linearised cluster bootstrap, logit", pull)


def _error(metric: str, cell: CellResamples) -> Measured:
    reason = shortage(n=cell.n, n_patients=cell.patients, least=MIN_CASES)
    value, pull = cell.values[metric], cell.pulls[metric]
    squared = metric == "brier"
    critical = critical_value(dof=None if cell.distinct and not squared else max(cell.patients - 1, 1))
    spread = math.sqrt(float(pull @ pull))
    if squared:
        skewness = float((pull**3).sum() / spread**3) * math.sqrt(len(pull)) if spread else 0.0
        low, high = skewed_interval(value, spread, skewness, critical=critical)
        high = high if value else 1 - perfect_bound(cell.patients)
    else:
        low, high = value - cell.ece_bias - critical * spread, value + critical * spread
    low, high = max(0.0, low), min(1.0, high)
    method = "cluster bootstrap, t, skewness" if squared else "cluster bootstrap, bias allowed for"
    return Measured(value, low, high, cell.n, cell.patients, method, pull, reason)


def _fit(metric: str, cell: CellResamples) -> Measured:
    smaller = min(("found", ("tp", "fn")), ("clear", ("fp", "tn")), key=lambda kind: cell.count(*kind[1]))
    few = min(cell.owners["found"], cell.owners["clear"])
    reason = shortage(n=cell.count(*smaller[1]), n_patients=few, least=MIN_CASES, what="in the smaller class")
    value = cell.values[metric]
    if not reason and not math.isfinite(value):
        reason = "the scores cannot be recalibrated: they are constant or separate the classes"
    if reason:
        return Measured(0.0, -math.inf, math.inf, cell.n, cell.patients, "", None, reason)
    pull = cell.pulls[metric]
    half = critical_value(dof=max(cell.patients - 1, 1)) * math.sqrt(float(pull @ pull))
    method = "one-step cluster bootstrap, t"
    return Measured(value, value - half, value + half, cell.n, cell.patients, method, pull)
