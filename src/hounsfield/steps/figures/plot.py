"""Any series over two named axes, as an application draws them: lines, points, intervals, a diagonal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hounsfield.steps.figures.frame import Frame

__all__ = ["plot"]

_MARGIN = 0.04


def plot(drawing: Mapping[str, Any]) -> Markup:
    """The SVG of a `core.clinical.Plot` as plain dicts; missing numbers leave a gap.

    >>> one = {"name": "brain", "x": [0, 1], "y": [1200, 1190], "low": [], "high": [], "kind": "line"}
    >>> "<path" in plot({"title": "Volume", "x_name": "years", "y_name": "ml", "series": [one]})
    True
    """
    series = list(drawing["series"])
    xs = [v for s in series for v in s["x"]]
    ys = [v for s in series for key in ("y", "low", "high") for v in s.get(key) or []]
    x, y = _ends(xs), _ends(ys)
    if drawing.get("diagonal"):
        x = y = (min(x[0], y[0]), max(x[1], y[1]))
    frame = Frame(x=x, y=y)
    parts = [frame.axes(str(drawing["x_name"]), str(drawing["y_name"]))]
    if drawing.get("diagonal"):
        parts.append(frame.line(x, y, "chance"))
    for number, one in enumerate(series):
        parts += _drawn(frame, one, f"c{number % 8}")
    return frame.svg(parts, f"{drawing['title']}: {', '.join(str(s['name']) for s in series)}.")


def _drawn(frame: Frame, one: Mapping[str, Any], colour: str) -> list[Markup]:
    """A line with its band, or points with their whiskers."""
    xs, ys = one["x"], one["y"]
    lows, highs = one.get("low") or [], one.get("high") or []
    parts = []
    if one.get("kind") == "line":
        if lows and highs:
            parts.append(frame.band(xs, lows, highs, f"band {colour}"))
        return [*parts, frame.line(xs, ys, f"line {colour}")]
    for x, low, high in zip(xs, lows, highs, strict=False):
        if None not in (x, low, high):
            parts.append(frame.line((x, x), (low, high), f"whisker {colour}"))
    spots = [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None and y is not None]
    return [*parts, *(frame.dot(x, y, f"dot {colour}", 3) for x, y in spots)]


def _ends(values: Sequence[float | None]) -> tuple[float, float]:
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = (high - low) * _MARGIN or max(abs(high) * _MARGIN, 0.5)
    return low - room, high + room
