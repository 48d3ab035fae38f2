"""Rows of a forest plot: a dot and its interval on a scale, stretched to the cell that they stand in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from hounsfield.steps.figures.frame import ticks

__all__ = ["Scale", "forest_blocks", "forest_rows", "mark", "scale_for"]


@dataclass(frozen=True, slots=True)
class Scale:
    """The ends of a forest plot's axis, and the value that a dashed line marks."""

    low: float = 0.0
    high: float = 1.0
    reference: float | None = None

    def percent(self, value: float) -> float:
        """Where a value lies, in percent of the width.

        >>> Scale(0, 2).percent(.5)
        25.0
        """
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    @property
    def labels(self) -> list[tuple[float, str]]:
        """Percent of the width and text of each tick."""
        middle = (self.low + self.high) / 2
        plain = self.high == 1.0 and self.low in (0.0, 0.5, -1.0)
        marks = [self.low, middle, self.high] if plain else ticks(self.low, self.high, 3)
        return [(self.percent(value), f"{value:g}".replace("-", "−")) for value in marks]


def scale_for(findings: Iterable[Mapping[str, Any]], reference: float | None = None) -> Scale:
    """0 to 1, or 0.5 to 1 where nothing lies below; wider where something lies outside.

    >>> scale_for([{"value": -.3, "low": -.4, "high": -.2}]).low
    -0.5
    """
    ends = [f[k] for f in findings for k in ("value", "low", "high") if f[k] is not None]
    low, high = min([0.0, *ends]), max([1.0, *ends])
    if low < 0:
        reach = max(abs(end) for end in ends)
        top = next((t for t in (0.1, 0.2, 0.5, 1.0) if reach <= t), _rounded_up(reach))
        return Scale(-top, top, 0.0 if reference is None else reference)
    if high == 1.0 and ends and min(ends) >= 0.5:
        return Scale(0.5, 1.0, reference)
    return Scale(low, high if high == 1.0 else _rounded_up(high), reference)


def _rounded_up(value: float) -> float:
    """The next round number, so that the axis ends on a tick."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(k * power for k in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if value <= k * power * (1 + 1e-9))


def mark(finding: Mapping[str, Any], scale: Scale) -> Markup:
    """The row's drawing; hidden from screen readers, for the numbers stand beside it.

    A finding that is "pooled" is drawn as a diamond; "prediction_low" and "prediction_high" as a thin line.
    """
    parts = [_grid(Scale(scale.low, scale.high))]
    if scale.reference is not None:
        parts.append(f'<path class="reference" d="M{scale.percent(scale.reference):g} 0V20"/>')
    low, high = finding.get("prediction_low"), finding.get("prediction_high")
    if low is not None and high is not None:
        left, right = scale.percent(low), scale.percent(high)
        parts.append(f'<path class="prediction" d="M{left:g} 10H{right:g}"/>')
    parts.append(_diamond(finding, scale) if finding.get("pooled") else _whisker(finding, scale))
    body = Markup("".join(parts))
    return Markup(
        '<svg class="mark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(body)


@lru_cache(maxsize=256)
def _grid(scale: Scale) -> str:
    return "".join(f'<path class="grid" d="M{left:g} 0V20"/>' for left, _ in scale.labels)


def _whisker(finding: Mapping[str, Any], scale: Scale) -> str:
    drawn = ""
    if finding["low"] is not None and finding["high"] is not None:
        low, high = scale.percent(finding["low"]), scale.percent(finding["high"])
        drawn = f'<path class="range" d="M{low:g} 10H{high:g}M{low:g} 6V14M{high:g} 6V14"/>'
    if finding["value"] is not None:
        drawn += f'<path class="estimate" d="M{scale.percent(finding["value"]):g} 10h.01"/>'
    return drawn


def _diamond(finding: Mapping[str, Any], scale: Scale) -> str:
    if None in (finding["value"], finding["low"], finding["high"]):
        return _whisker(finding, scale)
    low, middle, high = (scale.percent(finding[end]) for end in ("low", "value", "high"))
    return f'<path class="diamond" d="M{low:g} 10L{middle:g} 4L{high:g} 10L{middle:g} 16Z"/>'


def forest_rows(findings: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The findings with `mark` (drawing) and `foot` (letter of the method), on one scale.

    A finding's own "reference" is the value that its dashed line marks. None where there are no findings.

    >>> finding = {"value": .9, "low": .8, "high": .95, "method": "DeLong"}
    >>> table = forest_rows([finding])
    >>> table["rows"][0]["foot"], table["methods"]
    ('a', [('a', 'DeLong')])
    """
    if not findings:
        return None
    scale = scale_for(findings)
    letters = _letters(findings)
    rows = [_drawn(finding, scale, letters) for finding in findings]
    return {"rows": rows, "scale": scale, "methods": [(letter, text) for text, letter in letters.items()]}


def forest_blocks(
    findings: Sequence[Mapping[str, Any]], *keys: str, one_scale: bool = False
) -> dict[str, Any] | None:
    """Forest rows in blocks that share the keys, each block in the order in which it first appears.

    Shares (0 to 1) are drawn on one scale; a block of other numbers has a "scale" of its own, unless
    `one_scale` asks for all to be compared.

    >>> slope = {"name": "slope", "value": 1.2, "low": .9, "high": 1.6, "method": ""}
    >>> share = {**slope, "name": "auroc", "value": .9, "low": .8, "high": .95}
    >>> table = forest_blocks([slope, share], "name")
    >>> table["scale"].high, [block["scale"] is None for block in table["blocks"]]
    (1.0, [False, True])
    """
    if not findings:
        return None
    held: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for finding in findings:
        held.setdefault(tuple(str(finding[key]) for key in keys), []).append(finding)
    wide = {key for key, rows in held.items() if not one_scale and not _are_shares(rows)}
    shares = [f for key, rows in held.items() if key not in wide for f in rows]
    common, letters = scale_for(shares), _letters(findings)
    blocks = []
    for key, rows in held.items():
        own = scale_for(rows) if key in wide else None
        blocks.append({"rows": [_drawn(f, own or common, letters) for f in rows], "scale": own})
    methods = [(letter, text) for text, letter in letters.items()]
    return {"blocks": blocks, "scale": common if shares else None, "methods": methods}


def _are_shares(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether numbers may be drawn on the scale of shares: what has a "unit" never is one."""
    if any(f.get("unit") for f in rows):
        return False
    ends = [f[k] for f in rows for k in ("value", "low", "high") if f[k] is not None]
    return all(0 <= end <= 1 for end in ends)


def _letters(findings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    methods = dict.fromkeys(f["method"] for f in findings if f["method"])
    return {m: "abcdefghijklmnopqrstuvwxyz"[k % 26] * (1 + k // 26) for k, m in enumerate(methods)}


def _drawn(finding: Mapping[str, Any], scale: Scale, letters: Mapping[str, str]) -> dict[str, Any]:
    own = replace(scale, reference=finding.get("reference", scale.reference))
    return {**finding, "mark": mark(finding, own), "foot": letters.get(finding["method"], "")}
