"""What model cards say of a model: only what the run knows or a person has answered; the rest says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hounsfield.core.model import Model
from hounsfield.steps.standards import Given

__all__ = ["OPEN", "answered", "main_findings", "metric_text", "sentences", "subgroup_findings"]

Content = Mapping[str, Any]
Row = Mapping[str, Any]
OPEN = "To be filled by a human."
PHANTOM = "PHANTOM DATA: simulated patients; nothing here says anything about clinical performance."

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
    """Sentences about the model and its data, by what they speak of."""
    return {
        "name": str(content.get("title") or "Model"),
        "task": _task(model),
        "output": _output(model),
        "network": _network(model),
        "weights": _start(model),
        "threshold": _threshold(model),
        "calibration": _calibration(model),
        "data": _data(content),
        "evaluated": _evaluated(content),
        "warnings": _warnings(content),
        "untested": "\n".join(f"- {line}" for line in content.get("untested") or ()),
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
    joined = "a single network" if members == 1 else f"the mean of {members} networks"
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


def _calibration(model: Model) -> str:
    c = model.calibration
    return c.text.replace(": ", ", ", 1)


def _data(content: Content) -> str:
    parts = (content.get("tables") or {}).get("classes") or {}
    told = [
        f"{part}: {sum(counts.values())} cases ({', '.join(f'{n} {name}' for name, n in counts.items())})"
        for part, counts in parts.items()
    ]
    return "; ".join(told) + "." if told else OPEN


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


def _versions(model: Model, content: Content) -> str:
    code = (content.get("context") or {}).get("hounsfield") or "of an unknown version"
    return f"hounsfield {code}; plan {model.plan.digest()}; data {model.data_digest or 'not recorded'}"
