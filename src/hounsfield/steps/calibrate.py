"""Calibrate the scores and choose the threshold, on validation cases only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration, OperatingPoint
from hounsfield.core.plan import Plan, Validation

if TYPE_CHECKING:
    from hounsfield.metrics.recalibrators import Recalibration

LEAST_PATIENTS = 20
"""With fewer patients of a class no kind of calibration can be told from another."""

Seen = tuple[NDArray[np.float64], NDArray[np.int64]]
ByGroup = tuple[Sequence[str], Plan]
Kind = Literal["auto", "temperature", "platt", "isotonic"]

__all__ = ["Seen", "calibrated", "cross_calibrated", "cross_fitted", "inner_folds", "operating_point"]


def calibrated(
    logits: NDArray[np.float64],
    answers: NDArray[np.int64],
    encoding: LabelEncoding,
    plan: Validation,
    *,
    patients: Sequence[str] | None = None,
) -> Calibration:
    """The plan's kind of calibration, fitted on validation logits (M, outputs).

    "auto" takes the kind that loses least on patients whom its fit has not seen (`patients` (M,); every row
    is one where they are not given), and "temperature" where there are too few to choose on. Of a multi-label
    task each output is calibrated by itself.
    """
    if plan.calibrate == "none":
        return Calibration()
    if encoding.kind == "multilabel":
        own = tuple(
            _fitted(logits[:, c, None], answers[:, c], plan.calibrate, patients)
            if 0 < answers[:, c].sum() < len(answers)
            else Calibration()
            for c in range(encoding.outputs)
        )
        fitted = any(c.method != "none" for c in own)
        return Calibration("by output", outputs=own) if fitted else Calibration()
    return _fitted(logits, answers, plan.calibrate, patients)


def _fitted(
    logits: NDArray[np.float64], answers: NDArray[np.int64], kind: Kind, patients: Sequence[str] | None
) -> Calibration:
    """One calibration of one output that stands alone, or of classes that exclude each other."""
    from hounsfield.metrics.recalibrators import choose_recalibration, fit_recalibration

    if kind == "auto" and _fewest_patients(answers, patients) >= LEAST_PATIENTS:
        chosen = choose_recalibration(logits, answers, patients=None if patients is None else list(patients))
        if not chosen.reason:
            return _written(chosen.chosen)
    if kind == "auto" or kind == "temperature":
        return _temperature(logits, answers)
    if len(np.unique(answers)) < 2:
        return Calibration()
    return _written(fit_recalibration(kind, logits, answers))


def _fewest_patients(answers: NDArray[np.int64], patients: Sequence[str] | None) -> int:
    """Patients of the class that has fewest: many views of a few are not many cases."""
    who = (
        np.arange(len(answers)) if patients is None else np.unique(np.array(patients), return_inverse=True)[1]
    )
    return min((len(np.unique(who[answers == c])) for c in np.unique(answers)), default=0)


def _written(found: Recalibration) -> Calibration:
    """A recalibration as the model keeps it: of one output its shift is the bias."""
    if found.kind == "none":
        return Calibration()
    alone = len(found.shifts) == 1
    return Calibration(
        method=found.kind,
        temperature=found.temperature,
        bias=found.shifts[0] if alone else 0.0,
        shifts=() if alone else found.shifts,
        curves=found.curves,
    )


def _temperature(logits: NDArray[np.float64], answers: NDArray[np.int64]) -> Calibration:
    """Temperature, and for one output a bias, that fit best.

    The targets of one output are drawn in by one case of each class, as Platt (1999) does, so that separable
    logits do not become certainties.
    """
    from scipy.optimize import minimize

    if logits.shape[1] == 1:
        positives, negatives = int((answers == 1).sum()), int((answers == 0).sum())
        z = logits[:, 0]
        y = np.where(answers == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

        def two(p: NDArray[np.float64]) -> float:
            s = z * np.exp(p[0]) + p[1]
            return float(np.mean(np.logaddexp(0, s) - y * s))

        slope, bias = minimize(two, np.zeros(2), method="Nelder-Mead").x
        return Calibration("temperature and bias", float(np.exp(-slope)), float(bias))

    def many(p: NDArray[np.float64]) -> float:
        s = logits * np.exp(p[0])
        s = s - s.max(1, keepdims=True)
        return float(np.mean(np.log(np.exp(s).sum(1)) - s[np.arange(len(s)), answers]))

    slope = minimize(many, np.zeros(1), method="Nelder-Mead", bounds=[(-4.0, 4.0)]).x[0]
    return Calibration("temperature", float(np.exp(-slope)))


def operating_point(
    scores: NDArray[np.float64],
    answers: NDArray[np.int64],
    patients: list[str],
    encoding: LabelEncoding,
    plan: Validation,
    *,
    seed: int,
    chosen_on: str,
) -> OperatingPoint:
    """The threshold of each output by the plan's rule; several classes need none (the highest wins)."""
    n = len(answers)
    if encoding.kind == "multiclass":
        return OperatingPoint((), "highest probability", chosen_on, n)
    table = answers.reshape(n, -1)
    values: list[float] = []
    bounds: tuple[float | None, float | None] = (None, None)
    for c in range(table.shape[1]):
        value, low, high = _threshold(scores[:, c], table[:, c], patients, plan, seed)
        values.append(value)
        bounds = (low, high) if c == 0 else bounds
    return OperatingPoint(tuple(values), _rule_of(plan), chosen_on, n, *bounds)


def cross_fitted(
    logits: NDArray[np.float64],
    answers: NDArray[np.int64],
    patients: list[str],
    fold: NDArray[np.int64],
    encoding: LabelEncoding,
    plan: Validation,
    *,
    seen: Seen,
    by_group: ByGroup | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores and calls of each case by a calibration and a threshold fitted on the other folds.

    `seen` are the logits (M, outputs) that a calibration is fitted on, and the row of the case of each.
    With one fold only there are no others: it is then dealt by patient into inner folds. `by_group` are the
    groups (N,) of the cases and the plan that gives each a threshold of its own, also from the other folds.
    """
    from hounsfield.steps.group_thresholds import called_by_group, with_group_points
    from hounsfield.tasks.classification import predicted_classes, probabilities

    scores = np.zeros((len(logits), encoding.outputs))
    called = np.zeros(answers.shape, np.int64)
    for inside, other in _parts(fold, patients):
        calibration = _from_rows(other, answers, patients, encoding, plan, seen)
        there = probabilities(logits[other], encoding, calibration)
        who = [p for p, o in zip(patients, other, strict=True) if o]
        point = operating_point(
            there, answers[other], who, encoding, plan, seed=0, chosen_on="the other folds"
        )
        scores[inside] = probabilities(logits[inside], encoding, calibration)
        called[inside] = predicted_classes(scores[inside], encoding, point.values)
        if by_group is not None:
            names, whole = np.array(by_group[0]), by_group[1]
            point = with_group_points(
                point, there, answers[other], who, names[other].tolist(), encoding, whole, seed=0
            )
            called[inside] = called_by_group(scores[inside], encoding, point, names[inside].tolist())
    return scores, called


def cross_calibrated(
    logits: NDArray[np.float64],
    answers: NDArray[np.int64],
    patients: Sequence[str],
    fold: NDArray[np.int64],
    encoding: LabelEncoding,
    plan: Validation,
    *,
    seen: Seen,
) -> NDArray[np.float64]:
    """The scores of `cross_fitted` alone: no threshold is chosen, which takes most of its time."""
    from hounsfield.tasks.classification import probabilities

    scores = np.zeros((len(logits), encoding.outputs))
    for inside, other in _parts(fold, patients):
        calibration = _from_rows(other, answers, patients, encoding, plan, seen)
        scores[inside] = probabilities(logits[inside], encoding, calibration)
    return scores


def _parts(
    fold: NDArray[np.int64], patients: Sequence[str]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Each fold, and all others; of one fold inner folds by patient, of one patient the patient twice."""
    fold = inner_folds(patients) if len(np.unique(fold)) == 1 else fold
    alone = len(np.unique(fold)) == 1
    for k in np.unique(fold):
        yield fold == k, np.ones(len(fold), np.bool_) if alone else fold != k


def _from_rows(
    rows: NDArray[np.bool_],
    answers: NDArray[np.int64],
    patients: Sequence[str],
    encoding: LabelEncoding,
    plan: Validation,
    seen: Seen,
) -> Calibration:
    """The calibration fitted on what is seen of these cases (N,)."""
    taken = rows[seen[1]]
    cases = seen[1][taken]
    who = [patients[case] for case in cases.tolist()]
    return calibrated(seen[0][taken], answers[cases], encoding, plan, patients=who)


def inner_folds(patients: Sequence[str], count: int = 5) -> NDArray[np.int64]:
    """A fold for each case, the same for all cases of a patient."""
    names, owner = np.unique(np.array(patients), return_inverse=True)
    dealt = np.random.default_rng(len(names)).permutation(len(names)) % min(count, len(names))
    return dealt[owner].astype(np.int64)


def _rule_of(plan: Validation) -> str:
    """The rule in words, with what it holds."""
    rule, target = plan.threshold_rule, plan.threshold_target
    if rule in ("sensitivity", "specificity"):
        return f"{rule} of {target:g}"
    return f"cost, a missed finding as {target:g} false alarms" if rule == "cost" else rule


def _threshold(
    scores: NDArray[np.float64], truth: NDArray[np.int64], patients: list[str], plan: Validation, seed: int
) -> tuple[float, float | None, float | None]:
    from hounsfield.metrics.thresholds import choose_threshold

    rule = plan.threshold_rule
    if rule == "half" or not 0 < truth.sum() < len(truth):
        return 0.5, None, None
    target = plan.threshold_target if rule in ("sensitivity", "specificity", "cost") else None
    chosen = choose_threshold(scores, truth, rule=rule, target=target, patients=patients, seed=seed)
    return chosen.value, chosen.low, chosen.high
