"""Figures about decisions: net benefit by threshold, predictive values by prevalence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hounsfield.steps.figures.frame import Frame, Numbers

__all__ = ["decision_curve", "predictive_values"]

Curve = Mapping[str, Any]


def decision_curve(curve: Curve, name: str, wanted: tuple[float, float] | None = None) -> Markup:
    """Net benefit (Vickers 2006) of acting on the model, on everybody and on nobody, by threshold.

    `wanted` are the thresholds between which people would act; they are shaded.

    >>> drawing = decision_curve({"threshold": [.1, .5], "model": [.2, .1], "all": [.2, -.3]}, "malignant")
    >>> "threshold probability" in drawing
    True
    """
    cuts, model, everybody = curve["threshold"], curve["model"], curve.get("all") or []
    known = [v for v in (*model, *(curve.get("high") or [])) if v is not None]
    top = max([*known, *(v for v in everybody if v is not None), 0.01])
    floor = -0.25 * top
    frame = Frame(x=(0, max([c for c in cuts if c is not None] or [1.0])), y=(floor, 1.05 * top))
    parts = [frame.axes("threshold probability", "net benefit")]
    if wanted:
        parts.insert(0, frame.box(wanted, frame.y, "wanted"))
    parts.append(frame.line(frame.x, (0, 0), "chance"))
    if curve.get("low") and curve.get("high"):
        parts.append(frame.band(cuts, _above(curve["low"], floor), _above(curve["high"], floor), "band c0"))
    parts.append(frame.line(cuts, _cut_off(everybody, floor), "line dashed c1"))
    parts.append(frame.line(cuts, _cut_off(model, floor), "line c0"))
    return frame.svg(parts, f"Decision curve for {name}: net benefit by threshold probability.")


def predictive_values(curve: Curve, name: str) -> Markup:
    """Positive (solid) and negative (dashed) predictive value by how common the finding is.

    >>> curve = {"prevalence": [.1, .5], "ppv": [.4, .9], "npv": [.9, .7]}
    >>> "prevalence" in predictive_values(curve, "tumour")
    True
    """
    frame = Frame(x=(0, max([p for p in curve["prevalence"] if p is not None] or [1.0])), y=(0, 1))
    parts = [frame.axes("prevalence", "predictive value")]
    for key, css in (("ppv", "c0"), ("npv", "c2")):
        low, high = curve.get(f"{key}_low"), curve.get(f"{key}_high")
        if low and high:
            parts.append(frame.band(curve["prevalence"], low, high, f"band {css}"))
        line = "line" if key == "ppv" else "line dashed"
        parts.append(frame.line(curve["prevalence"], curve.get(key) or [], f"{line} {css}"))
    return frame.svg(parts, f"Predictive values for {name} by prevalence.")


def _cut_off(values: Sequence[float | None], floor: float) -> Numbers:
    """What lies below the frame is left out, or it would run along its edge."""
    return [None if v is None or v < floor else v for v in values]


def _above(values: Sequence[float | None], floor: float) -> Numbers:
    return [None if v is None else max(v, floor) for v in values]
