"""By which rules outlines are compared, in words: empty masks, tolerance, surfaces, what is left out."""

from __future__ import annotations

from collections.abc import Sequence

from hounsfield.metrics.segmentation import SegmentedCase
from hounsfield.steps.segmentation.table import Segmented

__all__ = ["measuring_rules", "notes_of"]


def measuring_rules(table: Segmented) -> list[dict[str, str]]:
    """A row a rule: what it is about, and how it was decided here."""
    rules = [
        (
            "empty masks",
            "where reader and model both mark nothing there is no Dice and the case counts as an absent "
            "structure left alone; where one of them marks nothing Dice and surface Dice are 0 and there is "
            "no distance",
        ),
        ("tolerance", f"surface Dice within {table.tolerance:g} {table.unit}"),
    ]
    surfaces = [c.surface for s in table.structures for c in table.cases[s] if c is not None and c.surface]
    if surfaces:
        rules.append(("surfaces", surfaces[0].definition.replace(" mm", f" {table.unit}")))
    volume = (
        "of a plane image the area, as a slice of 1 mm"
        if table.unit == "mm"
        else "in pixels: no spacing is known"
    )
    rules.append(("volumes", f"predicted less the reader's; {volume}"))
    rules += _partial(table)
    rules.append(("mean over structures", "of the structures' means, each structure counts alike"))
    rules.append(("intervals", "95 %, by patient: cases of one patient are not independent"))
    single = len(table.structures) == 1
    return [{"rule": a, "here": b} for a, b in rules if not (single and a == "mean over structures")]


def notes_of(cases: Sequence[SegmentedCase]) -> dict[str, str]:
    """By metric, which cases were left out of its number, and why."""
    both = sum(c.overlap.dice is None for c in cases)
    apart = sum(c.surface is not None and c.surface.hd95_mm is None for c in cases)
    unknown = sum(c.overlap.relative_volume_error is None for c in cases)
    empty = f"{both} cases with both masks empty are left out" if both else ""
    lost = f"{apart} cases with an empty mask have no distance and are left out" if apart else ""
    held = f"{unknown} cases with an empty reference are left out" if unknown else ""
    notes = {
        **dict.fromkeys(("dice", "iou", "nsd"), empty),
        **dict.fromkeys(("hd95", "hd95_median", "assd"), lost),
        "relative_volume_error": held,
    }
    return {name: text for name, text in notes.items() if text}


def _partial(table: Segmented) -> list[tuple[str, str]]:
    """In how many cases nobody outlined a structure."""
    missing = {s: sum(c is None for c in table.cases[s]) for s in table.structures}
    told = [f"{s} in {n} cases" for s, n in missing.items() if n]
    return [("not outlined by anybody, and left out", ", ".join(told))] if told else []
