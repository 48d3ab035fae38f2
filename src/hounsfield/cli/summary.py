"""What a finished run says on the terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hounsfield.core.evidence import Evidence, Finding
    from hounsfield.steps.study import Run

__all__ = ["as_object", "say"]

SHOWN = {
    "classification": (
        "auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1",
        "brier", "ece",
    ),
    "segmentation": ("dice", "nsd", "hd95"),
    "detection": (
        "froc_cpm", "froc_sensitivity", "lesion_sensitivity", "false_positives_per_image", "map", "ap50",
    ),
}  # fmt: skip
"""What is said on the terminal, in this order."""
BY_LABEL = {"classification": (), "segmentation": ("dice",), "detection": ("froc_cpm", "froc_sensitivity")}
"""What is also said of a structure, a class or a rate of false positives."""
RATES = ("1/8 FP an image", "1 FP an image", "8 FP an image")
MOST = 10
"""So many numbers at most; the rest stands in the report."""


def as_object(run: Run) -> dict[str, Any]:
    """A finished run as one JSON object.

    `metrics` maps a name to {"value", "low", "high", "n"} (with a "note" where there is no value), `classes`
    a class or structure to such a mapping. Of a detection `sensitivities` maps a rate of false positives
    ("1/8 FP an image") to the sensitivity there. `threshold` holds the scores from which a case or a
    candidate is called; a segmentation has none, and no such key. `groups`, `interventions` and `warnings`
    are lists; `unit` ("mm" or "pixels") is that of distances, of segmentation and detection only.
    """
    evidence, table = run.evidence, run.predictions
    task = run.model.plan.task
    found: dict[str, Any] = {
        "task": task,
        "n": len(table),
        "n_patients": len(set(table.patients)),
        "patients_known": table.patients_known,
        "evaluated_on": table.kind,
        "metrics": {f.name: _cell(f) for f in evidence.metrics if not f.label},
        "classes": _by_class(run),
        "warnings": [{"name": f.name, "label": f.label, "note": f.note} for f in _warned(evidence)],
        "groups": [
            {"name": f.name, "group": f.group, "label": f.label, **_cell(f)} for f in evidence.subgroups
        ],
        "interventions": [
            {"name": f.name, "measure": f.label, **_cell(f), "note": f.note} for f in evidence.interventions
        ],
        "seconds": evidence.context["seconds"],
        "report": str(run.report),
        "phantom": evidence.phantom,
    }
    if task != "segmentation":
        found["threshold"] = list(run.model.operating_point.values)
    if task == "detection":
        rates = [f for f in evidence.metrics if f.name == "froc_sensitivity"]
        found["sensitivities"] = {f.label: _cell(f) for f in rates}
    if task != "classification":
        found["unit"] = evidence.context["unit"]
    return found


def say(run: Run) -> None:
    """A short table of metrics, the warnings, and where the report is."""
    evidence = run.evidence
    how = {
        "test": "held-back test part",
        "cross-validation": "cross-validation",
        "external": "external set",
    }[run.predictions.kind]
    kind = " (PHANTOM, not patients)" if evidence.phantom else ""
    click.echo(f"\n{how}, n = {len(run.predictions)}{kind}{_asked(run)}")
    told = _told(run)
    width = max([18, *(len(_title(f)) for f in told)])
    for f in told:
        click.echo(f"  {_title(f):<{width}} {f.text}")
    for f in (*_warned(evidence), *(f for f in evidence.interventions if f.level != "info")):
        number = f" {f.text}" if f.low is not None else ""
        click.echo(f"  ! {_title(f)}{number}: {f.note}")
    click.echo(f"\nreport: {run.report}")


def _asked(run: Run) -> str:
    """What the numbers speak of, where their names do not say it."""
    encoding, unit = run.model.encoding, run.evidence.context.get("unit", "mm")
    if run.model.plan.task == "classification":
        return f", positive class: {encoding.positive_name}" if encoding.kind == "binary" else ""
    return "" if unit == "mm" else f", distances in {unit}"


def _told(run: Run) -> list[Finding]:
    """The numbers that are said, in their order, the general ones before those of a structure."""
    task = run.model.plan.task
    found = []
    for name in SHOWN[task]:
        held = [f for f in run.evidence.metrics if f.name == name]
        found += [f for f in held if not f.label]
        if name in BY_LABEL[task]:
            found += [f for f in held if f.label and (name != "froc_sensitivity" or f.label in RATES)]
    if len(found) > MOST:  # those that speak of everything stay
        room = max(MOST - sum(not f.label for f in found), 0)
        some = [f for f in found if f.label][:room]
        found = [f for f in found if not f.label or f in some]
    return found


def _by_class(run: Run) -> dict[str, dict[str, Any]]:
    names = {*run.model.encoding.classes, *run.evidence.context.get("structures", ())}
    classes: dict[str, dict[str, Any]] = {}
    for f in run.evidence.metrics:
        if f.label in names:
            classes.setdefault(f.label, {})[f.name] = _cell(f)
    return classes


def _title(f: Finding) -> str:
    return " ".join((f.name, f.label)).strip()


def _warned(evidence: Evidence) -> list[Finding]:
    """What warns of the data, the groups and the numbers; interventions have their own place."""
    return [f for f in (*evidence.audit, *evidence.subgroups, *evidence.metrics) if f.level != "info"]


def _cell(f: Any) -> dict[str, Any]:
    cell = {"value": f.value, "low": f.low, "high": f.high, "n": f.n}
    return cell if f.value is not None else {**cell, "note": f.note}
