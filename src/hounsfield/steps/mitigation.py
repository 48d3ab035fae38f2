"""Which groups of patients a plan wants treated alike: who is in which, what is pooled, what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.plan import Mitigation, Plan
from hounsfield.core.registry import nearest

__all__ = ["Groups", "group_names", "mitigation_findings", "require_possible", "training_groups"]

POOLED = "other groups"
_LEAST_OF_CLASS = 2
"""Patients of each class in a group: one fold may hold one of them."""


@dataclass(frozen=True)
class Groups:
    """The group (N,) of each case as a number, the groups' names, and in words what was pooled and why."""

    names: tuple[str, ...]
    code: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def group_names(
    groups: Mapping[str, Sequence[str]], columns: Sequence[str], *, cases: int
) -> tuple[str, ...]:
    """The group of each case in words; what nobody knows is a group of its own.

    >>> group_names({"sex": ("F", ""), "site": ("A", "B")}, ("sex", "site"), cases=2)
    ('sex=F, site=A', 'sex not known, site=B')
    """
    held = [groups.get(column, ("",) * cases) for column in columns]
    return tuple(
        ", ".join(f"{c}={v}" if v else f"{c} not known" for c, v in zip(columns, row, strict=True))
        for row in zip(*held, strict=True)
    )


def training_groups(cases: Sequence[Case], encoding: LabelEncoding, mitigation: Mitigation) -> Groups:
    """The groups of the development cases that training balances.

    A group of fewer than `least_patients` patients, or with fewer than two patients of one of the classes, is
    pooled with the others of its kind; if these are still too few, with the smallest group that is not.
    Raises BadInput for an unknown column, and where fewer than two groups are left.
    """
    columns = mitigation.columns
    known = sorted({g for c in cases for g in c.groups})
    for column in columns:
        if column not in known:
            raise BadInput(
                f'mitigation.by names "{column}", which is no group column; {nearest(column, known)}'
            )
    table = {c: tuple(case.groups.get(c, "") for case in cases) for c in columns}
    named = np.array(group_names(table, columns, cases=len(cases)))
    labels, code = np.unique(named, return_inverse=True)
    count = _Counted(cases, encoding, mitigation)
    short = {k: why for k in range(len(labels)) if (why := count.shortage(code == k))}
    pooled = np.isin(code, list(short))
    notes = [f"{labels[k]} {why}" for k, why in short.items()]
    whole = [k for k in range(len(labels)) if k not in short]
    if short and whole and count.shortage(pooled):
        smallest = min(whole, key=lambda k: (int((code == k).sum()), k))
        pooled |= code == smallest
        whole.remove(smallest)
        notes.append(f"they were joined with {labels[smallest]}, the smallest other group")
    if len(whole) + bool(pooled.any()) < 2 or (pooled.any() and count.shortage(pooled)):
        raise BadInput(_refusal(mitigation, encoding, notes, groups=len(labels)))
    made = np.full(len(cases), len(whole), np.int64)
    for new, old in enumerate(whole):
        made[code == old] = new
    names = (*(str(labels[k]) for k in whole), *((POOLED,) if pooled.any() else ()))
    return Groups(names, made, (f"pooled: {'; '.join(notes[:12])}",) if notes else ())


@dataclass(frozen=True)
class _Counted:
    """Says what a part of the cases has too few of."""

    cases: Sequence[Case]
    encoding: LabelEncoding
    mitigation: Mitigation

    def shortage(self, member: NDArray[np.bool_]) -> str:
        inside = [self.cases[k] for k in np.flatnonzero(member).tolist()]
        patients = len({c.patient for c in inside})
        if patients < self.mitigation.least_patients:
            return f"has {patients} patient(s), fewer than {self.mitigation.least_patients}"
        if self.encoding.kind == "multilabel":
            return ""
        held: dict[int, set[str]] = {k: set() for k in range(len(self.encoding.classes))}
        for c in inside:
            for k in c.answer.positive if c.answer else ():
                held[k].add(c.patient)
        scarce = [self.encoding.classes[k] for k, who in held.items() if len(who) < _LEAST_OF_CLASS]
        return f"has fewer than {_LEAST_OF_CLASS} patients of class {', '.join(scarce)}" if scarce else ""


def _refusal(mitigation: Mitigation, encoding: LabelEncoding, notes: Sequence[str], *, groups: int) -> str:
    if groups == 1:
        return (
            f"mitigation.by={mitigation.by} puts every development case into one group; expected two or "
            "more; name another column, or give a label table that tells them apart"
        )
    what = "" if encoding.kind == "multilabel" else f" and {_LEAST_OF_CLASS} of every class"
    why = f" ({'; '.join(notes[:4])})" if notes else ""
    return (
        f"mitigation.by={mitigation.by} makes {groups} group(s), of which fewer than two have "
        f"{mitigation.least_patients} patients{what}{why}: where group and class go together, no weighing "
        "of these cases can tell them apart; name another column, or add cases"
    )


def require_possible(plan: Plan, encoding: LabelEncoding) -> None:
    """Raise BadInput where the plan's mitigation is not defined for these labels, or for what else it does.

    >>> plan = Plan().changed({"mitigation.by": "site", "mitigation.method": "matched_resampling"})
    >>> require_possible(plan, LabelEncoding("binary", ("0", "1")))
    """
    wanted = plan.mitigation
    if wanted.method == "matched_resampling" and encoding.kind == "multilabel":
        raise BadInput(
            "mitigation.method=matched_resampling is not defined for several labels a case: a case drawn for "
            "one label upsets the others; choose reweighting or group_dro"
        )
    if wanted.method == "group_dro" and plan.augment.mixup:
        raise BadInput(
            "mitigation.method=group_dro needs a group for every image, and augment.mixup blends images of "
            "two; set augment.mixup=0"
        )
    if wanted.thresholds_per_group and encoding.kind == "multiclass":
        raise BadInput(
            "mitigation.thresholds_per_group was asked for, but of several classes the most probable is "
            "called and there is no threshold; leave it off, or set one against the rest with --positive"
        )
    if wanted.thresholds_per_group and plan.validation.threshold_rule == "half":
        raise BadInput(
            "mitigation.thresholds_per_group was asked for with validation.threshold_rule=half, which is one "
            "half for every group; choose youden, accuracy or f1"
        )


def mitigation_findings(plan: Plan, cases: Sequence[Case], encoding: LabelEncoding) -> tuple[Finding, ...]:
    """What the plan's mitigation does with these development cases, in words; none where it is off."""
    require_possible(plan, encoding)
    wanted = plan.mitigation
    found = []
    if wanted.method != "none":
        groups = training_groups(cases, encoding, wanted)
        sizes = ", ".join(f"{name} {int((groups.code == k).sum())}" for k, name in enumerate(groups.names))
        said = ". ".join((f"{wanted.method} by {wanted.by}: {sizes} development cases", *groups.notes))
        patients = len({c.patient for c in cases})
        found.append(
            Finding(
                "mitigation",
                n=len(cases),
                n_patients=patients,
                method=wanted.method,
                level="warning" if groups.notes else "info",
                note=said,
            )
        )
    if wanted.thresholds_per_group:
        said = f"every group of {wanted.by} has a threshold of its own, by consent: {wanted.consent}"
        found.append(Finding("thresholds_per_group", n=len(cases), level="warning", note=said))
    return tuple(found)
