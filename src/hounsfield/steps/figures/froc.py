"""The free-response curve: lesions found by false positives an image, on the axis of LUNA16."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hounsfield.steps.figures.frame import Frame

__all__ = ["froc"]

Curve = Mapping[str, Any]
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
WORDS = ("1/8", "1/4", "1/2", "1", "2", "4", "8")


def froc(curves: Mapping[str, Curve]) -> Markup:
    """Sensitivity by false positives an image (logarithmic), a line a curve, with bands where given.

    Dots stand at the seven rates of which the mean is the CPM.

    >>> "1/8" in froc({"nodule": {"fps": [.125, 1, 8], "sensitivity": [.6, .8, .9]}})
    True
    """
    ends = (math.log2(RATES[0]), math.log2(RATES[-1]))
    frame = Frame(x=ends, y=(0, 1))
    marks = [math.log2(rate) for rate in RATES]
    parts = [frame.axes("false positives an image", "lesions found", x_ticks=marks, x_labels=WORDS)]
    for k, curve in enumerate(curves.values()):
        xs = [math.log2(max(rate, 1e-6)) for rate in curve["fps"]]
        if _has(curve, "low") and _has(curve, "high"):
            parts.append(_band(frame, xs, curve["low"], curve["high"], f"band c{k % 8}"))
        parts.append(frame.line(xs, curve["sensitivity"], f"line c{k % 8}"))
        for x, y in zip(xs, curve["sensitivity"], strict=True):
            if y is not None and any(abs(x - mark) < 1e-9 for mark in marks):
                parts.append(frame.dot(x, y, f"dot c{k % 8}", 3.5))
    return frame.svg(parts, f"Free-response curve for {', '.join(curves)}; the numbers stand in the metrics.")


def _has(curve: Curve, key: str) -> bool:
    return any(value is not None for value in curve.get(key) or ())


def _band(
    frame: Frame, xs: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], css: str
) -> Markup:
    """The band where both of its ends are known."""
    known = [(x, a, b) for x, a, b in zip(xs, low, high, strict=True) if a is not None and b is not None]
    return frame.band([x for x, _, _ in known], [a for _, a, _ in known], [b for _, _, b in known], css)
