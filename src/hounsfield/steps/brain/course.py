"""A patient's brain over all visits: what each visit holds, what changed between them, and how sure that
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from hounsfield.core.errors import BadInput
from hounsfield.steps.brain.differences import boundary_shift
from hounsfield.steps.brain.error_bar import SEEN, VENTRICLES_FLOOR, Doubt, Interval, interval_of, spread_of
from hounsfield.steps.brain.halfway import brought_halfway, hull_of_other, lay
from hounsfield.steps.brain.pictures import (
    BrainPicture,
    picture_of_change,
    picture_of_hippocampi,
    picture_of_tissues,
    picture_of_visit,
)
from hounsfield.steps.brain.scan import BrainVisit
from hounsfield.steps.brain.trajectory import line_through, places_of
from hounsfield.steps.brain.visit import Measured, Unsafe, VisitVolumes, measure_visit

__all__ = ["BrainChange", "BrainCourse", "VisitFound", "measure_patient"]

_YEAR_DAYS = 365.25
_BACK_PERCENT = 1.0
_LOST = 0.94
"""Of what lies inside the skull at another visit: where a visit shows less, a part of its brain was lost."""


@dataclass(frozen=True)
class VisitFound:
    """One visit: its day, volumes in ml, what is unsafe, and two pictures."""

    day: date | None
    volumes: VisitVolumes
    unsafe: tuple[Unsafe, ...]
    pictures: tuple[BrainPicture, ...]


@dataclass(frozen=True)
class BrainChange:
    """From visit `first` to visit `second` (places in the course): brain and ventricles in per cent.

    `years` and `per_year` are None where days are unknown or less than a month apart. `scale` is how much
    larger the second scanner shows the skull (volume ratio), already taken out; `agreement` the correlation
    of the two brains; `doubt` what the error bar was made of.
    """

    first: int
    second: int
    years: float | None
    brain: Interval
    per_year: Interval | None
    ventricles: Interval | None
    scale: float
    agreement: float
    log_ratio: float
    spread: float
    doubt: Doubt
    picture: BrainPicture


@dataclass(frozen=True)
class BrainCourse:
    """A patient's visits in the order of their days, the changes between them, and the course through all.

    `changes` hold every visit against the first and each against the next. `per_year` is the slope through
    all visits, None with one visit or one day. `from_first` is each visit's change since the first in per
    cent, best fitting all intervals. `findings` are sentences for the reader.
    """

    visits: tuple[VisitFound, ...]
    changes: tuple[BrainChange, ...]
    from_first: tuple[float, ...]
    per_year: Interval | None
    findings: tuple[str, ...]


def measure_patient(
    visits: Sequence[BrainVisit], *, step_mm: float = 1.0, pictures: bool = True
) -> BrainCourse:
    """Measure the brain of one patient over one or more visits.

    Visits are put in the order of their days, and it is said where they were not. `step_mm` is the size of
    the cubes measured on; 1 mm is what the error bar was measured with. Raises BadInput for no visit, a scan
    without a brain, or two visits that are not of one person.
    """
    if not visits:
        raise BadInput("no visit was given; expected at least one T1-weighted scan of a brain")
    ordered, findings = _ordered(visits)
    measured = [measure_visit(visit, step_mm=step_mm) for visit in ordered]
    measured, completed = _completed(ordered, measured, step_mm)
    findings += completed
    found = tuple(_found(visit, m, pictures) for visit, m in zip(ordered, measured, strict=True))
    findings += [f"Visit {n}: {u.sentence}" for n, f in enumerate(found, start=1) for u in f.unsafe]
    count = len(ordered)
    if count == 1:
        findings.append("One visit was given: change needs two.")
        return BrainCourse(found, (), (0.0,), None, tuple(findings))
    pairs = list(dict.fromkeys([(0, n) for n in range(1, count)] + list(pairwise(range(count)))))
    changes = tuple(_change(ordered, measured, a, b, pictures) for a, b in pairs)
    findings += _said_of(ordered, changes)
    places, covariance = places_of(count, pairs, [c.log_ratio for c in changes], [c.spread for c in changes])
    slope = None
    days = [visit.day for visit in ordered]
    if all(day is not None for day in days):
        years = [(day - days[0]).days / _YEAR_DAYS for day in days]  # type: ignore[operator]
        line = line_through(years, places, float(covariance.diagonal().mean() ** 0.5) / 2**0.5)
        slope = interval_of(line.per_year, line.spread) if line and years[-1] > 1 / 12 else None
    from_first = tuple(interval_of(float(p), 0.0).percent for p in places)
    return BrainCourse(found, changes, from_first, slope, tuple(findings))


def _ordered(visits: Sequence[BrainVisit]) -> tuple[list[BrainVisit], list[str]]:
    days = [visit.day for visit in visits]
    if any(day is None for day in days):
        return list(visits), (
            ["A visit has no date: visits are taken in the order given, and no change a year is stated."]
            if len(visits) > 1
            else []
        )
    ordered = sorted(visits, key=lambda visit: (visit.day or date.min, visit.rescan))
    swapped = [v.day for v in ordered] != days
    return ordered, [
        "The visits were given in another order than their dates; they were put in order."
    ] if swapped else []


def _completed(
    visits: Sequence[BrainVisit], measured: Sequence[Measured], step_mm: float
) -> tuple[list[Measured], list[str]]:
    """The visits with what was lost of a brain found again, and what is said of it.

    What lies inside a skull does not change in years. Where a visit shows much less of it than another, a
    part was not found (a cerebellum, say): it is looked for where the other visit shows it.
    """
    made, said = list(measured), []
    whole = max(measured, key=lambda m: m.volumes.inside_ml)
    for n, (visit, m) in enumerate(zip(visits, measured, strict=True)):
        if m.volumes.inside_ml >= _LOST * whole.volumes.inside_ml:
            continue
        again = measure_visit(visit, step_mm=step_mm, also=hull_of_other(m, whole))
        if again.volumes.inside_ml <= m.volumes.inside_ml:
            continue
        made[n] = again
        less, left = (100 * (1 - x.volumes.inside_ml / whole.volumes.inside_ml) for x in (m, again))
        said.append(
            f"Visit {n + 1}: a part of the brain was found with the help of another visit only: inside the "
            f"skull was {less:.0f} % less than there, now it is {left:.0f} % less; look at its outline."
        )
    return made, said


def _found(visit: BrainVisit, m: Measured, pictures: bool) -> VisitFound:
    made = (picture_of_visit(m), picture_of_tissues(m), picture_of_hippocampi(m)) if pictures else ()
    return VisitFound(visit.day, m.volumes, m.unsafe, made)


def _change(
    visits: Sequence[BrainVisit], measured: Sequence[Measured], a: int, b: int, pictures: bool
) -> BrainChange:
    names = visits[a].scanner, visits[b].scanner
    one = all(names) and names[0] == names[1]
    laid = lay(measured[a], measured[b], one_scanner=one)
    pair = brought_halfway(measured[a], measured[b], laid, step_mm=measured[a].head.step_mm)
    shift = boundary_shift(pair)
    doubt = Doubt(laid.scale_spread, shift.spread, shift.unrest, laid.residual, one_scanner=one)
    change = shift.brain / SEEN
    spread = spread_of(change, doubt)
    first, second = visits[a].day, visits[b].day
    years = None if first is None or second is None else (second - first).days / _YEAR_DAYS
    if years is not None and years < 1 / 12:
        years = None
    water = None
    if measured[a].volumes.ventricles_ml > 1.0:
        water = interval_of(shift.ventricles, max(VENTRICLES_FLOOR, 0.15 * abs(shift.ventricles)))
    blank = BrainPicture(pair.hulls[0][:0, :0, :0].astype("u1"), "")
    return BrainChange(
        first=a,
        second=b,
        years=years,
        brain=interval_of(change, spread),
        per_year=interval_of(change / years, spread / years) if years else None,
        ventricles=water,
        scale=laid.scale,
        agreement=laid.agreement,
        log_ratio=change,
        spread=spread,
        doubt=doubt,
        picture=picture_of_change(pair, shift) if pictures else blank,
    )


def _said_of(visits: Sequence[BrainVisit], changes: Sequence[BrainChange]) -> list[str]:
    said = []
    for c in changes:
        names = visits[c.first].scanner, visits[c.second].scanner
        which = f"visits {c.first + 1} and {c.second + 1}"
        if all(names) and names[0] != names[1]:
            said.append(
                f"{which.capitalize()} come from two scanners: the error bar was measured within one."
            )
        if c.brain.low > _BACK_PERCENT:
            said.append(
                f"Between {which} the brain grew by over 1 %: check the order of the visits and the patient."
            )
        if abs(c.scale - 1) > 0.006:
            said.append(
                f"The skull differs by {100 * (c.scale - 1):+.1f} % between {which}; this was taken out."
            )
    return said
