"""Whether a group differs from the others of its column, and whether the column differs at all.

A group is compared with the mean of the other groups, weighted by their cases, by an interval that keeps
the asymmetry of both (MOVER) and the correlation that the resamples show where groups share patients. The
p values of all groups are corrected together by Holm, and so are those of all columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hounsfield.metrics.heterogeneity import Heterogeneity, heterogeneity, holm, p_from_interval
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.measured import Measured, combine
from hounsfield.metrics.patients import FloatArray

__all__ = ["ColumnTest", "Subgroup", "compare", "corrected_groups", "corrected_tests"]


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One metric of one finding in one group; `column` and `group` are empty for everyone.

    `difference` is from the mean of the column's other groups, with the p value of no difference before
    and after Holm's correction; None where nothing was compared.
    """

    finding: str
    column: str
    group: str
    estimate: Estimate
    difference: Estimate | None = None
    p_value: float | None = None
    p_adjusted: float | None = None


@dataclass(frozen=True, slots=True)
class ColumnTest:
    """Whether one metric of one finding differs between the groups of a column at all."""

    finding: str
    column: str
    metric: str
    test: Heterogeneity
    p_adjusted: float | None = None


def compare(
    rows: Sequence[Subgroup], parts: Sequence[Measured], *, share_patients: bool
) -> tuple[list[Subgroup], ColumnTest]:
    """The rows of one metric in all groups of one column with their differences, and the column's test.

    `parts` are the same numbers with their resamples' pulls.

    >>> part = Measured(0.8, 0.7, 0.9, 50, 50, "Wilson", np.array([0.05, -0.05]))
    >>> other = Measured(0.6, 0.5, 0.7, 50, 50, "Wilson", np.array([0.05, -0.05]))
    >>> rows = [Subgroup("nodule", "sex", g, p.estimate("sensitivity")) for g, p in zip("FM", (part, other))]
    >>> compared, column = compare(rows, [part, other], share_patients=False)
    >>> round(compared[0].difference.low, 4), round(column.test.p_value, 4)
    (0.0586, 0.0056)
    """
    told = [k for k, part in enumerate(parts) if not part.reason]
    together = _together([parts[k] for k in told], share_patients)
    compared = list(rows)
    for k in told if len(told) > 1 else ():
        compared[k] = _against_others(rows[k], [parts[q] for q in told], told.index(k), together)
    correlation = np.eye(len(parts))
    correlation[np.ix_(told, told)] = together
    metric = rows[0].estimate.name
    test = heterogeneity([row.estimate for row in rows], correlation=correlation)
    return compared, ColumnTest(rows[0].finding, rows[0].column, metric, test)


def corrected_groups(rows: Sequence[Subgroup]) -> tuple[Subgroup, ...]:
    """The rows with Holm's correction over all that have a p value.

    >>> corrected_groups([])
    ()
    """
    adjusted = _adjusted([row.p_value for row in rows])
    return tuple(replace(row, p_adjusted=p) for row, p in zip(rows, adjusted, strict=True))


def corrected_tests(tests: Sequence[ColumnTest]) -> tuple[ColumnTest, ...]:
    """The tests with Holm's correction over all that have a p value.

    >>> corrected_tests([])
    ()
    """
    adjusted = _adjusted([one.test.p_value for one in tests])
    return tuple(replace(one, p_adjusted=p) for one, p in zip(tests, adjusted, strict=True))


def _against_others(row: Subgroup, parts: Sequence[Measured], k: int, together: FloatArray) -> Subgroup:
    weights = np.array([-float(part.n) for part in parts])
    weights[k] = 0.0
    weights /= -weights.sum()
    weights[k] = 1.0
    n = sum(part.n for part in parts)
    owners = sum(part.n_patients for part in parts)
    difference = combine(parts, weights, n=n, n_patients=owners, correlation=together)
    estimate = difference.estimate(f"{row.estimate.name}_difference", group=row.estimate.group)
    p_value = p_from_interval(difference.value, difference.low, difference.high)
    return replace(row, difference=estimate, p_value=p_value)


def _together(parts: Sequence[Measured], share_patients: bool) -> FloatArray:
    """The correlation of the groups' estimates: none where no patient is in two groups."""
    pulls = [part.influence for part in parts if part.influence is not None]
    if not share_patients or len(pulls) < len(parts) or len(parts) < 2:
        return np.eye(len(parts))
    cross = np.stack(pulls) @ np.stack(pulls).T
    size = np.sqrt(np.diag(cross))
    scale = np.outer(size, size)
    together = np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 0)
    np.fill_diagonal(together, 1.0)
    return np.asarray(together)


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    told = [k for k, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    for k, p in zip(told, holm([p for p in p_values if p is not None]), strict=True):
        adjusted[k] = float(p)
    return adjusted
