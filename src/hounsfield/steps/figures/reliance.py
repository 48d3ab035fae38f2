"""Figures about when to rely on a model: risk by how many cases it answers, and how it bears worse images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from hounsfield.steps.figures.frame import Frame

__all__ = ["risk_coverage", "robustness"]

Curve = Mapping[str, Any]


def risk_coverage(curves: Mapping[str, Curve]) -> Markup:
    """Share of errors among the cases that are answered, by how many are answered (El-Yaniv 2010).

    >>> "<svg" in risk_coverage({"all": {"coverage": [.5, 1], "risk": [.02, .1]}})
    True
    """
    known = [v for c in curves.values() for v in (*c["risk"], *(c.get("high") or ())) if v is not None]
    frame = Frame(x=(0, 1), y=(0, max([*known, 0.05]) * 1.05), height=300)
    parts = [frame.axes("share of cases answered", "share of errors among them")]
    for k, curve in enumerate(curves.values()):
        if curve.get("low") and curve.get("high"):
            parts.append(frame.band(curve["coverage"], curve["low"], curve["high"], f"band c{k % 8}"))
        parts.append(frame.line(curve["coverage"], curve["risk"], f"line c{k % 8}"))
    return frame.svg(parts, f"Errors by the share of cases that are answered, for {', '.join(curves)}.")


def robustness(curve: Curve, name: str) -> Markup:
    """A metric by how strongly the images were changed; the dotted line is its value on unchanged ones.

    >>> "sigma" in robustness({"level": [0, 1], "value": [.9, .7], "unit": "sigma in pixels"}, "blur")
    True
    """
    levels, values = curve["level"], curve["value"]
    metric = str(curve.get("metric") or "value").replace("_", " ")
    known = [v for v in (*values, *(curve.get("low") or ())) if v is not None]
    counted = all(isinstance(x, int | float) for x in levels)
    xs = levels if counted else list(range(len(levels)))
    low = 0.5 if known and min(known) >= 0.5 else min([0.0, *known])
    frame = Frame(x=(min(xs), max(xs)), y=(low, max([1.0, *known])), height=250)
    unit = str(curve.get("unit") or name.replace("_", " "))
    words = () if counted else tuple(str(x)[:12] for x in levels)
    parts = [frame.axes(unit, metric, x_ticks=() if counted else xs, x_labels=words)]
    if curve.get("reference") is not None:
        parts.append(frame.line(frame.x, (curve["reference"],) * 2, "chance"))
    for x, below, above in zip(xs, curve.get("low") or (), curve.get("high") or (), strict=False):
        if None not in (below, above):
            parts.append(frame.line((x, x), (below, above), "whisker c0"))
    parts.append(frame.line(xs, values, "line c0"))
    parts += [frame.dot(x, v, "dot c0", 3.5) for x, v in zip(xs, values, strict=True) if v is not None]
    return frame.svg(parts, f"{metric} as {name.replace('_', ' ')} grows.")
