"""What the patients at hand can show: how wide an interval came out, what halves it, what passes unseen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hounsfield.core.evidence import Finding
from hounsfield.metrics.intervals import MIN_PATIENTS, critical_value
from hounsfield.metrics.patients import Patients
from hounsfield.steps.evaluate_groups import MOST_VALUES
from hounsfield.steps.regions.by_group import Measure, words_of

__all__ = ["enough_findings", "patients_to_halve"]

FEW = 20
"""Below so many patients a warning says how little they prove."""
POWER = 0.8
_MOST = 1_000_000


def enough_findings(
    found: Sequence[Finding],
    measures: Sequence[Measure],
    groups: Mapping[str, Sequence[str]],
    patients: Sequence[str],
) -> tuple[Finding, ...]:
    """How much the numbers `found` can say, and which difference of measures between groups would be seen.

    Where fewer than `FEW` patients were evaluated the first of them warns.
    """
    widths = [w for k, f in enumerate(found) if (w := _width(f, loud=k == 0)) is not None]
    return (*widths, *(s for m in measures for s in _seen(m, groups, patients)))


def patients_to_halve(patients: int) -> int:
    """How many patients would give an interval of a mean half as wide as so many give, by Student's t.

    >>> patients_to_halve(7), patients_to_halve(100)
    (21, 393)
    """
    wanted = critical_value(dof=patients - 1) / math.sqrt(patients) / 2
    low, high = patients, _MOST
    while low < high:
        middle = (low + high) // 2
        width = critical_value(dof=middle - 1) / math.sqrt(middle)
        low, high = (low, middle) if width <= wanted else (middle + 1, high)
    return low


def _width(f: Finding, *, loud: bool) -> Finding | None:
    """How wide the interval of a number is; the first one of few patients warns."""
    words = words_of(f.name) + (f" of {f.label}" if f.label else "")
    few = loud and f.n_patients < FEW
    told = Finding(
        "half_width", label=f.label, n=f.n, n_patients=f.n_patients, level="warning" if few else "info"
    )
    if f.value is None or f.low is None or f.high is None:
        note = (
            f"{_counted(f.n_patients)}, and no number of the {words} can be given: {f.note or 'no interval'}"
        )
        return replace(told, note=note) if few else None
    half = (f.high - f.low) / 2
    more = patients_to_halve(f.n_patients)
    who = f"{_counted(f.n_patients)}{' only' if few else ''}"
    note = f"{who} bound the {words} to {f.low:.3f} to {f.high:.3f}; "
    note += f"half that width takes about {more:,} patients"
    if few:
        note += (
            ", and one unusual patient can move it: read every case, and expect another hospital to differ"
        )
    return replace(told, value=half, method=f.method, note=note)


def _seen(measure: Measure, groups: Mapping[str, Sequence[str]], patients: Sequence[str]) -> list[Finding]:
    """The difference of a mean between the two largest groups of the column that shows most."""
    owners = Patients.of(list(patients), cases=len(patients))
    known = measure.weight > 0
    t, w = owners.sums(measure.total * known), owners.sums(measure.weight * known)
    means = t[w > 0] / w[w > 0]
    if len(means) < MIN_PATIENTS:
        return []
    spread = float(means.std(ddof=1))
    best: tuple[float, str, list[int]] | None = None
    for column, values in groups.items():
        names = sorted(set(values) - {""})
        held = np.array(values)
        sizes = sorted((owners.among(known & (held == name)) for name in names), reverse=True)[:2]
        if not 2 <= len(names) <= MOST_VALUES or sizes[-1] < 2:
            continue
        gap = _detectable(spread, sizes)
        if best is None or gap < best[0]:
            best = gap, column, sizes
    if best is None:
        return []
    gap, column, sizes = best
    note = (
        f"between the two largest groups of {column} ({sizes[0]} and {sizes[1]} patients) a difference of "
        f"the {measure.words} of {gap:.3f} is seen with 80 % power; smaller ones pass unseen"
    )
    return [
        Finding(
            "detectable_mean_difference", label=f"{measure.words} by {column}", value=gap, n=sum(sizes),
            n_patients=sum(sizes), method="two means, two-sided .05, from the spread between patients",
            note=note,
        )
    ]  # fmt: skip


def _detectable(spread: float, sizes: Sequence[int]) -> float:
    from scipy.special import stdtrit

    dof = sum(sizes) - 2
    error = spread * math.sqrt(sum(1 / n for n in sizes))
    return (critical_value(dof=dof) + float(stdtrit(max(dof, 1), POWER))) * error


def _counted(patients: int) -> str:
    return f"{patients} patient{'' if patients == 1 else 's'}"
