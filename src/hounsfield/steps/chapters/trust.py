"""Chapters on when not to rely on the model: abstention, robustness, failures, explanations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hounsfield.core.evidence import Picture
from hounsfield.steps import figures
from hounsfield.steps.chapters.records import complete, records

__all__ = ["failures", "kept_gallery", "robustness", "safe_gallery", "shown_gallery", "uncertainty"]

Row = dict[str, Any]
PICTURE = {"case", "outcome", "caption", "kind", "panels", "scores"}
"""What is kept of a picture."""
SINGLE = (
    ("worst_cases", "Outlines with the lowest Dice"),
    ("missed_lesions", "Missed"),
    ("false_positives", "Strongest false positives"),
)
CLINICAL = "clinical"
"""The kind of pictures that stand in the chapter of the application."""

OF_REGIONS = ("worst", "median", "best", "outlined", "missed", "false_positive", "found")
"""Kinds of pictures of outlines and of found objects."""


def uncertainty(content: Row, findings: list[Row]) -> Row | None:
    """Coverage of the sets, abstention, distance from the training data; None where nothing was measured."""
    curves = complete(_as_risks(content["curves"].get("risk_coverage")), "coverage", "risk")
    chapter: Row = {
        "numbers": figures.forest_blocks(findings, "name"),
        "curve": figures.risk_coverage(curves) if curves else None,
        "names": list(curves),
        "coverage": records(content["tables"].get("coverage")),
    }
    return chapter if any(chapter.values()) else None


def _as_risks(curves: Any) -> Row:
    """Curves of accuracy, each point with its interval, as curves of risk."""
    if not isinstance(curves, Mapping):
        return {}
    made = {}
    for name, curve in curves.items():
        points = curve.get("accuracy") if isinstance(curve, Mapping) else None
        if not isinstance(points, list) or not all(isinstance(point, Mapping) for point in points):
            made[name] = curve
            continue
        ends = {"risk": "value", "low": "high", "high": "low"}
        risks = {
            key: [None if p.get(end) is None else 1 - p[end] for p in points] for key, end in ends.items()
        }
        made[name] = {**curve, **risks}
    return made


def robustness(content: Row, findings: list[Row]) -> Row | None:
    """A figure for each way in which images were changed."""
    curves = complete(content["curves"].get("robustness"), "level", "value")
    chapter: Row = {
        "curves": {name: (figures.robustness(curve, name), curve) for name, curve in curves.items()},
        "numbers": figures.forest_blocks(findings, "name"),
        "table": records(content["tables"].get("robustness")),
    }
    return chapter if any(chapter.values()) else None


def failures(content: Row, findings: list[Row]) -> Row | None:
    """The worst slices of the data, and single cases or objects that failed."""
    tables = content["tables"]
    single = [(title, told) for name, title in SINGLE if (told := records(tables.get(name)))]
    worst = next(
        (t for key in ("worst", "worst_slices", "failures") if (t := records(tables.get(key)))), None
    )
    numbers = figures.forest_blocks(findings, "name")
    return {"table": worst, "numbers": numbers, "single": single} if worst or numbers or single else None


def kept_gallery(pictures: Sequence[Picture]) -> Row:
    """The pictures as the report stores them, so that it can be drawn again without the data."""
    uris, reduced = figures.data_uris(pictures)
    shown = []
    for picture, row in zip(pictures, uris, strict=True):
        panels = [[title, uri] for (title, _), uri in zip(picture.panels, row, strict=True)]
        told = {"case": picture.case, "outcome": picture.outcome, "caption": picture.caption}
        scores = [[f"{f.label} {f.name}".strip(), f.text] for f in picture.scores]
        shown.append({**told, "panels": panels, "kind": picture.kind, "scores": scores})
    return {"pictures": shown, "reduced": reduced}


def shown_gallery(kept: Row) -> Row:
    """The cases with maps by outcome, then those with similar cases and with synthetic edits."""
    shown = [p for p in kept["pictures"] if p["kind"] != CLINICAL]
    maps = [p for p in shown if p["kind"] not in ("similar", "synthetic", *OF_REGIONS)]
    placed = any(p["kind"] in OF_REGIONS for p in shown)
    parts = [(name, [p for p in maps if p["outcome"] == name]) for name in ("wrong", "right")]
    parts.append(("other", [p for p in maps if p["outcome"] not in ("wrong", "right")]))
    parts += [
        (kind, [p for p in shown if p["kind"] == kind]) for kind in (*OF_REGIONS, "similar", "synthetic")
    ]
    always = () if placed else ("wrong", "right")
    there = [_part(name, some) for name, some in parts if some or name in always]
    scored = any(p["scores"] for p in maps)
    return {
        "parts": there, "reduced": kept["reduced"], "n": len(shown), "is_unscored": bool(maps) and not scored,
        "placed": placed,
    }  # fmt: skip


def _part(name: str, shown: list[Row]) -> Row:
    """Cases of one kind; scores that all of them share are said once, above them."""
    same = len(shown) > 1 and all(p["scores"] == shown[0]["scores"] for p in shown)
    cases = [{**p, "scores": []} for p in shown] if same else shown
    return {"name": name, "shown": cases, "scores": shown[0]["scores"] if same else []}


def safe_gallery(kept: Any) -> Row | None:
    """A gallery read from a file, None if it is not what `kept_gallery` makes."""
    if not isinstance(kept, dict) or not isinstance(kept.get("pictures"), list):
        return None
    for picture in kept["pictures"]:
        if not isinstance(picture, dict) or set(picture) != PICTURE:
            return None
        for panel in (*picture["panels"], *picture["scores"]):
            if not isinstance(panel, list) or len(panel) != 2 or not all(isinstance(p, str) for p in panel):
                return None
        if not all(
            re.fullmatch("data:image/png;base64,[A-Za-z0-9+/=]*", uri) for _, uri in picture["panels"]
        ):
            return None
    return {"pictures": kept["pictures"], "reduced": bool(kept.get("reduced"))}
