"""What the performance chapter prints of outlines (segmentation) and of found objects (detection)."""

from __future__ import annotations

from typing import Any

from hounsfield.steps import figures
from hounsfield.steps.chapters.records import complete, records

__all__ = ["MAIN", "REGIONS", "detected", "measures", "outlined", "region_properties"]

Row = dict[str, Any]
REGIONS = ("segmentation", "detection")
"""Tasks that ask where something is, not what the whole image shows."""
MAIN = {"segmentation": "dice", "detection": "froc_cpm"}
"""The number that stands for such a task."""
COUNTED = {"segmentation": "cases", "detection": "lesions"}
LENGTHS = ("hd95", "assd", "diameter_")
"""How metrics that are distances begin: they have the unit of the images, and no scale of shares."""
MOST_DRAWN = 6
"""Structures of which a drawing each is shown; of more their numbers."""


def measures(content: Row, findings: list[Row]) -> Row | None:
    """The metrics in blocks of one metric, a row a structure: numbers of one unit share a scale."""
    context = content["context"]
    several = {f["name"] for f in findings if f["label"]}
    everyone = {"segmentation": "mean over structures"}.get(context.get("task", ""), "all")
    length = str(context.get("unit") or "")
    rows = []
    for f in findings:
        unit = length if f["name"].startswith(LENGTHS) else ""
        about = (
            f"within {context['tolerance']}" if f["name"].startswith("nsd") and "tolerance" in context else ""
        )
        rows.append(
            {
                **f,
                "about": about or (f"in {unit}" if unit else ""),
                "label": f["label"] or (everyone if f["name"] in several else ""),
                "unit": unit,
            }
        )
    return figures.forest_blocks(rows, "name")


def outlined(content: Row) -> Row | None:
    """Drawings and tables of outlines; None where there are none."""
    if content["context"].get("task") != "segmentation":
        return None
    curves, tables = content["curves"], content["tables"]
    strips = complete(curves.get("dice_by_structure"), "dice")
    volumes = complete(curves.get("dice_by_volume"), "reference", "dice")
    agreed = complete(curves.get("volume_agreement"), "mean", "difference")
    chapter: Row = {
        "strips": figures.dice_strips(strips) if strips else None,
        "volumes": {
            name: figures.dice_by_volume(curve, name, k)
            for k, (name, curve) in enumerate(volumes.items())
            if k < MOST_DRAWN
        },
        "agreement": {
            name: (figures.agreement(curve, name, "volume", k), curve)
            for k, (name, curve) in enumerate(agreed.items())
            if k < MOST_DRAWN
        },
        "report": records(tables.get("segmentation_report")),
        "rules": records(tables.get("measuring_rules")),
    }
    return chapter if any(chapter.values()) else None


def detected(content: Row) -> Row | None:
    """Drawings and tables of found objects; None where there are none."""
    if content["context"].get("task") != "detection":
        return None
    curves, tables = content["curves"], content["tables"]
    froc = complete(curves.get("froc"), "fps", "sensitivity")
    agreed = complete(curves.get("diameter_agreement"), "mean", "difference")
    chapter: Row = {
        "froc": figures.froc(froc) if froc else None,
        "names": list(froc),
        "agreement": {
            name: (figures.agreement(curve, name, "diameter", k), curve)
            for k, (name, curve) in enumerate(agreed.items())
            if k < MOST_DRAWN
        },
        "points": records(tables.get("froc")),
        "report": records(tables.get("detection_report")),
        "rules": records(tables.get("measuring_rules")),
    }
    return chapter if any(chapter.values()) else None


def region_properties(content: Row, findings: list[Row]) -> list[Row]:
    """What of the task decides which metrics mean something, and which were taken for it.

    Maier-Hein et al., Nat Methods 2024;21:195.
    """
    if not findings:
        return []
    context, curves = content["context"], content["curves"]
    names = context.get("structures") or context.get("classes") or []
    task = str(context["task"])
    asked = f"{task} of {', '.join(map(str, names))}" if names else task
    what = {"segmentation": "overlap (Dice) beside borders (surface Dice, HD95)",
            "detection": "lesions found by false positives an image (FROC)"}[task]  # fmt: skip
    rows = [("task", asked, what), *_sizes(curves)]
    absent = next((f for f in findings if f["name"] == "absent_left_alone" and not f["label"]), None)
    if absent:
        held = f"{absent['n']} of the evaluated" if absent["n"] else "none of the evaluated"
        rows.append(("images without it", held, "counted on their own: no Dice where both mark nothing"))
    largest = max(findings, key=lambda f: f["n"])
    if largest["n_patients"]:
        told = f"{largest['n']} {COUNTED[task]} of {largest['n_patients']} patients"
        rows.append(
            ("counted by patient", told, "intervals by patient, since what is of one patient is alike")
        )
    return [{"property": a, "here": b, "so it is measured by": c} for a, b, c in rows]


def _sizes(curves: Row) -> list[tuple[str, str, str]]:
    """How large the smallest structure is, in the middle."""
    middles = {}
    for name, curve in complete(curves.get("dice_by_volume"), "reference").items():
        known = sorted(v for v in curve["reference"] if v > 0)
        if known:
            middles[name] = (known[len(known) // 2], curve.get("unit") or "")
    if not middles:
        return []
    name, (size, unit) = min(middles.items(), key=lambda pair: pair[1][0])
    return [
        (
            "size",
            f"the smallest, {name}: {size:.3g} {unit}",
            "Dice of small structures falls with a voxel: read distances beside",
        )
    ]
