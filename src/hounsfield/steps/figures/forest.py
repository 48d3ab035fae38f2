"""One row of a forest plot: a dot and its interval on a shared scale, stretched to the cell it stands in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from hounsfield.steps.figures.frame import ticks

__all__ = ["Scale", "forest_rows", "mark", "scale_for"]


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
        marks = [self.low, middle, self.high] if self.high == 1.0 else ticks(self.low, self.high, 3)
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
        top = next((t for t in (0.1, 0.2, 0.5, 1.0) if reach <= t), reach)
        return Scale(-top, top, 0.0 if reference is None else reference)
    if high == 1.0 and ends and min(ends) >= 0.5:
        return Scale(0.5, 1.0, reference)
    return Scale(low, high, reference)


def mark(finding: Mapping[str, Any], scale: Scale) -> Markup:
    """The row's drawing; hidden from screen readers, for the numbers stand beside it."""
    parts = []
    if scale.reference is not None:
        parts.append(f'<path class="reference" d="M{scale.percent(scale.reference):g} 0V20"/>')
    if finding["low"] is not None and finding["high"] is not None:
        low, high = scale.percent(finding["low"]), scale.percent(finding["high"])
        parts.append(f'<path class="range" d="M{low:g} 10H{high:g}M{low:g} 6V14M{high:g} 6V14"/>')
    if finding["value"] is not None:
        parts.append(f'<path class="estimate" d="M{scale.percent(finding["value"]):g} 10h.01"/>')
    body = Markup("".join(parts))
    return Markup(
        '<svg class="mark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(body)


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
    methods = dict.fromkeys(f["method"] for f in findings if f["method"])
    letters = {
        method: "abcdefghijklmnopqrstuvwxyz"[k % 26] * (1 + k // 26) for k, method in enumerate(methods)
    }
    rows = []
    for finding in findings:
        own = replace(scale, reference=finding.get("reference", scale.reference))
        rows.append({**finding, "mark": mark(finding, own), "foot": letters.get(finding["method"], "")})
    return {"rows": rows, "scale": scale, "methods": [(letter, text) for text, letter in letters.items()]}
