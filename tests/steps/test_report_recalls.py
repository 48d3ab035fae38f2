"""Of a task of several classes each class is counted once, and its groups are set beside its own number."""

from __future__ import annotations

from typing import Any

from hounsfield.steps.chapters.groups import subgroups
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


def test_groups_of_a_class_stand_beside_that_class_and_no_other_number() -> None:
    told = {"n": 20, "n_patients": 20, "low": 0.4, "high": 0.99, "level": "info", "note": "", "method": ""}
    metrics = [finding("accuracy", "", 0.6, **told), finding("auroc", "severe", 0.8, **told)]
    groups = [
        finding(name, label, 0.9, **{**told, "group": "site=A"})
        for name, label in (("accuracy", "severe"), ("accuracy", ""), ("auroc", "severe"))
    ]
    content = {"metrics": metrics, "tables": {}, "context": {"kind": "multiclass"}}
    (site,) = subgroups(content, groups)
    references = {
        (row["name"], row["label"]): row.get("reference")
        for block in site["table"]["blocks"]
        for row in block["rows"]
    }
    assert references == {("accuracy", "severe"): None, ("accuracy", ""): 0.6, ("auroc", "severe"): 0.8}
