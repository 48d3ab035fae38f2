"""The rows of the table: each file says who competes in it, and how what was measured is written down."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from turns import Turns

__all__ = ["ROWS", "Row", "row"]

ROWS = {
    "a": "augment_flat",
    "b": "augment_volume",
    "c": "training",
    "d": "frozen",
    "e": "loading",
    "f": "inference",
    "g": "int8",
}


class Row(Protocol):
    """A module under rows/."""

    TITLE: str

    def measure(self, how: Turns) -> dict[str, Any]:
        """Run the contenders; everything that the page needs, as JSON."""
        ...

    def page(self, found: dict[str, Any]) -> list[str]:
        """Lines of Markdown under the row's heading."""
        ...

    def summary(self, found: dict[str, Any]) -> list[tuple[str, ...]]:
        """Lines of the first table: work, peer, at least, goal, ratio, its spread."""
        ...


def row(letter: str) -> Any:
    """The module of a row."""
    return importlib.import_module(f"rows.{ROWS[letter]}")
