"""What the number of cases at hand can show: how wide an interval will be, and which difference is seen.

An AUROC's variance is Hanley and McNeil's (Radiology 1982;143:29); a share's interval is Wilson's. Patients
count, not images: the images of one patient say little more than one of them. It is arithmetic on the
numbers of patients and needs no result, so that it can be read before any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hounsfield.core.evidence import Finding
from hounsfield.metrics.intervals import critical_value, wilson

__all__ = ["detectable_difference", "half_width_of_auroc", "half_width_of_share", "precision_findings"]

Row = dict[str, Any]
ASSUMED = 0.85
"""The true value for which the findings say the width; the table says others."""
VALUES = (0.7, 0.8, 0.85, 0.9, 0.95)
WANTED = 0.05
FIRST = ("sex", "age band", "site", "scanner")
"""Of these columns the finding speaks, if there is one of them."""
POWER = 0.8
_MOST = 1_000_000


def half_width_of_auroc(value: float, positive: float, negative: float) -> float:
    """Half the width of the 95 % interval of a true AUROC that so many patients of each class give.

    >>> round(half_width_of_auroc(0.85, 60, 60), 3)
    0.07
    """
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (positive - 1) * (q1 - value**2) + (negative - 1) * (q2 - value**2)
    return critical_value() * math.sqrt(spread / (positive * negative))


def half_width_of_share(value: float, n: float) -> float:
    """The same for a share such as a sensitivity, by Wilson.

    >>> round(half_width_of_share(0.85, 60), 3)
    0.09
    """
    low, high = wilson(value * n, n)
    return (high - low) / 2


def detectable_difference(value: float, first: float, second: float) -> float | None:
    """The smallest fall of a share below `value` that two groups of so many patients show with 80 % power.

    Two-sided at .05, by the normal approximation (Fleiss 1981); None where not even a fall to 0 is shown.

    >>> round(detectable_difference(0.85, 100, 100), 3)
    0.167
    """
    from scipy.special import ndtri

    beta = float(ndtri(POWER))

    def power_left(gap: float) -> float:
        other = value - gap
        mean = (first * value + second * other) / (first + second)
        null = math.sqrt(mean * (1 - mean) * (1 / first + 1 / second))
        error = math.sqrt(value * (1 - value) / first + other * (1 - other) / second)
        return gap - critical_value() * null - beta * error

    low, high = 0.0, value
    if min(first, second) < 2 or power_left(high) < 0:
        return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if power_left(middle) < 0 else (low, middle)
    return high


def precision_findings(
    positive: int, negative: int, groups: Mapping[str, Sequence[int]]
) -> tuple[tuple[Finding, ...], dict[str, list[Row]]]:
    """What so many patients with and without the finding can show, as findings and tables.

    `groups` are, by column, the numbers of patients with the finding in its groups.

    >>> found, tables = precision_findings(60, 60, {"sex": (30, 30)})
    >>> [f.name for f in found], len(tables["precision"])
    (['expected_half_width', 'expected_half_width', 'expected_half_width', 'detectable_difference'], 5)
    """
    if min(positive, negative) < 2:
        return (), {}
    power, told = [], []
    for column, sizes in groups.items():
        two = sorted(sizes, reverse=True)[:2]
        if len(two) < 2 or two[1] < 2:
            continue
        gap = detectable_difference(ASSUMED, two[0], two[1])
        seen = "none" if gap is None else gap
        row = {"column": column, "patients with the finding": f"{two[0]} and {two[1]}"}
        power.append({**row, f"smallest fall of a sensitivity of {ASSUMED} that is seen": seen})
        told.append((math.inf if gap is None else gap, column, two))
    first = [one for one in told if one[1] in FIRST]
    found = _widths(positive, negative)
    found += [_detectable(*min(first or told))] if told else []
    rows = [_row(value, positive, negative) for value in VALUES]
    return tuple(found), {"precision": rows, **({"power": power} if power else {})}


def _widths(positive: int, negative: int) -> list[Finding]:
    """The expected half-widths at the assumed value."""
    widths = {
        "auroc": (half_width_of_auroc(ASSUMED, positive, negative), positive + negative),
        "sensitivity": (half_width_of_share(ASSUMED, positive), positive),
        "specificity": (half_width_of_share(ASSUMED, negative), negative),
    }
    found = []
    for metric, (width, n) in widths.items():
        ranking = metric == "auroc"
        note = f"of a true {'AUROC' if ranking else metric} of {ASSUMED} these patients give ± {width:.3f}"
        note += _more(metric, width) if width > WANTED else ""
        method = "Hanley and McNeil" if ranking else "Wilson"
        found.append(
            Finding(
                "expected_half_width", label=metric, value=width, n=n, n_patients=n, method=method, note=note
            )
        )
    return found


def _detectable(gap: float, column: str, two: Sequence[int]) -> Finding:
    none = math.isinf(gap)
    words = "no fall at all" if none else f"a fall of the sensitivity from {ASSUMED} by {gap:.2f}"
    note = (
        f"between the two largest groups of {column} ({two[0]} and {two[1]} patients with the finding) "
        f"{words} is seen with 80 % power; smaller ones pass unseen"
    )
    return Finding(
        "detectable_difference", label=column, value=None if none else gap, n=sum(two), n_patients=sum(two),
        method="two shares, two-sided .05", note=note,
    )  # fmt: skip


def _row(value: float, positive: int, negative: int) -> Row:
    return {
        "if the true value is": value,
        "AUROC ±": half_width_of_auroc(value, positive, negative),
        "sensitivity ±": half_width_of_share(value, positive),
        "specificity ±": half_width_of_share(value, negative),
        "patients with the finding for a sensitivity ± .05": _needed(value),
    }


def _more(metric: str, width: float) -> str:
    if metric == "auroc":
        return f"; ± {WANTED} needs about {(width / WANTED) ** 2:.1f} times as many"
    return f"; ± {WANTED} needs {_needed(ASSUMED)}"


def _needed(value: float) -> int:
    """How many patients give a share's interval of ± .05."""
    low, high = 1, _MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if half_width_of_share(value, middle) <= WANTED else (middle + 1, high)
    return low
