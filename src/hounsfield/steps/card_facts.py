"""What model cards say of a model: only what the run knows or a person has answered; the rest says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hounsfield.core.model import Model
from hounsfield.steps.card_places import (
    called_text,
    cleaning_text,
    learned_from_text,
    places_output,
    places_task,
)
from hounsfield.steps.standards import Given

__all__ = ["OPEN", "answered", "main_findings", "metric_text", "sentences", "subgroup_findings"]

Content = Mapping[str, Any]
Row = Mapping[str, Any]
OPEN = "To be filled by a human."
PHANTOM = "PHANTOM DATA: simulated patients; nothing here says anything about clinical performance."

KINDS = {
    "classification": "image classification",
    "segmentation": "image segmentation",
    "detection": "object detection",
}
"""What a task is called outside of this package."""

PRIVACY = ("differential privacy", "secure aggregation", "privacy not proved")
"""Rows of a federation's card, as the federation names them."""

HOW = {
    "test": "a test part held out from the same data",
    "cross-validation": "cross-validation on the development data, which leans to the optimistic side",
    "external": "external data that played no part in development",
}


def answered(answers: Mapping[str, Given], key: str, *, known: str = "") -> str:
    """What the tool knows, then a person's answer with name and date, or that it is to be filled.

    >>> answered({"risk_file": Given("RM-7", "A. Reader", "2026-03-14")}, "risk_file")
    'RM-7 (A. Reader, 2026-03-14)'
    """
    given = answers.get(key)
    told = f"{given.text} ({given.name}, {given.date})" if given else OPEN
    return f"{known}\n\n{told}" if known else told


def sentences(model: Model, content: Content) -> dict[str, str]:
    """Sentences about the model and its data, by what they speak of; empty where one does not apply."""
    places = model.plan.task != "classification"
    return {
        "name": str(content.get("title") or "Model"),
        "kind": KINDS[model.plan.task],
        "task": places_task(model) if places else _task(model),
        "output": places_output(model) if places else _output(model),
        "network": _network(model),
        "weights": _start(model),
        "threshold": called_text(model) if places else _threshold(model),
        "calibration": "" if places else model.calibration.text.replace(": ", ", ", 1),
        "cleaning": cleaning_text(model) if places else "",
        "balance": learned_from_text(model) if places else _balance(model),
        "data": _data(content),
        "evaluated": _evaluated(content),
        "warnings": _warnings(content),
        "untested": "\n".join(f"- {line}" for line in content.get("untested") or ()),
        "privacy": _privacy(model),
        "phantom": PHANTOM if content.get("phantom") else "",
        "versions": _versions(model, content),
    }


def main_findings(content: Content) -> list[Row]:
    """The measured numbers about everyone, with a value."""
    return [f for f in content.get("metrics") or () if f["value"] is not None and not f["group"]]


def subgroup_findings(content: Content) -> list[Row]:
    """The measured numbers by group, with a value."""
    return [f for f in content.get("subgroups") or () if f["value"] is not None]


def metric_text(finding: Row) -> str:
    """A number with its interval and n.

    >>> metric_text({"value": .91, "low": .85, "high": .95, "n": 156, "n_patients": 0})
    '0.910 (95 % CI 0.850 to 0.950; n = 156)'
    """
    span = ""
    if finding["low"] is not None and finding["high"] is not None:
        span = f"95 % CI {finding['low']:.3f} to {finding['high']:.3f}; "
    patients = f" of {finding['n_patients']} patients" if finding.get("n_patients") else ""
    return f"{finding['value']:.3f} ({span}n = {finding['n']}{patients})"


def _task(model: Model) -> str:
    names, kind = ", ".join(model.encoding.classes), model.encoding.kind
    if kind == "binary":
        return f"Image classification: is it {model.encoding.positive_name}, or not? (classes: {names})"
    if kind == "multilabel":
        return f"Image classification: which of these findings are present? {names}"
    return f"Image classification: which one of these classes is it? {names}"


def _output(model: Model) -> str:
    size = "×".join(map(str, model.plan.input.size))
    number = model.encoding.outputs
    what = f"one probability, of {model.encoding.positive_name}" if number == 1 else f"{number} probabilities"
    return (
        f"Input: an image of {model.plan.input.channels} channel(s), brought to {size} voxels (k, j, i) by "
        f"the preparations of plan.json. Output: {what}."
    )


def _network(model: Model) -> str:
    members = len(model.members)
    several = "what {} networks find, fused" if model.plan.task == "detection" else "the mean of {} networks"
    joined = "a single network" if members == 1 else several.format(members)
    return f"{model.plan.network.name}, {joined}"


def _start(model: Model) -> str:
    weights = model.plan.network.weights
    return f"Training began from {weights}." if weights else "Training began from random numbers."


def _threshold(model: Model) -> str:
    point = model.operating_point
    if not point.values:
        return f"{point.rule}; no threshold"
    told = ", ".join(f"{value:.4f}" for value in point.values)
    span = f" (95 % CI {point.low:.4f} to {point.high:.4f})" if None not in (point.low, point.high) else ""
    return f"{told}{span}, by the rule {point.rule}, chosen on {point.chosen_on}, n = {point.n}"


def _balance(model: Model) -> str:
    weighted = model.plan.fit.class_weights
    return "Classes were weighted by how rare they are." if weighted else "Classes were not weighted."


def _data(content: Content) -> str:
    tables, places = content.get("tables") or {}, _asks_where(content)
    sizes = {str(row[0]): row[1] for row in tables.get("flow") or ()}
    told = []
    for part, counts in (tables.get("classes") or {}).items():
        held = ", ".join(f"{n} {'with ' if places else ''}{name}" for name, n in counts.items())
        size = sizes.get(part) if places else sum(counts.values())
        told.append(f"{part}: {size} cases ({held})" if size is not None else f"{part}: {held}")
    return "; ".join(told) + "." if told else OPEN


def _asks_where(content: Content) -> bool:
    """True where a case may hold several structures or classes, so that their counts are no sum of cases."""
    return (content.get("context") or {}).get("task") in ("segmentation", "detection")


def _evaluated(content: Content) -> str:
    how = (content.get("context") or {}).get("evaluated_on", "")
    return f"Evaluated on {HOW[how]}." if how in HOW else "How the cases were held apart is not stated."


def _warnings(content: Content) -> str:
    loud = [
        f
        for part in ("audit", "metrics", "subgroups", "interventions")
        for f in content.get(part) or ()
        if f["level"] != "info"
    ]
    return "\n".join(f"- {f['level']}: {f['note'] or f['name'].replace('_', ' ')}" for f in loud)


def _privacy(model: Model) -> str:
    """What a federation promised of privacy; empty for a model that was trained in one place."""
    rows = [(name, model.card[name]) for name in PRIVACY if name in model.card]
    return "; ".join(f"{name}: {text}" for name, text in rows)


def _versions(model: Model, content: Content) -> str:
    code = (content.get("context") or {}).get("hounsfield") or "of an unknown version"
    return f"hounsfield {code}; plan {model.plan.digest()}; data {model.data_digest or 'not recorded'}"
