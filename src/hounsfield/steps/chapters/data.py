"""Chapters about the data: the flow of cases, and which tables about them there are."""

from __future__ import annotations

from typing import Any

from hounsfield.steps.chapters.records import records

__all__ = ["TABLES", "data_tables", "flow"]

Row = dict[str, Any]
PARTS = {"development", "test", "external"}

TABLES = (
    ("sources", "Sources and dates", ("sources", "acquisition", "acquisition_shift")),
    ("dictionary", "Dictionary of the data", ("dictionary",)),
    ("missing", "What is missing, by group", ("missing", "missingness")),
    ("representation", "Who is represented", ("representation", "representativeness")),
    (
        "label_errors",
        "Labels to look at again",
        ("label_errors", "label_error_candidates", "label_review", "suspects"),
    ),
    ("duplicates", "Pairs of the same picture", ("duplicates", "near_duplicates", "pairs")),
    ("sample_size", "Is this enough?", ("precision", "power", "sample_size")),
)
"""(id, title, keys of Evidence.tables) of tables that are printed where they exist."""


def data_tables(tables: Row) -> list[Row]:
    """The tables about the data that the evidence holds, in reading order."""
    found = []
    for key, title, names in TABLES:
        for name in names:
            table = records(tables.get(name))
            if table:
                found.append({"id": key, "title": title, "name": name, "table": table})
    return found


def flow(content: Row) -> Row | None:
    """The steps from all that was found to the parts, each with how many cases it left out."""
    rows = content["tables"].get("flow")
    if not rows:
        return None
    parts = {name.lower() for name in content["tables"].get("classes", {})} | PARTS
    steps: list[Row] = []
    branches: list[Row] = []
    for step, n_cases, n_patients, reason in rows:
        row = {"step": step, "n": n_cases, "n_patients": n_patients, "reason": reason, "dropped": 0}
        if step.lower() in parts:
            branches.append(row)
            continue
        if steps and None not in (steps[-1]["n"], n_cases):
            row["dropped"] = steps[-1]["n"] - n_cases
        steps.append(row)
    return {"steps": steps, "branches": branches}
