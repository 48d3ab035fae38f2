"""The curves of a diagnostic study: ROC, precision-recall, calibration and score histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from hounsfield.steps.figures.frame import Frame

__all__ = ["calibration", "precision_recall", "roc", "scores"]

Curve = Mapping[str, Any]
Crosshair = Mapping[str, Any]


def roc(curves: Mapping[str, Curve], crosshair: Crosshair | None = None) -> Markup:
    """Sensitivity against 1 - specificity, a line a class, with bands where `low` and `high` are given.

    `crosshair` has findings "sensitivity" and "specificity": the operating point with its intervals.

    >>> "<svg" in roc({"malignant": {"fpr": [0, .2, 1], "tpr": [0, .8, 1]}})
    True
    """
    frame = Frame(x=(0, 1), y=(0, 1))
    parts = [frame.axes("1 − specificity", "sensitivity"), frame.line((0, 1), (0, 1), "chance")]
    for k, curve in enumerate(curves.values()):
        if curve.get("low") and curve.get("high"):
            parts.append(frame.band(curve["fpr"], curve["low"], curve["high"], f"band c{k % 8}"))
        parts.append(frame.line(curve["fpr"], curve["tpr"], f"line c{k % 8}"))
    if crosshair:
        parts += _crosshair(frame, crosshair["sensitivity"], crosshair["specificity"])
    return frame.svg(parts, f"ROC curve for {', '.join(curves)}; the numbers stand in the metrics table.")


def _crosshair(frame: Frame, sensitivity: Mapping[str, Any], specificity: Mapping[str, Any]) -> list[Markup]:
    x, y = 1 - specificity["value"], sensitivity["value"]
    parts = []
    if sensitivity["low"] is not None and sensitivity["high"] is not None:
        parts.append(frame.line((x, x), (sensitivity["low"], sensitivity["high"]), "whisker"))
    if specificity["low"] is not None and specificity["high"] is not None:
        parts.append(frame.line((1 - specificity["high"], 1 - specificity["low"]), (y, y), "whisker"))
    return [*parts, frame.dot(x, y, "point", 5)]


def precision_recall(curves: Mapping[str, Curve]) -> Markup:
    """Precision against recall, a line a class; the dotted line is the prevalence: what chance gives."""
    frame = Frame(x=(0, 1), y=(0, 1))
    parts = [frame.axes("recall (sensitivity)", "precision (positive predictive value)")]
    for k, curve in enumerate(curves.values()):
        if curve.get("prevalence") is not None:
            parts.append(frame.line((0, 1), (curve["prevalence"],) * 2, f"chance c{k % 8}"))
        parts.append(frame.line(curve["recall"], curve["precision"], f"line c{k % 8}"))
    return frame.svg(parts, f"Precision-recall curve for {', '.join(curves)}.")


def calibration(curve: Curve | None, name: str, number: int = 0, *, band: Curve | None = None) -> Markup:
    """Observed share against predicted probability: dots with intervals and counts, and a smooth `band`.

    >>> "<circle" in calibration({"predicted": [.2, .8], "observed": [.1, .9]}, "malignant")
    True
    """
    counts = (curve or {}).get("n") or []
    colour = f"c{number % 8}"
    frame = Frame(x=(0, 1), y=(0, 1), bottom=104 if counts else 44)
    x_name = "" if counts else "predicted probability"
    parts = [frame.axes(x_name, "observed share"), frame.line((0, 1), (0, 1), "chance")]
    if band:
        if band.get("low") and band.get("high"):
            parts.append(frame.band(band["predicted"], band["low"], band["high"], f"band {colour}"))
        parts.append(frame.line(band["predicted"], band["observed"], f"line {colour}"))
    if curve:
        parts += _dots(frame, curve, colour, joined=not band)
        parts += _counts_below(curve["predicted"], counts, number) if counts else []
    return frame.svg(parts, f"Calibration curve of the score for {name}.")


def _dots(frame: Frame, curve: Curve, colour: str, *, joined: bool) -> list[Markup]:
    parts = []
    predicted, observed = curve["predicted"], curve["observed"]
    lows, highs = curve.get("low") or [], curve.get("high") or []
    for x, low, high in zip(predicted, lows, highs, strict=False):
        if None not in (x, low, high):
            parts.append(frame.line((x, x), (low, high), f"whisker {colour}"))
    if joined:
        parts.append(frame.line(predicted, observed, f"line thin {colour}"))
    for x, y in zip(predicted, observed, strict=True):
        if x is not None and y is not None:
            parts.append(frame.dot(x, y, f"dot {colour}", 4))
    return parts


def _counts_below(
    predicted: Sequence[float | None], counts: Sequence[int | None], number: int
) -> list[Markup]:
    most = max([n for n in counts if n is not None] + [1])
    strip = Frame(x=(0, 1), y=(0, most), top=296, bottom=28)
    parts = [strip.words(strip.left - 8, 331, "n", anchor="end")]
    free = 0.0  # where the next number may begin, so that none covers another
    for x, n in zip(predicted, counts, strict=False):
        if x is None or n is None:
            continue
        parts.append(strip.box((x - 0.012, x + 0.012), (0, n), f"fill c{number % 8}"))
        left, top = strip.at(x, n)
        half = 3.6 * len(f"{n:g}")
        if left - half >= free:
            parts.append(strip.words(left, top - 4, f"{n:g}", anchor="middle"))
            free = left + half + 2
    middle = (strip.left + strip.width - strip.right) / 2
    return [*parts, strip.words(middle, 353, "predicted probability", "axis", "middle")]


def scores(counts: Curve, name: str, threshold: float | None = None) -> Markup:
    """Mirrored histogram: scores of cases with the class upwards, of cases without it downwards.

    Bars are shares of their side, so that a rare class can be seen; the line is the threshold.
    """
    sides = [_shares(counts["positive"]), _shares(counts["negative"])]
    most = max(*sides[0], *sides[1], 1e-9)
    edges = counts["edges"]
    frame = Frame(x=(edges[0], edges[-1]), y=(-most, most), height=300)
    parts = [frame.axes("score", "share of cases", y_ticks=(0,))]
    for k, (low, high) in enumerate(pairwise(edges)):
        parts.append(frame.box((low, high), (0, sides[0][k]), "fill c0"))
        parts.append(frame.box((low, high), (-sides[1][k], 0), "fill c1"))
    parts.append(frame.words(frame.left + 8, frame.top + 14, f"with {name}", "side"))
    right, low = frame.width - frame.right - 8, frame.height - frame.bottom - 8
    parts.append(frame.words(right, low, f"without {name}", "side", "end"))
    if threshold is not None:
        parts.append(frame.line((threshold, threshold), (-most, most), "threshold"))
    return frame.svg(parts, f"Histogram of the scores of cases with and without {name}.")


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts) or 1
    return [n / total for n in counts]
