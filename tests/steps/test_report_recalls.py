"""Of a task of several classes the summary counts, once for each class, how many were named so."""

from __future__ import annotations

from typing import Any

from hounsfield.steps.chapters.numbers import recalls


def finding(name: str, label: str, value: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "label": label, "value": value, "group": "", **more}


def test_each_class_is_told_once() -> None:
    metrics = [
        finding("recall", "", 0.7),
        finding("sensitivity", "mild", 0.5),
        finding("recall", "mild", 0.5),
        finding("recall", "severe", 0.9),
        finding("sensitivity", "severe", 0.9),
        finding("recall", "severe", 0.2, group="site=A"),
        finding("sensitivity", "macro", 0.7),
    ]
    told = recalls({"metrics": metrics})
    assert [(f["name"], f["label"], f["value"]) for f in told] == [
        ("recall", "mild", 0.5),
        ("recall", "severe", 0.9),
    ]


def test_a_class_known_by_its_sensitivity_alone_is_told() -> None:
    assert [f["label"] for f in recalls({"metrics": [finding("sensitivity", "mild", 0.5)]})] == ["mild"]
