"""The model card in the shape of the Coalition for Health AI: its Applied Model Card, version 0.2.

Elements and their order are those of the published schema (mc.chai.org/v0.2/schema.xsd). `chai.xml` is for
machines, `chai.md` the same for people. Only what the run knows or a person has answered is filled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

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

__all__ = ["chai_markdown", "chai_xml"]

Content = Mapping[str, Any]
Tree = list[tuple[str, Any]]
"""(element, text) and (element, Tree) pairs, in the schema's order."""

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
RELIABILITY = (
    "brier",
    "ece",
    "calibration_slope",
    "calibration_intercept",
    "coverage",
    "out_of_distribution",
    "absent_left_alone",
    "false_positives_per_image",
)
FAIRNESS = ("auroc", "sensitivity", "specificity", "dice", "lesion_sensitivity")


def chai_xml(model: Model, content: Content, answers: Mapping[str, Given]) -> str:
    """The card as an instance of the schema."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<AppliedModelCard xmlns="{NAMESPACE}">']
    lines += _elements(_card(model, content, answers), 1)
    return "\n".join([*lines, "</AppliedModelCard>", ""])


def chai_markdown(model: Model, content: Content, answers: Mapping[str, Given]) -> str:
    """The card to be read."""
    lines = ["# CHAI Applied Model Card (v0.2)", ""]
    lines += _paragraphs(_card(model, content, answers), 2)
    return "\n".join(lines)


def _card(model: Model, content: Content, answers: Mapping[str, Given]) -> Tree:
    told = sentences(model, content)
    return [
        ("BasicInfo", [("ModelName", told["name"]), ("ModelDeveloper", OPEN), ("DeveloperContact", OPEN)]),
        ("ReleaseInfo", _release(told)),
        ("ModelSummary", _summary(model, told)),
        ("UsesAndDirections", _uses(answers)),
        ("Warnings", _warned(told, answers)),
        ("TrustIngredients", _trust(told, answers)),
        ("KeyMetrics", _metrics(content, told)),
        ("Resources", [("PeerReviewedPublications", OPEN), ("PatientConsentOrDisclosure", OPEN)]),
        ("Bibliography", ""),
    ]


def _release(told: Mapping[str, str]) -> Tree:
    stage = told["phantom"] or "Not released; trained and evaluated, no approval for clinical use."
    version = ("ReleaseVersion", told["versions"])
    return [("ReleaseStage", stage), ("ReleaseDate", OPEN), version, ("GlobalAvailability", OPEN)]


def _summary(model: Model, told: Mapping[str, str]) -> Tree:
    words = ["medical imaging", told["kind"], *model.encoding.classes]
    return [
        ("Summary", f"{_ended(told['task'])} {told['evaluated']}"),
        ("Keywords", [("Keyword", word) for word in words]),
    ]


def _uses(answers: Mapping[str, Given]) -> Tree:
    return [
        ("IntendedUseAndWorkflow", answered(answers, "intended_use")),
        ("PrimaryIntendedUsers", "See the intended use." if "intended_use" in answers else OPEN),
        ("HowToUse", f"`hu predict RUN SOURCE --out DIR`; directions for clinical use: {OPEN}"),
        ("TargetedPatientPopulation", answered(answers, "target_population")),
        ("CautionedOutOfScopeSettings", answered(answers, "out_of_scope_use")),
    ]


def _warned(told: Mapping[str, str], answers: Mapping[str, Given]) -> Tree:
    found = f"Found by the run:\n{told['warnings']}" if told["warnings"] else ""
    open_ones = f"Not tested:\n{told['untested']}" if told["untested"] else ""
    known = "\n\n".join(part for part in (told["phantom"], found, open_ones) if part)
    return [
        ("KnownRisksAndLimitations", answered(answers, "risk_file", known=known)),
        ("KnownBiasesOrEthicalConsiderations", answered(answers, "known_inequalities")),
        ("ClinicalRiskLevel", OPEN),
    ]


def _trust(told: Mapping[str, str], answers: Mapping[str, Given]) -> Tree:
    after = [
        f"{name}: {told[key]}"
        for name, key in (("calibration", "calibration"), ("cleaning of masks", "cleaning"))
        if told[key]
    ]
    facts: Tree = [
        ("OutcomesAndOutputs", f"{_ended(told['task'])} Threshold: {told['threshold']}."),
        ("ModelType", "; ".join([told["network"], *after])),
        ("FoundationModels", told["weights"]),
        ("InputDataSource", answered(answers, "data_sources")),
        ("OutputAndInputDataTypes", told["output"]),
        ("DevelopmentDataCharacterization", told["data"]),
        ("BiasMitigationApproaches", f"{told['balance']} Beyond that: {OPEN}"),
        ("OngoingMaintenance", answered(answers, "monitoring_owner")),
    ]
    openness: Tree = [
        ("FundingSource", answered(answers, "protocol_code_funding")),
        ("StakeholdersConsulted", OPEN),
    ]
    return [("AISystemFacts", facts), ("TransparencyInformation", openness)]


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith("?") else f"{sentence}."


def _metrics(content: Content, told: Mapping[str, str]) -> Tree:
    overall = main_findings(content)
    useful = [f for f in overall if f["name"] not in RELIABILITY]
    reliable = [f for f in overall if f["name"] in RELIABILITY]
    fair = [f for f in subgroup_findings(content) if f["name"] in FAIRNESS]
    parts = (
        ("UsefulnessUsabilityEfficacy", useful),
        ("FairnessEquity", fair),
        ("SafetyReliability", reliable),
    )
    return [(name, _metric(found, told)) for name, found in parts]


def _metric(findings: list[Mapping[str, Any]], told: Mapping[str, str]) -> Tree:
    results = [("MetricResult", _result(f)) for f in findings]
    nothing = [("MetricResult", [("Label", "not measured"), ("ValueJson", _json("single", value=None))])]
    return [
        ("MetricGoal", OPEN),
        ("Results", results or nothing),
        ("Interpretation", OPEN),
        ("TestType", told["evaluated"]),
        ("TestingDataDescription", told["data"]),
        ("ValidationProcessAndJustification", "Intervals of 95 % by patient; see report.html of the run."),
    ]


def _result(finding: Mapping[str, Any]) -> Tree:
    where = [part for part in (finding["label"], finding["group"]) if part]
    label = " ".join([finding["name"].replace("_", " "), *(f"({part})" for part in where)])
    if None in (finding["low"], finding["high"]):
        return [("Label", label), ("ValueJson", _json("single", value=finding["value"]))]
    ends = {"estimate": finding["value"], "lower": finding["low"], "upper": finding["high"]}
    return [("Label", label), ("ValueJson", _json("estimate_ci", **ends, level=95, n=finding["n"]))]


def _json(kind: str, **values: Any) -> str:
    return json.dumps({"kind": kind, **values})


def _elements(tree: Tree, depth: int) -> Iterator[str]:
    pad = "\t" * depth
    for name, inner in tree:
        if isinstance(inner, str):
            yield f"{pad}<{name}>{escape(_allowed(inner))}</{name}>"
            continue
        yield f"{pad}<{name}>"
        yield from _elements(inner, depth + 1)
        yield f"{pad}</{name}>"


def _allowed(text: str) -> str:
    """The text without the control characters that XML 1.0 forbids."""
    return "".join(c for c in text if c in "\t\n\r" or " " <= c < "\ud800" or c > "\udfff")


def _paragraphs(tree: Tree, depth: int) -> Iterator[str]:
    for name, inner in tree:
        if name == "MetricResult":
            (_, label), (_, value) = inner
            yield f"- {label}: {_spoken(json.loads(value))}"
            continue
        yield from ("", f"{'#' * depth} {_title(name)}", "")
        if isinstance(inner, str):
            yield inner or "None."
        elif name == "Keywords":
            yield ", ".join(word for _, word in inner)
        else:
            yield from _paragraphs(inner, min(depth + 1, 6))


def _spoken(value: Mapping[str, Any]) -> str:
    if value["kind"] == "single":
        return "–" if value["value"] is None else f"{value['value']:.3f}"
    ends = {"value": value["estimate"], "low": value["lower"], "high": value["upper"], "n": value["n"]}
    return metric_text(ends)


def _title(element: str) -> str:
    """An element's name in words.

    >>> _title("OutputAndInputDataTypes"), _title("AISystemFacts")
    ('Output And Input Data Types', 'AI System Facts')
    """
    words = ""
    for k, letter in enumerate(element):
        following = element[k + 1 : k + 2]
        starts = letter.isupper() and k and (element[k - 1].islower() or following.islower())
        words += f" {letter}" if starts else letter
    return words
