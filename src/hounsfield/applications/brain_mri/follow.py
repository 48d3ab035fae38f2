"""Brain MRI over visits: volumes, what changed with an error bar for each patient, the cohort's course."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hounsfield.applications.brain_mri.lesions_told import (
    LESION_COLUMNS,
    Between,
    lesions_between,
    lesions_of,
)
from hounsfield.core.clinical import Clinical, Plot, PlotSeries
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding, Picture
from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.io.weighting import weighting_of_words
from hounsfield.steps.brain.course import BrainCourse, measure_patient
from hounsfield.steps.brain.pictures import BrainPicture
from hounsfield.steps.brain.scan import BrainVisit
from hounsfield.steps.following import Followed, Places, each_followed
from hounsfield.steps.trajectories import Trajectories, trajectories
from hounsfield.steps.visits import Patient, Visit

__all__ = ["follow_brains"]

_GROUP = ("diagnosis", "group", "dx", "label")
_TRUE = "pbvc_from_first"
_HIPPOCAMPI = ("hippocampus_left_ml", "hippocampus_right_ml")
_VOLUMES = ("brain_ml", "grey_ml", "white_ml", "csf_ml")
_NO_T1 = "A visit has no T1-weighted scan: the volume of the brain was not measured, its lesions were."
_SHOWN = 4
_LEAST = 5
"""Intervals between visits below which no spread is printed."""


@dataclass(frozen=True)
class _Told:
    """A patient's course, None without T1-weighted scans, and its lesions between FLAIR images."""

    patient: Patient
    course: BrainCourse | None
    lesions: tuple[Between, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        """What the reader must know of this patient, in sentences."""
        said = self.course.findings if self.course else (_NO_T1,)
        names = [(f"visits {b.first + 1} and {b.second + 1}", b.refused) for b in self.lesions if b.refused]
        return (*said, *(f"No change of lesions between {which}: {why}." for which, why in names))


def follow_brains(
    patients: Sequence[Patient],
    read: Callable[[Series], Volume],
    *,
    places: Places | None = None,  # noqa: ARG001 - a brain is found by itself
    progress: Callable[[int, int], None] | None = None,
) -> Followed:
    """Volumes and changes of every patient; with a group column in the table the cohort's trajectories.

    Where the table says what each visit has lost in truth (a phantom's), errors and coverage are told too.
    """
    drawn: list[str] = []

    def measured(patient: Patient) -> _Told:
        visits = [_visit(v, read) for v in patient.visits]
        shown = len(drawn) < _SHOWN
        lesions = lesions_between(visits, pictures=shown)
        whole = all(v.t1 is not None for v in visits) or not lesions
        found = _Told(patient, measure_patient(visits, pictures=shown) if whole else None, lesions)
        drawn.append(patient.key)
        return found

    told, refused = each_followed(patients, measured, progress=progress)
    rows = [row for one in told for row in _rows(one)]
    course = _cohort(rows)
    clinical = Clinical(
        "Brain volume over visits",
        "Brain is grey and white matter. Visits of a patient were laid half-way between each other, so that "
        "none is favoured; changes are in per cent of the earlier visit, with a 95 % interval of its own.",
        findings=(
            *_slopes(course),
            *_slopes(_hippocampal(rows), "hippocampal_change_per_year_percent"),
            *_repeated(rows),
            *_errors(rows),
            *_hippocampal_errors(rows),
        ),
        tables=_tables(rows),
        plots=_plots(rows, course),
        pictures=tuple(p for one in told[:_SHOWN] for p in _pictures(one)),
        untested=(
            "Hippocampal volume in whole heads of patients: the network learned from simulated heads and "
            "from crops of one data set, and was checked on other crops of that set.",
            "Ventricular volume: no measure of it is good enough yet.",
            "Lesions: their change was laid beside readers' marks in two patients of one hospital.",
            "The error bar, and how much of a change is seen: both come from simulated patients (10 and 34).",
            "Volumes of single visits: those of one patient may differ by some per cent with the scan; only "
            "change is laid against the other visit.",
        ),
    )
    warned = Counter(sentence for one in told for sentence in one.warnings())
    findings = tuple(
        Finding("brain_scan", level="warning", n=len(told), note=f"{n} patient(s): {text}")
        for text, n in warned.items()
    )
    return Followed(clinical, tuple(rows), findings, refused)


def _visit(visit: Visit, read: Callable[[Series], Volume]) -> BrainVisit:
    """The T1-weighted scan of a visit, without contrast agent where there is one, and its FLAIR."""
    told = [(s, s.weighting or weighting_of_words(s.files[0].split("/")[-1])) for s in visit.images]
    flair = next((s for s, weighting in told if weighting == "FLAIR"), None)
    named = [s for s, weighting in told if weighting == "T1"] or [s for s, weighting in told if not weighting]
    chosen = min(named, key=lambda s: s.contrast_agent, default=None)
    if chosen is None and flair is None:
        held = ", ".join(sorted({weighting for _, weighting in told}))
        raise BadInput(
            f"a visit holds no T1-weighted scan, only {held}; expected one; give it, or name the scan in its "
            "description"
        )
    return BrainVisit(
        None if chosen is None else read(chosen),
        visit.day,
        scanner=chosen.scanner if chosen else "",
        contrast=bool(chosen and chosen.contrast_agent),
        flair=None if flair is None else read(flair),
        rescan=(visit.row or {}).get("rescan", "") in ("1", "yes", "True", "true"),
    )


def _rows(one: _Told) -> list[dict[str, Any]]:
    """A row a visit: volumes, change since the first visit, lesions, and what the table says of it."""
    course, visits = one.course, one.patient.visits
    years = one.patient.years() if one.patient.dated else (float("nan"),) * len(visits)
    rows = []
    for n, visit in enumerate(visits):
        row = visit.row or {}
        rows.append(
            {
                "patient": one.patient.key,
                "visit": n + 1,
                "years": "" if np.isnan(years[n]) else round(years[n], 3),
                "group": next((row[k] for k in row if k.casefold() in _GROUP), ""),
                **_measures(course, n, row if course else {}),
                **lesions_of(one.lesions, n),
                "unsafe": " ".join(u.sentence for u in course.visits[n].unsafe) if course else _NO_T1,
            }
        )
    return rows


def _measures(course: BrainCourse | None, n: int, truth: Mapping[str, str]) -> dict[str, Any]:
    """The columns of visit `n` that a T1-weighted scan gives, "" without one, and their truth."""
    volumes = course.visits[n].volumes if course else None
    change = (
        next((c.brain for c in course.changes if (c.first, c.second) == (0, n)), None) if course else None
    )
    slope = course.per_year if course else None
    return {
        **{name: _rounded(getattr(volumes, name, None), 2) for name in _VOLUMES},
        **{side: _rounded(getattr(volumes, side, None)) for side in _HIPPOCAMPI},
        **{f"change_{what}": _rounded(getattr(change, what, None), 4) for what in ("percent", "low", "high")},
        "change_per_year": _rounded(getattr(slope, "percent", None), 4),
        **{f"per_year_{end}": _rounded(getattr(slope, end, None), 4) for end in ("low", "high")},
        "true_change_percent": truth.get(_TRUE, "") if n else "",
        **{f"true_{side}": truth.get(side, "") for side in _HIPPOCAMPI},
    }


def _tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What the chapter prints: volumes and changes of visits, and lesions where any were looked for."""
    named = {k: k.removeprefix("lesions_").replace("_ml", ", ml") for k in LESION_COLUMNS}
    made = {
        "Visits": [_short(r) for r in rows if r["brain_ml"] != ""],
        "Lesions in FLAIR since the visit before": [
            {"patient": r["patient"], "visit": r["visit"], **{named[k]: r[k] for k in LESION_COLUMNS}}
            for r in rows
            if r[LESION_COLUMNS[0]] != ""
        ],
    }
    return {title: table for title, table in made.items() if table}


def _rounded(number: float | None, digits: int = 3) -> float | str:
    return "" if number is None else round(number, digits)


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the report prints it: the change with its interval in one cell."""
    names = ("patient", "visit", "years", "group", "brain_ml", "grey_ml", "white_ml", *_HIPPOCAMPI)
    kept = {k: row[k] for k in names}
    if row["change_percent"] == "":
        return {**kept, "change, %": None, "a year, %": None}
    change = {"value": row["change_percent"], "low": row["change_low"], "high": row["change_high"]}
    slope = {"value": row["change_per_year"], "low": row["per_year_low"], "high": row["per_year_high"]}
    return {**kept, "change, %": change, "a year, %": slope if slope["value"] != "" else None}


def _cohort(rows: Sequence[Mapping[str, Any]]) -> Trajectories | None:
    held = [r for r in rows if r["change_percent"] != "" and r["years"] not in ("", 0.0)]
    if len(held) < _LEAST:
        return None
    return trajectories(
        [r["patient"] for r in held], [r["years"] for r in held], [r["change_percent"] for r in held],
        [r["group"] or "everyone" for r in held],
    )  # fmt: skip


def _hippocampal(rows: Sequence[Mapping[str, Any]]) -> Trajectories | None:
    """The course of both hippocampi together, in per cent of the first visit's."""
    first = {r["patient"]: _both(r) for r in rows if r["visit"] == 1}
    held = [
        (r, 100 * (now / before - 1))
        for r in rows
        if r["visit"] > 1 and r["years"] not in ("", 0.0)
        and (now := _both(r)) is not None and (before := first.get(r["patient"])) is not None
    ]  # fmt: skip
    if len(held) < _LEAST:
        return None
    return trajectories(
        [r["patient"] for r, _ in held], [r["years"] for r, _ in held], [c for _, c in held],
        [r["group"] or "everyone" for r, _ in held],
    )  # fmt: skip


def _both(row: Mapping[str, Any], what: str = "") -> float | None:
    """The volume of both hippocampi of a row, measured or (`what` "true_") of the table; None without one."""
    values = [row[what + side] for side in _HIPPOCAMPI]
    return None if "" in values else sum(float(v) for v in values)


def _hippocampal_errors(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """How far the volumes are from the truth that the table holds, side by side, in per cent of it."""
    errors = [
        100 * abs(float(r[side]) / float(r[f"true_{side}"]) - 1)
        for r in rows
        for side in _HIPPOCAMPI
        if r[side] != "" and r[f"true_{side}"] != ""
    ]
    return [_median("hippocampal_volume_error_percent", errors)] if errors else []


def _slopes(course: Trajectories | None, name: str = "brain_change_per_year_percent") -> list[Finding]:
    if course is None:
        return []
    return [
        Finding(
            name, label=s.group, value=s.per_year, low=s.low, high=s.high, n=s.n,
            n_patients=s.n_patients, method="mixed-effects model, a slope of each patient's own, REML",
            note="" if s.per_year is not None else f"{s.n_patients} patient(s): too few for a slope",
        )
        for s in course.slopes
    ]  # fmt: skip


def _repeated(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """How far two scans of one day differ, where nothing can have changed."""
    gaps = [
        abs(r["change_percent"])
        for r in rows
        if r["visit"] > 1 and r["years"] == 0.0 and r["change_percent"] != ""
    ]
    return [_median("same_day_difference_percent", gaps)] if gaps else []


def _errors(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Errors against the truth that the table holds, and how often the error bar covers it."""
    held = [r for r in _known(rows) if r["years"] != 0.0]
    if not held:
        return []
    truth = np.array([float(r["true_change_percent"]) for r in held])
    error = np.abs(np.array([r["change_percent"] for r in held]) - truth)
    low, high = (np.array([r[k] for r in held]) for k in ("change_low", "change_high"))
    covered = (low <= truth) & (truth <= high)
    found = [_median("brain_change_error_percent", error.tolist())]
    if len(held) >= 2 * _LEAST:
        from hounsfield.metrics.intervals import wilson

        worst = float(np.percentile(error, 95))
        found.append(Finding("brain_change_error_percent", label="95th percentile", value=worst, n=len(held)))
        ends = wilson(int(covered.sum()), len(held))
        found.append(
            Finding(
                "error_bar_covers_truth", value=float(covered.mean()), low=ends[0], high=ends[1], n=len(held),
                method="Wilson",
            )
        )  # fmt: skip
    return found


def _known(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows whose true change the table holds."""
    return [r for r in rows if r["change_percent"] != "" and r["true_change_percent"] != ""]


def _median(name: str, values: Sequence[float]) -> Finding:
    if len(values) < _LEAST:
        return Finding(name, label="median", n=len(values), note=f"{len(values)} measured: too few")
    return Finding(name, label="median", value=float(np.median(values)), n=len(values))


def _plots(rows: Sequence[Mapping[str, Any]], course: Trajectories | None) -> tuple[Plot, ...]:
    held = [r for r in rows if r["years"] != "" and (r["change_percent"] != "" or r["visit"] == 1)]
    groups = sorted({r["group"] or "everyone" for r in held})
    made: list[PlotSeries] = []
    for name in groups:
        own = [r for r in held if (r["group"] or "everyone") == name and r["visit"] > 1]
        slope = next((s for s in course.slopes if s.group == name), None) if course else None
        if slope is not None and slope.per_year is not None and own:
            years = np.linspace(0, max(r["years"] for r in own), 9).tolist()
            ends = [slope.at(y) or (0.0, 0.0, 0.0) for y in years]
            made.append(
                PlotSeries(name, years, [e[0] for e in ends], [e[1] for e in ends], [e[2] for e in ends])
            )
        if not own:
            continue
        when, moved = ([r[k] for r in own] for k in ("years", "change_percent"))
        made.append(PlotSeries(f"{name}, visits", when, moved, kind="points"))
    plots = []
    if made:
        plots.append(Plot("Change since the first visit", "years", "per cent of brain volume", tuple(made)))
    known = _known(rows)
    if known:
        series = PlotSeries(
            "patients", [float(r["true_change_percent"]) for r in known],
            [r["change_percent"] for r in known], [r["change_low"] for r in known],
            [r["change_high"] for r in known], "points",
        )  # fmt: skip
        plots.append(Plot("Measured beside the truth", "true, %", "measured, %", (series,), diagonal=True))
    return tuple(plots)


def _pictures(one: _Told) -> list[Picture]:
    found: list[tuple[str, BrainPicture | None]] = []
    if one.course is not None:
        found += [(f"visit {n}", p) for n, v in enumerate(one.course.visits, start=1) for p in v.pictures]
        found += [(f"visit {c.first + 1} to {c.second + 1}", c.picture) for c in one.course.changes]
    found += [(f"visit {b.first + 1} to {b.second + 1}", b.picture) for b in one.lesions]
    return [
        Picture(one.patient.key, "", f"{title}: {p.caption}", ((title, p.pixels),), kind="clinical")
        for title, p in found
        if p is not None
    ]
