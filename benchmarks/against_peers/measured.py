"""Medians, ratios of medians and their spread, and how they are written."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from typing import Any

__all__ = ["Goal", "compared", "median_seconds", "prose", "rate", "table", "times"]

Goal = tuple[float, float]
"""A ratio to reach at least, and one to aim at."""


def median_seconds(contender: dict[str, Any]) -> float:
    """Median seconds of the processor for an item."""
    return statistics.median(contender["cpu"])


def rate(contender: dict[str, Any], *, per_item: float = 1) -> str:
    """Items a second of one core, as text of three figures.

    >>> rate({"cpu": [0.01, 0.011, 0.5]})
    '90.9'
    """
    value = per_item / median_seconds(contender)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def times(value: float) -> str:
    """A ratio as text: two decimals below ten, one above.

    >>> times(1.234), times(14.26)
    ('1.23×', '14.3×')
    """
    return f"{value:.2f}×" if value < 10 else f"{value:.1f}×"


def compared(ours: dict[str, Any], peer: dict[str, Any], *, share: float = 1) -> tuple[float, str]:
    """How many times faster ours is, by medians, and the least and largest ratio of one turn.

    `share` is how many of the peer's items one of ours is.
    """
    turns = [p / o * share for o, p in zip(ours["cpu"], peer["cpu"], strict=True)]
    return share * median_seconds(peer) / median_seconds(ours), f"{times(min(turns))} to {times(max(turns))}"


def prose(text: str) -> list[str]:
    """A paragraph in lines of the page's width.

    >>> prose("two words")
    ['two words']
    """
    return textwrap.wrap(text, 118, break_long_words=False, break_on_hyphens=False)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown.

    >>> table(["a", "b"], [["1", "2"]])
    ['| a | b |', '|---|---|', '| 1 | 2 |']
    """
    return ["| " + " | ".join(cells) + " |" for cells in (head,)] + [
        "|" + "---|" * len(head),
        *("| " + " | ".join(cells) + " |" for cells in lines),
    ]
