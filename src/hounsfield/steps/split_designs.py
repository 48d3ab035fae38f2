"""Splits that ask more of a model than patients dealt at random: another site, a later time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.redact import listed, looks_like_ids
from hounsfield.core.registry import nearest
from hounsfield.steps.split import class_counts, linked_units

__all__ = ["MOST_VALUES", "folds_of_column", "latest"]

MOST_VALUES = 20
NOT_KNOWN = "not known"

Links = Sequence[tuple[str, str]]


def folds_of_column(
    cases: Sequence[Case], encoding: LabelEncoding, column: str, *, links: Links = ()
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The fold of each case by its value in a group column, and notes in words.

    Values are numbered in their order; what nobody knows is a value of its own. A value may lack a class,
    which is noted. Raises BadInput for an unknown column, fewer than two or more than 20 values, a patient
    (or images linked as duplicates, pairs of case ids) with several values, and a class that only one
    value has, of which nothing could be learned when that value is left out.

    >>> cases = [Case(str(k), f"p{k}", (), groups={"site": "AB"[k % 2]}) for k in range(4)]
    >>> folds_of_column(cases, LabelEncoding("multilabel", ("nodule",)), "site")[0]
    {'0': 0, '1': 1, '2': 0, '3': 1}
    """
    known = sorted({g for c in cases for g in c.groups})
    if column not in known:
        raise BadInput(
            f'validation.folds_by names "{column}", which is no group column; {nearest(column, known)}'
        )
    value = [c.groups.get(column, "") or NOT_KNOWN for c in cases]
    values = sorted(set(value))
    if not 2 <= len(values) <= MOST_VALUES:
        raise BadInput(
            f"validation.folds_by={column} makes {len(values)} fold(s), one for each value; expected 2 to "
            f"{MOST_VALUES}; name another column, or leave validation.folds_by out"
        )
    _require_one_value(cases, value, column, links)
    fold = {c.id: values.index(v) for c, v in zip(cases, value, strict=True)}
    counts = class_counts(cases, [[k for k, v in enumerate(value) if v == one] for one in values],
                          len(encoding.classes))[:, :-1]  # fmt: skip
    alone = [k for k in range(counts.shape[1]) if np.count_nonzero(counts[:, k]) == 1]
    ids = looks_like_ids(len(values), len(cases))
    if alone:
        only = int(np.flatnonzero(counts[:, alone[0]])[0])
        raise BadInput(
            f'class "{encoding.classes[alone[0]]}" stands only where {column} is '
            f"{listed([values[only]], ids=ids)}: nothing could be learned of it when that is left out; leave "
            "the class out with --classes, or leave validation.folds_by out"
        )
    notes = [f"every value of {column} is left out once: {listed(values, ids=ids)}"]
    notes += [
        f"{column} {listed([v], ids=ids)} has no case of {', '.join(lacking)}"
        for v, row in zip(values, counts, strict=True)
        if (lacking := [encoding.classes[k] for k in np.flatnonzero(row == 0)])
    ]
    return fold, tuple(notes)


def _require_one_value(cases: Sequence[Case], value: Sequence[str], column: str, links: Links) -> None:
    split = [unit for unit in linked_units(cases) if len({value[k] for k in unit}) > 1]
    if split:
        raise BadInput(
            f"{len(split)} patient(s) have images with several values of {column}, so that leaving one value "
            "out does not leave the patient out; leave such images out of the table, or choose another column"
        )
    joined = [unit for unit in linked_units(cases, links) if len({value[k] for k in unit}) > 1]
    if joined:
        raise BadInput(
            f"{len(joined)} group(s) of images that are duplicates of each other have several values of "
            f"{column}, so that leaving one value out does not leave its images out; remove the duplicates"
        )


def latest(cases: Sequence[Case], *, share: float, links: Links = ()) -> tuple[set[str], tuple[str, ...]]:
    """The ids of the cases of the latest patients, about `share` of them, and notes in words.

    A patient, with all whose images are duplicates of theirs, goes by the latest image. Patients of one
    date stay on one side; who has no date is developed on. Raises BadInput where no patient or fewer than
    half of them have a date, or where all have the same.

    >>> cases = [Case(str(k), f"p{k}", (), when=k) for k in range(5)]
    >>> latest(cases, share=0.4)[0] == {"3", "4"}
    True
    """
    units = linked_units(cases, links)
    times = [max((w for k in unit if (w := cases[k].when) is not None), default=None) for unit in units]
    dated = sorted(t for t in times if t is not None)
    if 2 * len(dated) <= len(units):
        raise BadInput(
            f"{len(dated)} of {len(units)} patients have a date; expected most of them; name a column of "
            "dates with --split-by-date, or leave it out"
        )
    if dated[0] == dated[-1]:
        raise BadInput(
            "every patient has the same date, so that none is the latest; name another column with "
            "--split-by-date, or leave it out"
        )
    wanted = max(1, round(share * len(units)))
    cut = dated[max(0, len(dated) - wanted)]
    if cut == dated[0]:  # the cut must leave somebody before it
        cut = next(t for t in dated if t > dated[0])
    late = [unit for unit, t in zip(units, times, strict=True) if t is not None and t >= cut]
    undated = [unit for unit, t in zip(units, times, strict=True) if t is None]
    who, unknown, everyone = (_patients(cases, of) for of in (late, undated, units))
    notes = [
        f"split by date: the {len(who)} latest patients are the test part, "
        f"{len(everyone) - len(who) - len(unknown)} came before them"
    ]
    if unknown:
        notes.append(f"{len(unknown)} patients have no date and are developed on, whenever they came")
    return {cases[k].id for unit in late for k in unit}, tuple(notes)


def _patients(cases: Sequence[Case], units: Sequence[Sequence[int]]) -> set[str]:
    return {cases[k].patient for unit in units for k in unit}
