"""When a case goes to a reader: the rule, fitted on validation cases, and what it says of new ones.

Three questions, each with its own promise. Which classes may hold: conformal sets by class, which miss the
right class in at most `validation.conformal_error` of patients to come. Is the model sure enough: the least
confidence at which at most `validation.error_limit` of the kept calls are wrong, shown with a certainty of
0.95. Is the image like those of the training: `typical`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Model, Referral
from hounsfield.core.plan import Validation
from hounsfield.core.predictions import Predictions, Referrals
from hounsfield.metrics.conformal import Conformal, fit_conformal

__all__ = [
    "NOT_LIKELY",
    "NOT_SURE",
    "SEVERAL",
    "UNLIKE",
    "class_sets",
    "confidence_of",
    "referral_rule",
    "referrals_of",
    "referred_besides",
    "set_in_words",
]

Scores = NDArray[np.float64]
Classes = NDArray[np.int64]

UNLIKE = "unlike the training images"
NOT_SURE = "not sure enough"
SEVERAL = "more than one class is possible"
NOT_LIKELY = "the called class is not likely enough"
UNJUDGED = "the image cannot be judged"

CERTAINTY = 0.95


def referral_rule(
    scores: Scores,
    called: Classes,
    answers: Classes,
    patients: Sequence[str],
    encoding: LabelEncoding,
    plan: Validation,
    *,
    thresholds: Sequence[float],
) -> Referral:
    """The rule, fitted on cross-fitted scores (N, outputs) and calls of validation cases.

    A class with too few patients for the promised error can never be ruled out, and an error limit that
    cannot be shown refers every case; `notes` say so.
    """
    quantiles, notes = _quantiles(scores, answers, patients, encoding, plan.conformal_error)
    least, note = _least_confidence(scores, called, answers, patients, encoding, plan, thresholds)
    return Referral(
        error=plan.conformal_error,
        quantiles=quantiles,
        error_limit=plan.error_limit,
        certainty=CERTAINTY,
        confidence=least,
        n=len(answers),
        n_patients=len(set(patients)),
        notes=(*notes, *([note] if note else [])),
    )


def _quantiles(
    scores: Scores, answers: Classes, patients: Sequence[str], encoding: LabelEncoding, error: float
) -> tuple[tuple[tuple[float, ...], ...], list[str]]:
    if not error:
        return (), []
    rows, notes = [], []
    for c, (table, truth) in enumerate(_questions(scores, answers, encoding)):
        fitted = fit_conformal(table, truth, error=error, by="class", patients=list(patients))
        row = tuple(fitted.quantiles[str(k)] for k in range(table.shape[1]))
        for k in np.flatnonzero(np.isinf(row)):
            who = {p for p, is_one in zip(patients, truth == k, strict=True) if is_one}
            name = (
                f"{encoding.classes[c]} {('absent', 'present')[k]}"
                if encoding.kind == "multilabel"
                else encoding.classes[k]
            )
            notes.append(
                f'"{name}" can never be ruled out: {len(who)} validation patients have it, and an error of '
                f"{error:g} needs {math.ceil(1 / error) - 1} or more"
            )
        rows.append(row)
    return tuple(rows), notes


def _questions(
    scores: Scores, answers: Classes | None, encoding: LabelEncoding
) -> list[tuple[Scores, Classes]]:
    """Probabilities (N, classes) and the right class of each question: one, or one an output."""
    none = np.zeros(len(scores), np.int64)
    if encoding.kind == "multiclass":
        return [(scores, none if answers is None else answers)]
    table = None if answers is None else answers.reshape(len(answers), -1)
    return [
        (np.stack([1 - scores[:, c], scores[:, c]], 1), none if table is None else table[:, c])
        for c in range(scores.shape[1])
    ]


def _least_confidence(
    scores: Scores,
    called: Classes,
    answers: Classes,
    patients: Sequence[str],
    encoding: LabelEncoding,
    plan: Validation,
    thresholds: Sequence[float],
) -> tuple[float | None, str]:
    """The least confidence that keeps the plan's limit, and why there is none."""
    if not plan.error_limit:
        return None, ""
    from hounsfield.metrics.abstention import choose_abstention

    right = (called == answers).reshape(len(answers), -1).all(1)
    chosen = choose_abstention(
        confidence_of(scores, encoding, thresholds), right,
        limit=plan.error_limit, certainty=CERTAINTY, patients=list(patients),
    )  # fmt: skip
    why = f"every case goes to a reader: {chosen.reason}" if chosen.confidence is None else ""
    return chosen.confidence, why


def confidence_of(scores: Scores, encoding: LabelEncoding, thresholds: Sequence[float]) -> Scores:
    """How sure each call (N,) is: a class's probability, or how far a score is from its threshold.

    With thresholds it runs from 0.5 at the threshold to 1 at a score of 0 or 1; of several findings the
    least sure counts.

    >>> encoding = LabelEncoding("binary", ("0", "1"))
    >>> confidence_of(np.array([[0.2], [0.6], [1.0]]), encoding, (0.2,)).round(3).tolist()
    [0.5, 0.75, 1.0]
    """
    if encoding.kind == "multiclass":
        return np.asarray(scores.max(1), np.float64)
    cut = np.clip(np.asarray(thresholds, np.float64), 1e-9, 1 - 1e-9)[None, : scores.shape[1]]
    far = np.where(scores >= cut, (scores - cut) / (1 - cut), (cut - scores) / cut)
    return np.asarray(0.5 + 0.5 * np.clip(far, 0, 1).min(1), np.float64)


def class_sets(scores: Scores, encoding: LabelEncoding, rule: Referral) -> NDArray[np.bool_]:
    """Which classes may hold for each case: (N, C), of a multi-label task (N, 2 C), see `Referrals`.

    >>> encoding = LabelEncoding("binary", ("0", "1"))
    >>> rule = Referral(error=0.1, quantiles=((0.6, 0.6),))
    >>> class_sets(np.array([[0.1], [0.5]]), encoding, rule).tolist()
    [[True, False], [True, True]]
    """
    if not rule.quantiles:
        return np.zeros((len(scores), 0), np.bool_)
    found = [
        Conformal(
            rule.error, "lac", "class", {str(k): q for k, q in enumerate(row)}, rule.n, rule.n_patients
        ).sets(table)
        for row, (table, _) in zip(rule.quantiles, _questions(scores, None, encoding), strict=True)
    ]
    return np.concatenate(found, axis=1)


def referrals_of(
    model: Model,
    scores: Scores,
    called: Classes,
    *,
    typicality: NDArray[np.float64],
    unlike: Sequence[str],
    rule: Referral | None = None,
) -> Referrals | None:
    """Which cases go to a reader; None from a model that keeps no rule. `rule` takes the place of its own.

    `typicality` (N,) and `unlike`, in words what is odd, are what `typical.how_typical` says of their images.
    """
    rule = rule or model.referral
    if rule is None:
        return None
    encoding, kept = model.encoding, model.typicality
    sets = class_sets(scores, encoding, rule)
    sure = confidence_of(scores, encoding, model.operating_point.values)
    several, missed = _doubts(sets, called, encoding)
    doubtful = np.zeros(len(scores), np.bool_)
    if rule.error_limit:
        doubtful = sure < (math.inf if rule.confidence is None else rule.confidence)
    foreign = np.array([bool(what) for what in unlike], np.bool_)
    told = ((UNLIKE, foreign), (NOT_SURE, doubtful), (SEVERAL, several), (NOT_LIKELY, missed))
    reasons = tuple(tuple(why for why, where in told if where[row]) for row in range(len(scores)))
    notes = (*rule.notes, *([kept.note] if kept and kept.note else []))
    return Referrals(reasons, sets, typicality, tuple(unlike), sure, notes)


def _doubts(
    sets: NDArray[np.bool_], called: Classes, encoding: LabelEncoding
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where more than one class is possible, and where the one called is not, each (N,)."""
    n = len(called)
    if not sets.shape[1]:
        return np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    width = 2 if encoding.kind != "multiclass" else sets.shape[1]
    table = sets.reshape(n, -1, width)
    said = called.reshape(n, -1)[:, :, None]
    holds = np.take_along_axis(table, said, axis=2)[:, :, 0]
    return np.asarray((table.sum(2) > 1).any(1)), np.asarray(~holds.all(1))


def set_in_words(row: NDArray[np.bool_], encoding: LabelEncoding) -> str:
    """One set: the classes that may hold, joined by "|"; of a multi-label task "?" follows an unsure one.

    >>> set_in_words(np.array([True, True]), LabelEncoding("binary", ("no", "yes")))
    'no|yes'
    """
    if not len(row):
        return ""
    if encoding.kind != "multilabel":
        return "|".join(c for c, on in zip(encoding.classes, row, strict=True) if on)
    pairs = row.reshape(-1, 2)
    marks = {(False, True): "", (True, True): "?", (False, False): "?"}
    return "|".join(
        f"{c}{marks[absent, present]}"
        for c, (absent, present) in zip(encoding.classes, pairs.tolist(), strict=True)
        if (absent, present) in marks
    )


def referred_besides(predictions: Predictions, judged: Collection[str]) -> Predictions:
    """The same, with every case that is not among the `judged` sent to a reader too.

    >>> from hounsfield.core.case import LabelEncoding
    >>> made = Predictions(LabelEncoding("binary", ("0", "1")), ("a", "b"), ("p", "q"), np.zeros((2, 1)))
    >>> referred_besides(made, {"a"}).referrals.reasons
    ((), ('the image cannot be judged',))
    """
    lost = [i not in judged for i in predictions.ids]
    told, n = predictions.referrals, len(predictions)
    if told is None:
        if not any(lost):
            return predictions
        nothing = np.full(n, np.nan)
        told = Referrals(((),) * n, np.zeros((n, 0), np.bool_), nothing, ("",) * n, nothing)
    reasons = tuple(
        (*own, UNJUDGED) if is_lost else own for own, is_lost in zip(told.reasons, lost, strict=True)
    )
    return replace(predictions, referrals=replace(told, reasons=reasons))
