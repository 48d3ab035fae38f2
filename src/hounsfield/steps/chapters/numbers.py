"""The numbers of everyone: headline, hundreds, metrics by class, and the curves behind them."""

from __future__ import annotations

from typing import Any

from hounsfield.steps import figures
from hounsfield.steps.chapters.regions import MAIN
from hounsfield.steps.chapters.topics import is_overall

__all__ = ["curve_drawings", "headline", "hundreds", "metric_blocks", "overall", "recalls"]

Row = dict[str, Any]
OVERALL = ("", "macro", "macro average")
MOST_HEADLINES, LOWEST = 5, 3
FOUND_AT = "1 FP an image"
"""The rate of false positives at which the summary counts how many of a hundred lesions are found."""


def metric_blocks(findings: list[Row]) -> Row | None:
    """The metrics: first those over all classes, then class by class."""
    ordered = sorted(findings, key=lambda f: f["label"] not in OVERALL)
    return figures.forest_blocks(ordered, "label")


def overall(content: Row, name: str) -> Row | None:
    """The finding about everyone and all classes (or the positive one), if it was measured."""
    positive = content["context"].get("positive")
    found = [f for f in content["metrics"] if f["name"] == name and is_overall(f, positive)]
    return found[0] if found else None


def headline(content: Row) -> list[Row]:
    """The AUROC over all classes, or that of each class where there is no such number.

    Of outlines it is Dice, the mean and that of each of few structures, or of the worst of many; of found
    objects the CPM.
    """
    name = MAIN.get(content["context"].get("task", ""))
    if name:
        told = [f for f in content["metrics"] if f["name"] == name and not f["group"]]
        each = [f for f in told if f["label"]]
        if len(each) > MOST_HEADLINES:
            each = sorted(each, key=lambda f: (f["value"] is not None, f["value"]))[:LOWEST]
        return [*(f for f in told if not f["label"]), *each]
    found = overall(content, "auroc")
    if found:
        return [found]
    return [f for f in content["metrics"] if f["name"] == "auroc" and not f["group"]]


def recalls(content: Row) -> list[Row]:
    """How many of each class were named so."""
    told = [f for f in content["metrics"] if f["label"] not in OVERALL and not f["group"]]
    by_class: dict[str, Row] = {}
    for name in ("recall", "sensitivity"):  # the same number by two names
        for f in told:
            if f["name"] == name:
                by_class.setdefault(f["label"], f)
    return list(by_class.values())


def hundreds(content: Row) -> list[Row]:
    """Sensitivity and specificity as counts out of a hundred; only a binary task has them.

    Of found objects it is how many are found at one false positive an image.
    """
    if content["context"].get("task") == "detection":
        rated = [f for f in content["metrics"] if (f["name"], f["label"]) == ("froc_sensitivity", FOUND_AT)]
        return [_counted(f) for f in rated]
    if content["context"].get("kind", "binary") != "binary":
        return []
    counted = []
    for name in ("sensitivity", "specificity"):
        finding = overall(content, name)
        if not finding:
            continue
        counted.append(_counted(finding))
    return counted


def _counted(finding: Row) -> Row:
    """A share as a count out of a hundred, with its drawing."""
    hits = None if finding["value"] is None else round(100 * finding["value"])
    name = finding["name"].replace("_", " ")
    drawing = "" if hits is None else figures.hundred(hits, f"{name}: {hits} of 100")
    return {**finding, "hits": hits, "drawing": drawing, "interval": _percent_span(finding)}


def _percent_span(finding: Row) -> str:
    if finding["low"] is None or finding["high"] is None:
        return "no interval measured"
    return f"95 % CI {round(100 * finding['low'])} to {round(100 * finding['high'])}"


def curve_drawings(content: Row) -> Row:
    """Every figure about ranking and training that the curves suffice for."""
    curves = content["curves"]
    sensitivity, specificity = overall(content, "sensitivity"), overall(content, "specificity")
    measured = [f for f in (sensitivity, specificity) if f and f["value"] is not None]
    binary = len(measured) == 2 and len(curves.get("roc") or {}) == 1
    crosshair = {"sensitivity": sensitivity, "specificity": specificity} if binary else None
    return {
        "roc": figures.roc(curves["roc"], crosshair) if curves.get("roc") else None,
        "crosshair": binary,
        "pr": figures.precision_recall(curves["pr"]) if curves.get("pr") else None,
        "history": figures.learning(curves["history"]) if curves.get("history") else [],
    }
