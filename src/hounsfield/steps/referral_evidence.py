"""What referral is worth on cases that nothing was fitted on: how many go to a reader, how right the rest
are, whether the sets keep their promise in every class and group, and where images are unlike the training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions, Referrals
from hounsfield.metrics.abstention import accuracy_coverage_curve
from hounsfield.metrics.conformal import set_report
from hounsfield.metrics.measured import proportion
from hounsfield.metrics.patients import Patients
from hounsfield.steps.clinical import as_finding
from hounsfield.steps.refer import UNLIKE

__all__ = ["ReferralEvidence", "referral_findings"]

Bools = NDArray[np.bool_]
Classes = NDArray[np.int64]

_MOST_VALUES = 12


@dataclass(frozen=True)
class ReferralEvidence:
    """Findings for `Evidence.metrics`, and what goes into its `tables`, `curves` and `untested`."""

    findings: tuple[Finding, ...] = ()
    tables: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    untested: tuple[str, ...] = ()


def referral_findings(model: Model, predictions: Predictions, called: Classes) -> ReferralEvidence:
    """Referral measured on predictions with answers, of cases that the model has not learned from.

    `predictions.referrals` are taken as they are: in cross-validation those of rules that a case had no say
    in. Without them it says only that this model cannot tell.
    """
    told = predictions.referrals
    if told is None or model.referral is None or predictions.answers is None or not len(predictions):
        why = "When to refer a case to a reader: the model keeps no rule for it, or no answer is known."
        return ReferralEvidence(untested=(why,))
    owners = Patients.of(list(predictions.patients), cases=len(predictions))
    right = (called == predictions.answers).reshape(len(predictions), -1).all(1)
    findings = [*_shares(told, right, owners), *_unlike(model, predictions, told, owners)]
    rows = list(_sets(predictions, told))
    findings += [_promise(finding, model.referral.error) for finding in rows if not finding.group]
    untested = [f"Referral: {note}." for note in told.notes]
    curve = accuracy_coverage_curve(told.confidence, right, patients=owners)
    accuracy = [e.cell for e in curve.accuracy]
    measured = [cell["value"] is not None for cell in accuracy]
    drawn = {
        "coverage": [float(c) for c, is_one in zip(curve.coverage, measured, strict=True) if is_one],
        "accuracy": [cell for cell, is_one in zip(accuracy, measured, strict=True) if is_one],
    }
    return ReferralEvidence(
        findings=tuple(findings),
        tables={"referral_reasons": _reasons(told), **({"coverage": _table(rows)} if rows else {})},
        curves={"risk_coverage": {"model": drawn}} if any(measured) else {},
        untested=tuple(untested),
    )


def _shares(told: Referrals, right: Bools, owners: Patients) -> list[Finding]:
    """How many are referred, and how right the model is on the others and on these."""
    refer, everyone = told.refer, np.ones(len(right), np.bool_)
    why = "; ".join(f"{reason}: {count}" for reason, count in told.counts.items())
    referred = proportion(refer, everyone, owners).estimate("referred_share")
    kept = proportion(right, ~refer, owners).estimate("accuracy_when_not_referred")
    others = proportion(right, refer, owners).estimate("accuracy_when_referred")
    return [
        as_finding(referred, note=why or "no case"),
        as_finding(kept, note="among the cases that the model keeps"),
        as_finding(others, note="what the model would have been on the cases that it refers"),
    ]


def _unlike(model: Model, predictions: Predictions, told: Referrals, owners: Patients) -> Iterator[Finding]:
    """The share of images unlike those of the training, for everyone and by site and scanner."""
    kept = model.typicality
    if kept is None or not kept.file:
        return
    unlike = np.array([UNLIKE in own for own in told.reasons])
    parts = [("", np.ones(len(unlike), np.bool_))]
    parts += [p for p in _groups(predictions) if p[0].startswith(("site=", "scanner=", "modality="))]
    for group, members in parts:
        share = proportion(unlike, members, owners).estimate("unlike_training_share", group=group)
        odd = Counter(what for what, is_in in zip(told.unlike, members, strict=True) if what and is_in)
        loud = share.low is not None and share.low > 2 * kept.limit
        note = f"expected {kept.limit:.3f} where images come as in the training"
        note += f"; odd are {', '.join(f'{what} ({n})' for what, n in odd.most_common(3))}" if odd else ""
        yield replace(as_finding(share, note=note), level="warning" if loud else "info")


def _sets(predictions: Predictions, told: Referrals) -> Iterator[Finding]:
    """Coverage and size of the conformal sets: overall, by right class and by group."""
    answers, encoding = predictions.answers, predictions.encoding
    if answers is None or not told.sets.shape[1]:
        return
    patients = list(predictions.patients)
    if encoding.kind == "multilabel":
        for c, name in enumerate(encoding.classes):
            table = np.ascontiguousarray(told.sets[:, 2 * c : 2 * c + 2])
            for row in set_report(table, answers[:, c], patients=patients):
                yield as_finding(row, label=name)
        return
    names = [encoding.classes[k] for k in answers.tolist()]
    for row in set_report(told.sets, answers, patients=patients, groups=names):
        yield replace(as_finding(row), label=row.group, group="")
    for group, members in _groups(predictions):
        rows = np.flatnonzero(members)
        some = [patients[r] for r in rows.tolist()]
        for row in set_report(told.sets[rows], answers[rows], patients=some):
            yield as_finding(row, group=group)


def _groups(predictions: Predictions) -> list[tuple[str, Bools]]:
    """Every value of every group column that has at least two, as "column=value" and its cases (N,)."""
    found = []
    for column, values in predictions.groups.items():
        held = np.array(values)
        known = [str(value) for value in np.unique(held) if value != ""]
        if 2 <= len(known) <= _MOST_VALUES:
            found += [(f"{column}={value}", held == value) for value in known]
    return found


def _promise(finding: Finding, error: float) -> Finding:
    """A finding on the sets by its full name. Surely half as many misses again as were promised, of everyone
    or in a class, are a warning; of groups there are many, so that chance alone would warn.
    """
    broken = (
        finding.name == "coverage"
        and not finding.group
        and finding.high is not None
        and finding.high < 1 - 1.5 * error
    )
    note = (
        f"promised {1 - error:g}: these cases differ from those the sets were fitted on"
        if broken
        else finding.note
    )
    name = f"conformal_{finding.name}"
    return replace(finding, name=name, note=note, level="warning" if broken else finding.level)


def _table(rows: list[Finding]) -> list[dict[str, Any]]:
    """One row for everyone, each class and each group."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for f in rows:
        row = found.setdefault(
            (f.group, f.label), {"cases": f.label or f.group or "all", "n": f.n, "patients": f.n_patients}
        )
        cell = {"value": f.value, "low": f.low, "high": f.high, "n": f.n}
        row[_HEADS[f.name]] = cell if f.value is not None else {**cell, "note": f.note}
    return list(found.values())


_HEADS = {
    "coverage": "sets with the right class",
    "set_size": "classes in a set",
    "single": "sets of one class",
    "empty": "sets of none",
}


def _reasons(told: Referrals) -> list[dict[str, Any]]:
    n = len(told.reasons)
    rows = [{"reason": reason, "cases": count, "share": count / n} for reason, count in told.counts.items()]
    return [*rows, {"reason": "any", "cases": int(told.refer.sum()), "share": float(told.refer.mean())}]
