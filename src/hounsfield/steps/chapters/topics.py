"""Which chapter speaks of a finding: by its name, else by the part of the evidence that holds it."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["PARTS", "all_findings", "by_chapter", "is_overall"]

Row = dict[str, Any]
PARTS = ("audit", "metrics", "subgroups", "interventions", "clinical")
SEVERITY = {"stop": 0, "warning": 1, "info": 2}

TOPICS = (
    ("training", "^plan_|^search_|pretraining|^export|onnx|int8|recover"),
    ("explanations", "explanation|randomi[sz]ation|locali[sz]ation|faithful|pointing_game|similar_case"),
    ("uncertainty", "coverage|conformal|abst(ain|ention)|referr|out_of_distribution|^ood|unlike_training"),
    ("robustness", "^robust"),
    ("failures", "worst|^failure"),
    ("size", "(^|_)power($|_)|sample_size|half_width|expected_width|detectable|precision_at_n"),
    ("gaps", "(^|_)gap($|_)|under_?diagnos|over_?diagnos|heterogeneity"),
)
DECISIONS = "^calibration_|net_benefit|_at_prevalence|^threshold"
HOME = {
    "audit": "audit",
    "metrics": "performance",
    "subgroups": "subgroups",
    "interventions": "interventions",
    "clinical": "clinical",
}


def all_findings(content: Row) -> list[Row]:
    """Every finding, in the order of the parts."""
    return [f for part in PARTS for f in content[part]]


def by_chapter(content: Row) -> dict[str, list[Row]]:
    """The findings of each chapter that has any; each stands in one chapter only."""
    found: dict[str, list[Row]] = {}
    for part in PARTS:
        for finding in content[part]:
            found.setdefault(_chapter(part, finding), []).append(finding)
    return found


def is_overall(finding: Row, positive: str | None) -> bool:
    """True if a finding speaks of everyone and of all classes (or of the positive one)."""
    return not finding["group"] and finding["label"] in ("", "macro", "macro average", positive)


def _chapter(part: str, finding: Row) -> str:
    if part == "clinical":
        return "clinical"
    for chapter, names in TOPICS:
        if re.search(names, finding["name"]):
            return chapter
    if part in ("metrics", "subgroups") and finding["group"]:
        return "subgroups"
    if part == "metrics" and re.search(DECISIONS, finding["name"]):
        return "decisions"
    return HOME[part]
