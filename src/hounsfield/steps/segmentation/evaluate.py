"""Measure outlines against a reader's: every number with its interval, by structure and by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Evidence, Finding
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.measured import Measured, combine, proportion
from hounsfield.metrics.patients import Patients
from hounsfield.metrics.segmentation import SegmentedCase, case_mean, segmentation_report
from hounsfield.steps.evaluate import Setting
from hounsfield.steps.regions.by_group import Measure, groups_measured
from hounsfield.steps.regions.enough import enough_findings
from hounsfield.steps.regions.sites import sites_measured
from hounsfield.steps.regions.slices import slices_measured
from hounsfield.steps.regions.unproved import unproved
from hounsfield.steps.segmentation.curves import curves_of, history_of
from hounsfield.steps.segmentation.rules import measuring_rules, notes_of
from hounsfield.steps.segmentation.table import Segmented
from hounsfield.steps.segmentation.tables import by_structure, volume_limits, worst_cases

__all__ = ["evaluate_segmented"]

AVERAGED = ("dice", "iou", "nsd", "hd95")
"""What is averaged over structures."""
BY_PATIENT = ("dice", "nsd", "hd95")
PIXELS_IN_ML = 1000.0
MOST_TOLD = 6
"""Numbers of which it is said how wide their interval is; of more only the mean."""


def evaluate_segmented(table: Segmented, setting: Setting) -> Evidence:
    """All metrics, groups, curves and tables of cases that were outlined.

    A finding's label is its structure. Of several structures those without a label are the mean over them; a
    single structure has no label, as the one finding of a binary task. What an empty mask counts as, and what
    the tolerance is, stands in the findings' notes and in the table "measuring_rules".
    """
    label = {s: s if len(table.structures) > 1 else "" for s in table.structures}
    metrics = [f for s in table.structures for f in _measured(table, s, label[s])]
    if len(table.structures) > 1:
        metrics = [*_over_structures(table, metrics), *metrics]
    measures = [m for s in table.structures for m in _measures(table, s, label[s])]
    grouped = groups_measured(table.groups, table.patients, measures, seed=setting.seed)
    whole = _whole(table) if len(table.structures) > 1 else measures[0]
    failed, slices = slices_measured(whole, table.groups, table.patients, setting.looks, seed=setting.seed)
    main = [f for f in metrics if f.name == "dice"]
    dice = [m for m in measures if m.name == "dice"]
    told = main if len(main) <= MOST_TOLD else main[:1]
    planned = enough_findings(told, dice[: len(told)], table.groups, table.patients)
    more = {
        **(grouped.tables or {}),
        "measuring_rules": measuring_rules(table),
        "segmentation_report": by_structure(metrics, label),
        "worst_cases": worst_cases(table),
        "worst_slices": slices,
        "per_site": sites_measured(table.groups, table.patients, dice),
        "drift_limits": volume_limits(table),
    }
    return Evidence(
        title=setting.title,
        audit=(*setting.audit, *planned),
        metrics=(*metrics, *failed, *setting.found),
        subgroups=grouped.findings,
        interventions=setting.interventions,
        untested=(*setting.untested, *grouped.untested, *_unproved(table)),
        curves={**curves_of(table), **setting.curves, "history": [history_of(h) for h in setting.history]},
        tables={**setting.tables, **{name: rows for name, rows in more.items() if rows}},
        context={
            "task": "segmentation", **setting.context, "structures": list(table.structures),
            "unit": "mm" if table.unit == "mm" else "pixels",
            "tolerance": f"{table.tolerance:g} {table.unit}", "evaluated_on": table.kind,
        },
        phantom=setting.phantom,
    )  # fmt: skip


def _measured(table: Segmented, structure: str, label: str) -> list[Finding]:
    """Every metric of one structure, over cases and, where patients have several, over patients."""
    held = table.cases[structure]
    rows = [r for r, case in enumerate(held) if case is not None]
    cases = [case for case in held if case is not None]
    if not cases:
        note = f"nobody outlined {structure} in these cases"
        return [Finding("dice", label=label, note=note)]
    patients = [table.patients[r] for r in rows]
    found = segmentation_report(cases, patients=patients)
    notes = notes_of(cases)
    if len(set(patients)) < len(patients):
        each = {e.name: e for e in _by_patient(cases, patients)}
        beside = [(one, each.get(f"{one.name}_by_patient")) for one in found]
        found = [e for pair in beside for e in pair if e is not None]
    if label:  # the row of all structures says it
        found = [e for e in found if e.n or e.name != "absent_left_alone"]
    within = f"; within {table.tolerance:g} {table.unit}"
    found = [
        replace(e, method=e.method + within) if e.name.startswith("nsd") and e.method else e for e in found
    ]
    return [_finding(e, label, notes.get(e.name, ""), table.unit) for e in found]


def _by_patient(cases: Sequence[SegmentedCase], patients: Sequence[str]) -> list[Estimate]:
    """The same where every patient counts once, with the mean of the cases in which a number is defined."""
    found = []
    for name in BY_PATIENT:
        values = _values(name, cases)
        if values is None:
            continue
        held: dict[str, list[float]] = {}
        for value, patient in zip(values, patients, strict=True):
            if value is not None:
                held.setdefault(patient, []).append(value)
        means = [float(np.mean(v)) for v in held.values()]
        if means:
            least = 0.0 if name == "hd95" else -np.inf
            found.append(case_mean(f"{name}_by_patient", means, share=name != "hd95", least=least))
    return found


def _values(name: str, cases: Sequence[SegmentedCase]) -> list[float | None] | None:
    """One number of each case; None where surfaces were not compared."""
    if name in ("dice", "iou", "relative_volume_error"):
        return [getattr(case.overlap, name) for case in cases]
    if any(case.surface is None for case in cases):
        return None
    key = {"nsd": "nsd", "hd95": "hd95_mm"}[name]
    return [getattr(case.surface, key) for case in cases]


def _finding(e: Estimate, label: str, note: str, unit: str) -> Finding:
    name, scale = e.name, 1.0
    if unit != "mm" and name == "volume_error_ml":
        name, scale = "volume_error_pixels", PIXELS_IN_ML
    value, low, high = (None if x is None else scale * x for x in (e.value, e.low, e.high))
    if name == "absent_left_alone" and not e.n:
        note = "present in every case: nothing is known of images without it"
    elif e.reason:
        note = e.reason
    return Finding(
        name, label=label, value=value, low=low, high=high, n=e.n, n_patients=e.n_patients, method=e.method,
        note=note,
    )  # fmt: skip


def _over_structures(table: Segmented, found: Sequence[Finding]) -> list[Finding]:
    """The mean over the structures that have a number; a note names those that have none."""
    made = []
    for name in AVERAGED:
        asked = [f for f in found if f.name == name]
        parts = [part for f in asked if (part := _part(table, f)) is not None]
        n, n_patients = len(table), len(set(table.patients))
        if not parts:
            note = next((f.note for f in asked), "")
            made += [
                Finding(name, n=n, n_patients=n_patients, note=f"no structure has a number: {note}")
            ] * bool(asked)
            continue
        without = [f.label for f in asked if f.value is None]
        note = f"without {', '.join(without)}: too few cases" if without else ""
        mean = combine(parts, np.full(len(parts), 1 / len(parts)), n=n, n_patients=n_patients)
        low, high = max(0.0, mean.low), mean.high if name == "hd95" else min(1.0, mean.high)
        made.append(
            Finding(
                name, value=mean.value, low=low, high=high, n=n, n_patients=n_patients, method=mean.method,
                note=note,
            )
        )  # fmt: skip
    return [*made, *_presence(table)]


def _part(table: Segmented, f: Finding) -> Measured | None:
    """A structure's mean with each patient's pull on it."""
    if f.value is None or f.low is None or f.high is None:
        return None
    rows = [r for r, c in enumerate(table.cases[f.label]) if c is not None]
    values = _values(f.name, [c for c in table.cases[f.label] if c is not None]) or []
    known = [(r, v) for r, v in zip(rows, values, strict=True) if v is not None]
    pull = np.zeros(len(table))
    for r, v in known:
        pull[r] = (v - f.value) / len(known)
    owners = Patients.of(list(table.patients), cases=len(table))
    return Measured(f.value, f.low, f.high, f.n, f.n_patients, f.method, owners.sums(pull))


def _presence(table: Segmented) -> list[Finding]:
    """Of all structures together: absent ones left alone, present ones found at all."""
    kept = [
        (c, p) for s in table.structures for c, p in zip(table.cases[s], table.patients, strict=True) if c
    ]
    owners = Patients.of([p for _, p in kept], cases=len(kept))
    present = np.array([c.overlap.reference_ml > 0 for c, _ in kept])
    marked = np.array([c.overlap.volume_ml > 0 for c, _ in kept])
    touched = np.array([bool(c.overlap.dice) for c, _ in kept])
    rates = (
        proportion(~marked, ~present, owners).estimate("absent_left_alone"),
        proportion(touched, present, owners).estimate("present_found"),
    )
    return [_finding(e, "", "a structure in a case counts as one", table.unit) for e in rates]


def _measures(table: Segmented, structure: str, label: str) -> list[Measure]:
    """What of a structure is broken down by group: Dice, and the relative error of its volume."""
    cases = table.cases[structure]
    named = {
        "dice": [None if c is None else c.overlap.dice for c in cases],
        "relative_volume_error": [None if c is None else c.overlap.relative_volume_error for c in cases],
    }
    return [_measure(table, name, label, values, share=name == "dice") for name, values in named.items()]


def _measure(
    table: Segmented, name: str, label: str, values: Sequence[float | None], *, share: bool
) -> Measure:
    def of(rows: NDArray[np.int64]) -> Estimate:
        picked, owners = [values[r] for r in rows.tolist()], [table.patients[r] for r in rows.tolist()]
        if not picked:
            return Estimate.refuse(name, "no case", n=0, n_patients=0)
        return case_mean(name, picked, patients=owners, share=share)

    known = np.array([v is not None for v in values], np.float64)
    return Measure(name, label, np.array([v or 0.0 for v in values]), known, of)


def _whole(table: Segmented) -> Measure:
    """Dice of a case: the mean over the structures that have one."""
    means: list[float | None] = []
    for r in range(len(table)):
        held = [c.overlap.dice for s in table.structures if (c := table.cases[s][r]) is not None]
        known = [d for d in held if d is not None]
        means.append(float(np.mean(known)) if known else None)
    return _measure(table, "dice", "", means, share=True)


def _unproved(table: Segmented) -> list[str]:
    said = unproved(table.kind, table.groups, patients_known=table.patients_known)
    absent: list[Any] = [
        s for s in table.structures
        if not any(c is not None and c.overlap.reference_ml == 0 for c in table.cases[s])
    ]  # fmt: skip
    if len(absent) > MOST_TOLD:
        absent = [f"{len(absent)} of {len(table.structures)} structures"]
    if absent:
        said.insert(
            -1,
            f"Images without {', '.join(absent)}: there are none, so that nothing is known of what is "
            "outlined where nothing is.",
        )
    said.insert(-1, "How far two readers differ: their agreement bounds what an outline can be held to.")
    return said
