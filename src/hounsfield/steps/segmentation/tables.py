"""Tables of outlined cases: numbers by structure, the worst cases, and limits for monitoring volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hounsfield.core.evidence import Finding
from hounsfield.metrics.segmentation import SegmentedCase
from hounsfield.steps.regions.limits import limits_of
from hounsfield.steps.segmentation.table import Segmented

__all__ = ["by_structure", "volume_limits", "worst_cases"]

Row = dict[str, Any]
SHOWN = 15
REPORTED = {
    "dice": "Dice", "nsd": "surface Dice", "hd95": "HD95, mean",
    "relative_volume_error": "relative error of volume",
}  # fmt: skip


def by_structure(metrics: Sequence[Finding], label: Mapping[str, str]) -> list[Row]:
    """A row a structure with its main numbers, where there are several."""
    if len(label) < 2:
        return []
    found = {(f.name, f.label): f for f in metrics}
    rows = []
    for structure in label:
        cells = {name: found.get((name, structure)) for name in REPORTED}
        row: Row = {"structure": structure}
        for name, f in cells.items():
            if f is not None:
                note = "" if f.value is not None else f.note
                row[REPORTED[name]] = {"value": f.value, "low": f.low, "high": f.high, "note": note}
        rows.append({**row, "n": max((f.n for f in cells.values() if f), default=0)})
    return rows


def worst_cases(table: Segmented) -> list[Row]:
    """The outlines with the lowest Dice; below them those marked where nothing is come first by volume."""
    held = [
        (c.overlap.dice, -max(c.overlap.volume_ml, c.overlap.reference_ml), r, s)
        for s in table.structures
        for r, c in enumerate(table.cases[s])
        if c is not None and c.overlap.dice is not None
    ]
    return [_row(table, r, s) for _, _, r, s in sorted(held)[:SHOWN]]


def _row(table: Segmented, r: int, structure: str) -> Row:
    case = table.cases[structure][r]
    assert case is not None  # only such are asked for
    row: Row = {"case": table.ids[r]}
    if len(table.structures) > 1:
        row["structure"] = structure
    row["Dice"] = case.overlap.dice
    row |= _distance(case, table.unit)
    scale, unit = (1.0, "ml") if table.unit == "mm" else (1000.0, "pixels")
    row[f"reader's volume ({unit})"] = scale * case.overlap.reference_ml
    row[f"predicted volume ({unit})"] = scale * case.overlap.volume_ml
    return row


def _distance(case: SegmentedCase, unit: str) -> Row:
    if case.surface is None:
        return {}
    return {f"HD95 ({unit})": case.surface.hd95_mm if case.surface.hd95_mm is not None else "a mask is empty"}


def volume_limits(table: Segmented) -> list[Row]:
    """Between which the mean predicted volume of the next cases would lie if they were like these."""
    scale, unit = (1.0, "ml") if table.unit == "mm" else (1000.0, "pixels")
    rows = []
    for s in table.structures:
        known = [(c, p) for c, p in zip(table.cases[s], table.patients, strict=True) if c is not None]
        volumes = [scale * c.overlap.volume_ml for c, _ in known]
        rows.append(limits_of(f"volume of {s} ({unit})", volumes, [p for _, p in known]))
    return [row for row in rows if row is not None]
