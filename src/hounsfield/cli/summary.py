"""What a finished run says on the terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hounsfield.core.evidence import Evidence, Finding
    from hounsfield.steps.study import Run

__all__ = ["as_object", "say"]

SHOWN = (
    "auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1",
    "brier", "ece", "dice", "nsd", "hd95", "cpm", "ap",
)  # fmt: skip


def as_object(run: Run) -> dict[str, Any]:
    """Metrics with intervals, by name; per class under "classes"."""
    evidence = run.evidence
    metrics = {f.name: _cell(f) for f in evidence.metrics if not f.label}
    classes: dict[str, dict[str, Any]] = {}
    for f in evidence.metrics:
        if f.label in run.model.encoding.classes:
            classes.setdefault(f.label, {})[f.name] = _cell(f)
    return {
        "n": len(run.predictions),
        "n_patients": len(set(run.predictions.patients)),
        "patients_known": run.predictions.patients_known,
        "evaluated_on": run.predictions.kind,
        "metrics": metrics,
        "classes": classes,
        "threshold": list(run.model.operating_point.values),
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


def say(run: Run) -> None:
    """A short table of metrics, the warnings, and where the report is."""
    evidence = run.evidence
    how = {
        "test": "held-back test part",
        "cross-validation": "cross-validation",
        "external": "external set",
    }[run.predictions.kind]
    kind = " (PHANTOM, not patients)" if evidence.phantom else ""
    encoding = run.model.encoding
    asked = f", positive class: {encoding.positive_name}" if encoding.kind == "binary" else ""
    click.echo(f"\n{how}, n = {len(run.predictions)}{kind}{asked}")
    for f in evidence.metrics:
        if f.name in SHOWN and (not f.label or f.name == "dice"):
            click.echo(f"  {' '.join((f.name, f.label)).strip():<18} {f.text}")
    for f in (*_warned(evidence), *(f for f in evidence.interventions if f.level != "info")):
        number = f" {f.text}" if f.low is not None else ""
        click.echo(f"  ! {' '.join((f.name, f.label)).strip()}{number}: {f.note}")
    click.echo(f"\nreport: {run.report}")


def _warned(evidence: Evidence) -> list[Finding]:
    """What warns of the data, the groups and the numbers; interventions have their own place."""
    return [f for f in (*evidence.audit, *evidence.subgroups, *evidence.metrics) if f.level != "info"]


def _cell(f: Any) -> dict[str, Any]:
    cell = {"value": f.value, "low": f.low, "high": f.high, "n": f.n}
    return cell if f.value is not None else {**cell, "note": f.note}
