"""Figures of outlined cases: Dice of each case by structure, and Dice by how large the structure is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hounsfield.steps.figures.frame import Frame

__all__ = ["dice_by_volume", "dice_strips", "logarithmic"]

Curve = Mapping[str, Any]
_ROW = 46.0
_NAME = 22
"""Letters of a structure's name that have room."""


def dice_strips(curves: Mapping[str, Curve]) -> Markup:
    """A row a structure: a dot a case, the middle half as a box, the median as a line.

    >>> "<circle" in dice_strips({"anterior": {"dice": [.8, .9], "quartiles": [.82, .85, .88]}})
    True
    """
    names = list(curves)
    longest = min(max(map(len, names), default=0), _NAME)
    least = min((d for c in curves.values() for d in c["dice"]), default=0.0)
    low = next(cut for cut in (0.8, 0.5, 0.0) if least >= cut or not cut)
    frame = Frame(
        x=(low, 1),
        y=(0, len(names)),
        width=540,
        height=56 + _ROW * len(names),
        left=16 + 7.5 * longest,
        bottom=44,
    )
    middles = [len(names) - k - 0.5 for k in range(len(names))]
    parts = [frame.axes("Dice of a case", "", y_ticks=middles, y_labels=[name[:_NAME] for name in names])]
    for k, (curve, middle) in enumerate(zip(curves.values(), middles, strict=True)):
        quartiles, colour = curve.get("quartiles") or [], f"c{k % 8}"
        if len(quartiles) == 3:
            span = (middle - 0.32, middle + 0.32)
            parts.append(frame.box((quartiles[0], quartiles[2]), span, f"band {colour}"))
            parts.append(frame.line((quartiles[1],) * 2, span, f"whisker {colour}"))
        for n, dice in enumerate(curve["dice"]):
            parts.append(frame.dot(dice, middle + 0.26 * _beside(n), f"speck {colour}", 2.6))
    return frame.svg(parts, f"Dice of each case for {', '.join(names)}.")


def dice_by_volume(curve: Curve, name: str, number: int = 0) -> Markup:
    """Dice of each case by the volume that the reader outlined; a logarithmic axis where sizes differ much.

    >>> curve = {"reference": [.5, 80.0], "dice": [.6, .9], "unit": "ml"}
    >>> "reader" in dice_by_volume(curve, "tumour")
    True
    """
    known = [(v, d) for v, d in zip(curve["reference"], curve["dice"], strict=True) if v > 0]
    volumes = [v for v, _ in known] or [1.0]
    unit = curve.get("unit") or "ml"
    wide = max(volumes) > 10 * min(volumes)
    ends = (min(volumes), max(volumes)) if wide else (0.0, 1.05 * max(volumes))
    marks, words = logarithmic(*ends) if wide else ((), ())
    place = math.log10 if wide else float
    frame = Frame(x=(marks[0], marks[-1]) if wide else ends, y=(0, 1), height=300)
    parts = [frame.axes(f"volume outlined by the reader ({unit})", "Dice", x_ticks=marks, x_labels=words)]
    parts += [frame.dot(place(v), d, f"speck c{number % 8}", 3) for v, d in known]
    return frame.svg(parts, f"Dice by volume of {name}.")


def logarithmic(low: float, high: float) -> tuple[Sequence[float], Sequence[str]]:
    """Logarithms of powers of ten (or of two between few) around two ends, and how they are printed.

    >>> logarithmic(0.5, 80)
    ([-1.0, 0.0, 1.0, 2.0], ['0.1', '1', '10', '100'])
    """
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    step = max(1, math.ceil((last - first) / 6))
    powers = list(range(first, last + step, step))
    return [float(p) for p in powers], [f"{10.0**p:g}" for p in powers]


def _beside(n: int) -> float:
    """Where the n-th dot stands beside the middle, from -1 to 1, spread evenly, at every drawing alike."""
    return 2 * ((n * 0.6180339887) % 1) - 1
