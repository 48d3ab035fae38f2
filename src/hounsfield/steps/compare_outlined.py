"""Two segmentations of the same cases: paired differences of each structure and of their mean.

A case's own difference is taken first, and patients are clusters (`metrics.paired_means`). Where a reader saw
nothing of a structure Dice says only whether the model did; such cases stand in a row of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hounsfield.core.errors import BadInput
from hounsfield.metrics.intervals import MIN_DENOMINATOR
from hounsfield.metrics.paired import rate_difference
from hounsfield.metrics.paired_means import mean_difference
from hounsfield.steps.compare import (
    MOST_VALUES,
    Comparison,
    Row,
    corrected,
    notes_of_sameness,
    require_same_patients,
    require_same_pixels,
    row_of,
)
from hounsfield.steps.kept_outlines import KeptOutlines, Place, kept_outlines

__all__ = ["compare_outlined"]

_MEASURES = ("dice", "nsd", "hd95", "assd")
_SAME = 1e-3
"""A share by which the volume of the same reference may differ, as it is rounded in predictions.csv."""


def compare_outlined(run: Path, before: Path) -> Comparison:
    """A run of segmentation set beside an earlier one on the same cases.

    Rows are as of `compare`, a structure as their label; without one they speak of the mean over structures.
    Raises BadInput where either was not evaluated, or they differ in structures, cases, outlines of the
    reader, images or patients; the error says by how much.
    """
    after, earlier = kept_outlines(run), kept_outlines(before)
    notes = _refused_or_noted(after, earlier)
    measures = list(_MEASURES)
    if after.context["tolerance"] != earlier.context["tolerance"]:
        measures.remove("nsd")
        notes.append("surface Dice was measured with other tolerances, and is not compared")
    rows = [row for group, some in _groups(after) for row in _measured(group, some, after, earlier, measures)]
    facts = {
        name: {"plan": kept.context["plan"], "data": kept.context["data"], "scored": kept.context["scored"]}
        for name, kept in (("after", after), ("before", earlier))
    }
    everyone = {after.patients[case] for case in after.cases}
    return Comparison(
        after.name, earlier.name, len(after.cases), len(everyone), tuple(corrected(rows)), tuple(notes), facts
    )


def _refused_or_noted(after: KeptOutlines, before: KeptOutlines) -> list[str]:
    """What could not be checked of their sameness; BadInput where they are not the same."""
    if set(after.structures) != set(before.structures):
        both = len(set(after.structures) & set(before.structures))
        raise BadInput(
            f"the runs outline different structures: {len(after.structures)} and {len(before.structures)}, "
            f"of which {both} bear the same name; expected the same structures"
        )
    if after.unit != before.unit:
        raise BadInput(
            f"distances are in {after.unit} in {after.name} and in {before.unit} in {before.name}; evaluate "
            "both again on one set of images"
        )
    one, other = after.numbers.keys(), before.numbers.keys()
    if one != other:
        raise BadInput(
            f"the runs were not measured on the same cases: {len(one & other)} structures of cases are in "
            f"both, {len(one - other)} only in {after.name}, {len(other - one)} only in {before.name}; use "
            "the same source, seed and split"
        )
    changed = sum(_differ(after.numbers[p]["reference_ml"], before.numbers[p]["reference_ml"]) for p in one)
    if changed:
        raise BadInput(
            f"{changed} of {len(one)} outlines of the reader have another volume in {before.name}; expected "
            "the same masks in both runs; evaluate both again on one set of masks"
        )
    checked = require_same_pixels(after.pixels, before.pixels, after.cases, before.name)
    now, then = ([kept.patients[c] for c in after.cases] for kept in (after, before))
    require_same_patients(now, then, before.name)
    scored, data = ((after.context[k], before.context[k]) for k in ("scored", "data"))
    return notes_of_sameness(checked, len(after.cases) if after.pixels else 0, scored, data)


def _differ(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > _SAME * max(one, other) or (one > 0) != (other > 0)


def _groups(kept: KeptOutlines) -> Iterator[tuple[str, list[str]]]:
    """The cases of everyone, and of every value of every group column that has a few."""
    yield "", list(kept.cases)
    for column, held in kept.groups.items():
        known = sorted({v for v in held.values() if v})
        if 2 <= len(known) <= MOST_VALUES:
            for value in known:
                yield f"{column}={value}", [case for case in kept.cases if held[case] == value]


def _measured(
    group: str, cases: Sequence[str], after: KeptOutlines, before: KeptOutlines, measures: Sequence[str]
) -> Iterator[Row]:
    """The mean over structures, then each structure; of a single structure only that, without a label."""
    several = len(after.structures) > 1
    for measure in measures:
        held = {s: _both(measure, s, cases, after, before) for s in after.structures}
        if several:
            enough = [s for s in after.structures if len(held[s]) >= MIN_DENOMINATOR] or list(
                after.structures
            )
            places = [(c, s) for s in enough for c in held[s]]
            yield _mean_row(group, measure, "", places, after, before)
        for s in after.structures:
            places = [(c, s) for c in held[s]]
            yield _mean_row(group, measure, s if several else "", places, after, before)
    for s in after.structures:
        yield from _left_alone(group, s if several else "", s, cases, after, before)


def _both(
    measure: str, structure: str, cases: Sequence[str], after: KeptOutlines, before: KeptOutlines
) -> list[str]:  # fmt: skip
    """The cases in which a reader saw the structure and both runs have the number."""
    found = []
    for case in cases:
        one, other = (kept.numbers.get((case, structure)) for kept in (after, before))
        if one and other and one["reference_ml"] and None not in (one[measure], other[measure]):
            found.append(case)
    return found


def _mean_row(
    group: str, measure: str, label: str, places: Sequence[Place], after: KeptOutlines, before: KeptOutlines
) -> Row:
    one, other = (
        np.array([kept.numbers[p][measure] for p in places], np.float64) for kept in (after, before)
    )
    strata = [s for _, s in places]
    found = mean_difference(
        one, other, name=measure, strata=strata, patients=[after.patients[c] for c, _ in places]
    )
    row = row_of(group, measure, label, found, _mean(one, strata), _mean(other, strata))
    row["difference"]["n"] = len({c for c, _ in places})
    return row


def _mean(values: np.ndarray, strata: Sequence[str]) -> float | None:
    """The mean over structures of their means."""
    held = np.array(strata, str)
    names = sorted(set(strata))
    return float(np.mean([values[held == name].mean() for name in names])) if names else None


def _left_alone(
    group: str, label: str, structure: str, cases: Sequence[str], after: KeptOutlines, before: KeptOutlines
) -> Iterator[Row]:
    """The share of cases without the structure in which nothing of it was outlined, where there are such."""
    places = [
        (c, structure) for c in cases
        if (held := after.numbers.get((c, structure))) and not held["reference_ml"]
    ]  # fmt: skip
    if not places:
        return
    calls = [
        np.array([not kept.numbers[p]["predicted_ml"] for p in places], np.int64) for kept in (after, before)
    ]
    every, owners = np.ones(len(places), np.int64), [after.patients[c] for c, _ in places]
    found = rate_difference(calls[0], calls[1], every, rate="accuracy", patients=owners)
    yield row_of(group, "absent_left_alone", label, found, float(calls[0].mean()), float(calls[1].mean()))
