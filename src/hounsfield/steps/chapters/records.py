"""Any list of rows as a table that can be printed: heads, aligned cells, numbers with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["complete", "records", "renamed"]

Row = dict[str, Any]
SHOWN = 10
"""Rows before a table folds the rest."""


def records(rows: Any) -> Row | None:
    """Rows given as mappings, or as lists, in one shape; None where there is nothing to show.

    A cell may be a number, text, a list, or a mapping with "value", "low", "high" and "n".

    >>> table = records([{"site": "A", "auroc": {"value": .9, "low": .8, "high": .95}}])
    >>> table["heads"], table["numeric"], table["first"][0][1]["low"]
    (['site', 'auroc'], [False, True], 0.8)
    """
    if isinstance(rows, Mapping):
        rows = _of_mapping(rows)
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        return None
    if all(isinstance(row, Mapping) for row in rows):
        heads = list(dict.fromkeys(str(key) for row in rows for key in row))
        cells = [[_cell(row.get(key)) for key in heads] for row in rows]
    else:
        lists = [list(row) if isinstance(row, list | tuple) else [row] for row in rows]
        width = max(map(len, lists))
        heads = [""] * width
        cells = [[_cell(value) for value in row + [None] * (width - len(row))] for row in lists]
    numeric = [all(cell["number"] or cell["empty"] for cell in column) for column in zip(*cells, strict=True)]
    return {"heads": heads, "numeric": numeric, "first": cells[:SHOWN], "rest": cells[SHOWN:]}


def complete(curves: Any, *keys: str) -> Row:
    """The named curves that have all these lists, of one length; the others cannot be drawn.

    >>> list(complete({"a": {"x": [0], "y": [1]}, "b": {"x": [0]}}, "x", "y"))
    ['a']
    """
    if not isinstance(curves, Mapping):
        return {}
    return {str(name): curve for name, curve in curves.items() if _is_complete(curve, keys)}


def renamed(curves: Any, **names: str) -> Row:
    """The named curves with a key of another name, where only that one is there.

    >>> renamed({"a": {"value": [1]}}, model="value")
    {'a': {'value': [1], 'model': [1]}}
    """
    if not isinstance(curves, Mapping):
        return {}
    return {
        str(name): {
            **curve,
            **{key: curve[old] for key, old in names.items() if key not in curve and old in curve},
        }
        for name, curve in curves.items()
        if isinstance(curve, Mapping)
    }


def _is_complete(curve: Any, keys: Sequence[str]) -> bool:
    if not isinstance(curve, Mapping) or not all(isinstance(curve.get(key), list) for key in keys):
        return False
    return len({len(curve[key]) for key in keys}) == 1 and len(curve[keys[0]]) > 0


def _of_mapping(rows: Mapping[str, Any]) -> list[Any]:
    """{key: value} as rows of two, {key: {…}} as rows with the key first."""
    if rows and all(isinstance(inner, Mapping) for inner in rows.values()):
        return [{"": key, **inner} for key, inner in rows.items()]
    return [[key, value] for key, value in rows.items()]


def _cell(value: Any) -> Row:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    cell: Row = {"value": value, "low": None, "high": None, "n": None, "note": "", "number": number}
    if isinstance(value, Mapping) and "value" in value:
        cell = {**cell, **{key: value.get(key) for key in ("value", "low", "high", "n")}, "number": True}
        cell["note"] = str(value.get("note") or "")
    elif isinstance(value, bool):
        cell["value"] = "yes" if value else "no"
    elif isinstance(value, Mapping):
        cell["value"] = ", ".join(f"{key} {inner}" for key, inner in value.items())
    elif isinstance(value, list | tuple):
        cell["value"] = ", ".join(map(str, value))
    return {**cell, "empty": cell["value"] in (None, "") and not cell["note"]}
