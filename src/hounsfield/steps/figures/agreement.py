"""A measurement against a reader's: the difference by the mean, with bias and limits of agreement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from hounsfield.steps.figures.frame import Frame
from hounsfield.steps.figures.outlines import logarithmic

__all__ = ["agreement"]


def agreement(curve: Mapping[str, Any], name: str, what: str, number: int = 0) -> Markup:
    """Bland and Altman's drawing (Lancet 1986;1:307): a dot a case, solid the bias, dashed the limits.

    `what` is measured, in the curve's "unit". Where sizes differ much the mean is on a logarithmic axis.

    >>> limits = {"bias": 0.0, "low": -0.3, "high": 0.3, "unit": "ml"}
    >>> curve = {"mean": [1.0, 2.0], "difference": [0.1, -0.1], **limits}
    >>> "volume (ml)" in agreement(curve, "tumour", "volume")
    True
    """
    unit = curve.get("unit") or ""
    bias, low, high = (curve.get(key) for key in ("bias", "low", "high"))
    edges = [v for v in (*curve["difference"], low, high) if v is not None]
    reach = 1.08 * max((abs(v) for v in edges), default=1.0) or 1.0
    means = [m for m in curve["mean"] if m > 0] or [1.0]
    wide = max(means) > 30 * min(means)
    marks, words = logarithmic(min(means), max(means)) if wide else ((), ())
    ends = (marks[0], marks[-1]) if wide else (min(0.0, *means), 1.05 * max(means))
    frame = Frame(x=ends, y=(-reach, reach), height=300, left=62)
    parts = [
        frame.axes(f"mean {what} ({unit})", "model less reader", x_ticks=marks, x_labels=words),
        frame.line(ends, (0, 0), "chance"),
    ]
    for mean, gap in zip(curve["mean"], curve["difference"], strict=True):
        if mean > 0 or not wide:
            parts.append(frame.dot(math.log10(mean) if wide else mean, gap, f"speck c{number % 8}", 3))
    parts += [frame.line(ends, (v, v), f"line dashed c{number % 8}") for v in (low, high) if v is not None]
    if bias is not None:
        parts.append(frame.line(ends, (bias, bias), f"line thin c{number % 8}"))
    return frame.svg(parts, f"Difference of {what} between model and reader for {name}.")
