"""The chapter of the application: its own numbers, tables, plots and pictures, under its own title."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hounsfield.steps import figures
from hounsfield.steps.chapters.records import records
from hounsfield.steps.chapters.trust import CLINICAL

__all__ = ["clinical"]

Row = dict[str, Any]


def clinical(content: Row, findings: list[Row], kept: Row) -> Row | None:
    """What the templates print of it; None where no application added anything."""
    tables, plots = content["tables"].get("clinical"), content["curves"].get("clinical")
    told = content["context"].get("clinical")
    chapter: Row = {
        "numbers": figures.forest_blocks(findings, "name"),
        "tables": [(str(title), table) for title, rows in (tables or {}).items() if (table := records(rows))],
        "plots": [(figures.plot(p), p) for p in plots or [] if isinstance(p, Mapping) and p.get("series")],
        "pictures": [p for p in kept["pictures"] if p["kind"] == CLINICAL],
    }
    if not any(chapter.values()):
        return None
    about = told if isinstance(told, Mapping) else {}
    return {**chapter, "title": str(about.get("title") or ""), "lead": str(about.get("lead") or "")}
