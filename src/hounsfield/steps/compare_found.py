"""Two detections of the same cases: paired differences of CPM and of sensitivity at each rate of false
positives, of all classes together and of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.metrics.detection_matching import Marks
from hounsfield.metrics.paired_froc import froc_differences
from hounsfield.steps.compare import (
    Comparison,
    Row,
    corrected,
    notes_of_sameness,
    require_same_patients,
    require_same_pixels,
    row_of,
)
from hounsfield.steps.detection.matched import marks_of_class, matched
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.kept_objects import KeptObjects, kept_objects

__all__ = ["compare_found"]

_SAME = 2e-4
"""A share by which a place or a size of the same lesion may differ, as it is rounded in predictions.csv."""


def compare_found(run: Path, before: Path) -> Comparison:
    """A run of detection set beside an earlier one on the same cases.

    Rows are as of `compare`; a label is a class, the rate of false positives, or both. Raises BadInput where
    either was not evaluated, or they differ in classes, cases, lesions, rule of a hit, images or patients.
    """
    after, earlier = kept_objects(run), kept_objects(before)
    notes = _refused_or_noted(after, earlier)
    rows = list(_rows(after.table, earlier.table))
    facts = {
        name: {"plan": kept.plan, "data": kept.data, "scored": kept.table.kind}
        for name, kept in (("after", after), ("before", earlier))
    }
    everyone = set(after.table.patients)
    return Comparison(
        after.name, earlier.name, len(after.table), len(everyone), tuple(corrected(rows)), tuple(notes), facts
    )


def _refused_or_noted(after: KeptObjects, before: KeptObjects) -> list[str]:
    one, other = after.table, before.table
    if one.classes != other.classes:
        raise BadInput(
            f"the runs look for different things: {len(one.classes)} and {len(other.classes)} classes, of "
            f"which {len(set(one.classes) & set(other.classes))} bear the same name; expected the same"
        )
    rules = [(t.match, t.match_iou if t.match == "overlap" else 0.0, t.unit) for t in (one, other)]
    if rules[0] != rules[1]:
        raise BadInput(
            f"a hit is a {one.match} in {one.unit} in {after.name} and a {other.match} in {other.unit} in "
            f"{before.name}; expected one rule; evaluate both again with one"
        )
    if one.ids != other.ids:
        both = len(set(one.ids) & set(other.ids))
        raise BadInput(
            f"the runs were not measured on the same cases: {both} are in both, {len(one) - both} only in "
            f"{after.name}, {len(other) - both} only in {before.name}; use the same source, seed and split"
        )
    if not _same_lesions(one, other):
        raise BadInput(
            f"{len(one.lesions)} lesions stand in {after.name} and {len(other.lesions)} in {before.name}, at "
            "other places or of other sizes; expected the same marks in both; evaluate both again on one set"
        )
    checked = require_same_pixels(after.pixels, before.pixels, one.ids, before.name)
    require_same_patients(one.patients, other.patients, before.name)
    known = len(one) if after.pixels else 0
    return notes_of_sameness(checked, known, (one.kind, other.kind), (after.data, before.data))


def _same_lesions(one: Detected, other: Detected) -> bool:
    if len(one.lesions) != len(other.lesions):
        return False
    same = np.array_equal(one.lesions.image, other.lesions.image)
    same = same and np.array_equal(one.lesion_class, other.lesion_class)
    same = same and np.array_equal(one.lesions.excluded, other.lesions.excluded)
    return same and np.allclose(one.lesion_mm, other.lesion_mm, rtol=_SAME, atol=1e-6)


def _rows(after: Detected, before: Detected) -> Iterator[Row]:
    found, earlier = matched(after), matched(before)
    yield from _told("", found.marks, earlier.marks, after)
    if len(after.classes) > 1:
        for number, name in enumerate(after.classes):
            one, other = (marks_of_class(t, m, number) for t, m in ((after, found), (before, earlier)))
            yield from _told(name, one, other, after)


def _told(label: str, one: Marks, other: Marks, table: Detected) -> Iterator[Row]:
    patients = np.array(table.patients, str)
    for gap, after, before in froc_differences(one, other, images=len(table), patients=patients):
        metric = gap.difference.name.removesuffix("_difference")
        named = ", ".join(filter(None, (label, gap.difference.group)))
        yield row_of("", metric, named, gap, after, before)
