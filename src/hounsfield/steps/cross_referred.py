"""Referrals of validation cases by rules that they had no say in: fold by fold, the rule is fitted on the
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.model import Model
from hounsfield.core.predictions import Referrals
from hounsfield.steps.calibrate import Seen, cross_calibrated, cross_fitted, inner_folds, operating_point
from hounsfield.steps.refer import referral_rule, referrals_of

__all__ = ["cross_referred"]


def cross_referred(
    model: Model,
    logits: NDArray[np.float64],
    answers: NDArray[np.int64],
    patients: Sequence[str],
    fold: NDArray[np.int64],
    crossed: tuple[NDArray[np.float64], NDArray[np.int64]],
    *,
    seen: Seen,
    typicality: NDArray[np.float64],
    unlike: Sequence[str] | NDArray[np.str_],
) -> Referrals | None:
    """Which validation cases would go to a reader, by rules fitted on the other folds.

    `crossed` are the scores and calls of `calibrate.cross_fitted`; the scores that a rule is fitted on are
    themselves cross-fitted among the other folds. None where there is one patient only.
    """
    fold = inner_folds(patients) if len(np.unique(fold)) == 1 else fold
    if len(np.unique(fold)) < 2:
        return None
    scores, called = crossed
    told: list[Referrals] = []
    rows: list[NDArray[np.int64]] = []
    for k in np.unique(fold):
        inside = np.flatnonzero(fold == k)
        other = _other(model, logits, answers, patients, fold != k, fold, seen)
        found = referrals_of(
            other, scores[inside], called[inside],
            typicality=typicality[inside], unlike=[str(unlike[r]) for r in inside.tolist()],
        )  # fmt: skip
        assert found is not None
        told.append(found)
        rows.append(inside)
    back = np.argsort(np.concatenate(rows), kind="stable")
    return _joined(told).take(back.astype(np.int64))


def _other(
    model: Model,
    logits: NDArray[np.float64],
    answers: NDArray[np.int64],
    patients: Sequence[str],
    keep: NDArray[np.bool_],
    fold: NDArray[np.int64],
    seen: Seen,
) -> Model:
    """The model with the rule, and the threshold that confidence is measured from, of these cases alone."""
    encoding, plan = model.encoding, model.plan.validation
    who = [p for p, kept in zip(patients, keep, strict=True) if kept]
    taken = keep[seen[1]]
    own = seen[0][taken], (np.cumsum(keep) - 1)[seen[1][taken]]
    given = logits[keep], answers[keep], who, fold[keep], encoding, plan
    called = answers[keep]  # nobody asks what was called, unless an error is limited
    point = model.operating_point
    if plan.error_limit:
        scores, called = cross_fitted(*given, seen=own)
        point = operating_point(scores, answers[keep], who, encoding, plan, seed=0, chosen_on="other folds")
    else:
        scores = cross_calibrated(*given, seen=own)
    rule = referral_rule(scores, called, answers[keep], who, encoding, plan, thresholds=point.values)
    return replace(model, referral=rule, operating_point=point)


def _joined(told: Sequence[Referrals]) -> Referrals:
    return Referrals(
        tuple(why for t in told for why in t.reasons),
        np.concatenate([t.sets for t in told]),
        np.concatenate([t.typicality for t in told]),
        tuple(what for t in told for what in t.unlike),
        np.concatenate([t.confidence for t in told]),
        tuple(dict.fromkeys(note for t in told for note in t.notes)),
    )
