"""The same numbers by group: each against everyone, with the tests of whether groups differ at all."""

from __future__ import annotations

from typing import Any

from hounsfield.steps import figures
from hounsfield.steps.chapters.numbers import overall
from hounsfield.steps.chapters.records import records
from hounsfield.steps.chapters.topics import is_overall

__all__ = ["sites", "subgroups"]

Row = dict[str, Any]
CORE = ("sex", "gender", "age", "age band", "site", "hospital", "scanner", "all")
"""Columns that are always shown; others are folded where nothing in them stands out."""

FOLDED = ("subgroup_metrics",)
"""Tables for looking something up."""

CLEAR = 0.025
"""Below this a p value, corrected for all comparisons, is marked."""


def subgroups(content: Row, findings: list[Row]) -> list[Row]:
    """For each group column its metrics, each with its groups; everyone's value is the reference."""
    columns: dict[str, list[Row]] = {}
    differences = {_key(d, d.get("group")): d for d in _listed(content, "subgroup_differences")}
    for finding in findings:
        pairs = [part.partition("=") for part in finding["group"].split(" & ")]
        column, value = (" × ".join(p[k] for p in pairs) for k in (0, 2))
        everyone = _everyone(content, finding)
        row = {**finding, "member": value, "overall": everyone}
        row["differs"] = _clear(differences.get(_key(finding, finding["group"], name="name")))
        if everyone:
            row["reference"] = everyone["value"]
        columns.setdefault(column or "all", []).append(row)
    return [
        {
            "column": name,
            "table": figures.forest_blocks(rows, "name", "label"),
            "smallest": min(rows, key=lambda f: f["n"]),
            "tests": [_test(t) for t in _listed(content, "subgroup_tests") if t.get("column") == name],
            "count": len({row["member"] for row in rows}),
            "folded": name not in CORE and not any(row["differs"] or row["level"] != "info" for row in rows),
        }
        for name, rows in columns.items()
    ]


def sites(content: Row) -> Row | None:
    """The forest of sites with the pooled value last, where the evidence holds one."""
    rows = _listed(content, "per_site")
    if not rows:
        return None
    findings = []
    for row in rows:
        named = {
            "name": row.get("metric", ""),
            "label": "",
            "group": str(row.get("site", "")),
            "level": "info",
        }
        numbers = {key: row.get(key) for key in ("value", "low", "high", "prediction_low", "prediction_high")}
        told = {
            "n": row.get("n") or 0,
            "n_patients": row.get("n_patients") or 0,
            "note": row.get("note") or "",
        }
        pooled = str(row.get("site", "")).lower() in ("pooled", "all", "summary")
        findings.append({**named, **numbers, **told, "method": row.get("method") or "", "pooled": pooled})
    return figures.forest_blocks(findings, "name")


def other_tables(content: Row) -> list[Row]:
    """Tables of the chapter that no column claims."""
    named = (
        ("mitigation", "Before and after mitigation"),
        ("diagnosis_gaps", "Under- and over-diagnosis"),
        ("site_thresholds", "Thresholds site by site"),
        ("subgroup_metrics", "Every metric by group"),
    )
    found = [(key, title, records(content["tables"].get(key))) for key, title in named]
    return [{"title": title, "table": table, "folded": key in FOLDED} for key, title, table in found if table]


def _everyone(content: Row, finding: Row) -> Row | None:
    same = [f for f in content["metrics"] if (f["name"], f["label"]) == (finding["name"], finding["label"])]
    own = next((f for f in same if not f["group"]), None)
    positive = content["context"].get("positive")
    return own or (
        overall(content, finding["name"]) if is_overall({**finding, "group": ""}, positive) else None
    )


def _listed(content: Row, table: str) -> list[Row]:
    rows = content["tables"].get(table)
    return [_flat(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _flat(row: Row) -> Row:
    """A row of metrics.subgroups (ColumnTest, Subgroup) with its nested numbers beside the others."""
    inner = row.get("test") or row.get("difference") or {}
    flat = {**(inner if isinstance(inner, dict) else {}), **row}
    flat.setdefault("p", flat.get("p_value"))
    flat.setdefault("i2", flat.get("i_squared"))
    flat.setdefault("note", flat.get("reason") or "")
    flat.setdefault("metric", (row.get("estimate") or {}).get("name", ""))
    if row.get("column") and row.get("group") and "=" not in str(row["group"]):
        flat["group"] = f"{row['column']}={row['group']}"
    return flat


def _key(row: Row, group: Any, *, name: str = "metric") -> tuple[str, str, str]:
    return str(row.get(name, "")), str(row.get("label") or ""), str(group)


def _clear(difference: Row | None) -> Row | None:
    """A difference that stays after the correction for many comparisons."""
    p = (difference or {}).get("p_adjusted")
    return difference if p is not None and p < CLEAR else None


def _test(test: Row) -> Row:
    p = test.get("p_adjusted")
    return {**test, "is_clear": p is not None and p < CLEAR, "label": test.get("label") or ""}
