"""The model card in Hugging Face's shape: README.md with YAML front matter, filled with what the run knows.

Metadata after the Hub's model card specification (`model-index` with one result, a metric a row); sections
after its card template. An interval stands in the metric's name and, for machines, in its `args`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hounsfield.core.model import Model
from hounsfield.steps.card_facts import (
    OPEN,
    answered,
    main_findings,
    metric_text,
    sentences,
    subgroup_findings,
)
from hounsfield.steps.standards import Given

__all__ = ["readme"]

Content = Mapping[str, Any]
TYPES = {
    "auroc": "roc_auc",
    "auprc": "average_precision",
    "brier": "brier_score",
    "mcc": "matthews_correlation",
}
"""Names of metrics on the Hub where they differ from ours."""


def readme(model: Model, content: Content, answers: Mapping[str, Given]) -> str:
    """The text of README.md; what neither the run nor a person has said is "To be filled by a human"."""
    import yaml

    told = sentences(model, content)
    front = yaml.safe_dump(_front(model, content, told), sort_keys=False, allow_unicode=True, width=100)
    body = "\n\n".join(part for part in _body(model, content, answers, told) if part)
    return f"---\n{front}---\n\n{body}\n"


def _front(model: Model, content: Content, told: Mapping[str, str]) -> dict[str, Any]:
    names = sorted({str(TYPES.get(f["name"], f["name"])) for f in main_findings(content)})
    tag = told["kind"].replace(" ", "-")
    kind = [model.encoding.kind] if model.plan.task == "classification" else []
    tags = ["medical-imaging", tag, *kind, model.plan.network.name]
    front = {
        "license": "unknown",
        "library_name": "hounsfield",
        "pipeline_tag": tag,
        "tags": list(dict.fromkeys([*tags, *(["phantom-data"] if told["phantom"] else [])])),
    }
    return front | ({"metrics": names, "model-index": [_index(content, told)]} if names else {})


def _index(content: Content, told: Mapping[str, str]) -> dict[str, Any]:
    how = (content.get("context") or {}).get("evaluated_on") or "unknown"
    data = (content.get("context") or {}).get("evaluated_digest") or "not recorded"
    result = {
        "task": {"type": told["kind"].replace(" ", "-"), "name": told["task"]},
        "dataset": {"type": "private", "name": f"private data, digest {data}", "split": how},
        "metrics": [_metric(f) for f in main_findings(content)],
    }
    return {"name": told["name"], "results": [result]}


def _metric(finding: Mapping[str, Any]) -> dict[str, Any]:
    label = f" {finding['label']}" if finding["label"] else ""
    facts = {key: finding[key] for key in ("low", "high", "n", "n_patients", "label", "method")}
    return {
        "type": TYPES.get(finding["name"], finding["name"]),
        "value": round(finding["value"], 6),
        "name": f"{finding['name']}{label}: {metric_text(finding)}",
        "args": {key: value for key, value in facts.items() if value not in (None, "", 0)},
        "verified": False,
    }


def _body(model: Model, content: Content, answers: Mapping[str, Given], told: Mapping[str, str]) -> list[str]:
    return [
        f"# {told['name']}",
        f"**{told['phantom']}**" if told["phantom"] else "",
        "This card holds what a training run knows of itself. It is no approval for clinical use.",
        f"## Model details\n\n{_details(model, told)}",
        f"## Uses\n\n### Intended use\n\n{answered(answers, 'intended_use')}",
        f"### Out-of-scope use\n\n{answered(answers, 'out_of_scope_use')}",
        f"### Target population\n\n{answered(answers, 'target_population')}",
        f"## Bias, risks and limitations\n\n{answered(answers, 'risk_file', known=told['warnings'])}",
        f"### Not tested\n\n{told['untested'] or 'The run recorded no list of what it did not test.'}",
        f"### Known inequalities\n\n{answered(answers, 'known_inequalities')}",
        "## How to use it\n\n```\nhu predict RUN SOURCE --out DIR\n```",
        f"## Training\n\n{_training(model, told)}",
        f"Reference standard: {answered(answers, 'reference_standard')}",
        f"## Evaluation\n\n{told['evaluated']} Intervals are of 95 %.\n\n{_table(main_findings(content))}",
        f"### By group\n\n{_table(subgroup_findings(content))}",
        f"## Oversight and monitoring\n\n{answered(answers, 'oversight')}",
        f"{answered(answers, 'monitoring_owner')}",
        f"## Licence, funding, contact\n\nLicence: {OPEN} Contact: {OPEN}",
        f"Protocol, code and funding: {answered(answers, 'protocol_code_funding')}",
        _people(answers),
    ]


def _details(model: Model, told: Mapping[str, str]) -> str:
    rows = [
        ("Task", told["task"]),
        ("Input and output", told["output"]),
        ("Network", told["network"]),
        ("Threshold", told["threshold"]),
        ("Calibration", told["calibration"]),
        ("Cleaning of masks", told["cleaning"]),
        ("Privacy", told["privacy"]),
        ("Versions", told["versions"]),
        ("Files", ", ".join((*model.members, *(f.file for f in model.forms if f.file)))),
    ]
    return "\n".join(f"- **{name}:** {text}" for name, text in rows if text)


def _training(model: Model, told: Mapping[str, str]) -> str:
    learned = () if model.plan.task == "classification" else (told["balance"],)
    return " ".join([told["weights"], *learned, told["data"]])


def _table(findings: list[Mapping[str, Any]]) -> str:
    if not findings:
        return "Not measured."
    lines = ["| metric | class | group | value |", "|---|---|---|---|"]
    for f in findings:
        cells = (f["name"].replace("_", " "), f["label"] or "all", f["group"] or "everyone", metric_text(f))
        lines.append("| " + " | ".join(_escaped(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """A cell of a Markdown table: no bar, no line break, no tag."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _people(answers: Mapping[str, Given]) -> str:
    names = sorted({given.name for given in answers.values()})
    return f"Answers in this card were given by {', '.join(names)}." if names else ""
