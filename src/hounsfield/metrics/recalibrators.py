"""Recalibrations with one face: fitted on validation logits, applied to others, written as plain numbers.

* none: the probabilities as they are.
* temperature: logits divided by one number (Guo, ICML 2017).
* platt: a factor and, for each output, a shift (Platt 1999; for classes: one factor, a shift a class), with
  targets drawn in by one case of each class so that separable logits do not become certainties.
* isotonic: any rising curve (Zadrozny & Elkan, KDD 2002), kept away from 0 and 1 by one case of each class
  in every step; for classes one curve each, then scaled to sum to 1. It needs hundreds of cases.

`choose_recalibration` fits each on some patients and scores it on the others by the log loss, and takes a
richer kind only where it is better than a simpler one by more than the standard error of the difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.inputs import check_answers, check_same_length, check_scores
from hounsfield.metrics.intervals import MIN_CASES, Estimate, critical_value, shortage
from hounsfield.metrics.measured import cluster_variance
from hounsfield.metrics.patients import FloatArray, IntArray, Patients

__all__ = [
    "KINDS",
    "Recalibration",
    "RecalibrationChoice",
    "RecalibrationKind",
    "choose_recalibration",
    "fit_recalibration",
]

RecalibrationKind = Literal["none", "temperature", "platt", "isotonic"]
KINDS: tuple[RecalibrationKind, ...] = ("none", "temperature", "platt", "isotonic")
"""From the simplest to the richest."""

_FOLDS = 5
_CLIP = 1e-12


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A fitted recalibration of logits (N, C), or (N, 1) of one finding.

    `temperature` divides the logits and `shifts` (C,) are added; `curves` are (logits, probabilities) of
    each output of an isotonic fit, linear between the points.
    """

    kind: RecalibrationKind
    temperature: float = 1.0
    shifts: tuple[float, ...] = ()
    curves: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = field(default=(), repr=False)

    def apply(self, logits: npt.ArrayLike) -> FloatArray:
        """Probabilities of the same shape: of the finding for (N, 1), that sum to 1 for (N, C).

        >>> Recalibration("temperature", 2.0).apply([[0.0, 2.0]]).round(4).tolist()
        [[0.2689, 0.7311]]
        """
        values = check_scores(logits, ndim=2)
        if self.kind != "isotonic":
            shifts = np.asarray(self.shifts) if self.shifts else np.zeros(values.shape[1])
            if len(shifts) != values.shape[1]:
                raise BadInput(f"logits have {values.shape[1]} columns; expected {len(shifts)}, as fitted.")
            return _probabilities(values / self.temperature + shifts)
        if len(self.curves) != values.shape[1]:
            raise BadInput(f"logits have {values.shape[1]} columns; expected {len(self.curves)}, as fitted.")
        columns = [np.interp(_odds(values, c), *curve) for c, curve in enumerate(self.curves)]
        mended = np.stack(columns, axis=1)
        return mended if values.shape[1] == 1 else np.asarray(mended / mended.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class RecalibrationChoice:
    """The recalibration that was chosen, fitted on all cases, and each kind's cross-fitted log loss.

    With too few cases nothing is recalibrated, and `reason` says why.
    """

    chosen: Recalibration
    losses: Mapping[RecalibrationKind, Estimate]
    reason: str = ""


def fit_recalibration(
    kind: RecalibrationKind, logits: npt.ArrayLike, answers: npt.ArrayLike
) -> Recalibration:
    """Fit one kind to validation logits (N, C) with answers in [0, C), or (N, 1) with answers 0 or 1.

    Raises BadInput for an unknown kind, and for answers of one class only.

    >>> logits = [[4.0]] * 50 + [[-4.0]] * 50
    >>> answers = [1] * 40 + [0] * 10 + [0] * 40 + [1] * 10
    >>> fitted = fit_recalibration("temperature", logits, answers)
    >>> fitted.apply([[4.0]]).round(3).tolist()
    [[0.8]]
    """
    values, truth = _checked(kind, logits, answers)
    if kind == "none":
        return Recalibration("none")
    if len(np.unique(truth)) < 2:
        raise BadInput("all answers are of one class; expected at least two classes to recalibrate on.")
    if kind == "isotonic":
        outputs = range(values.shape[1])
        right = [truth == (1 if values.shape[1] == 1 else c) for c in outputs]
        return Recalibration("isotonic", curves=tuple(_curve(_odds(values, c), right[c]) for c in outputs))
    temperature, shifts = _scaled(values, truth, shifted=kind == "platt")
    return Recalibration(kind, temperature, shifts)


def choose_recalibration(
    logits: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    kinds: Sequence[RecalibrationKind] = KINDS,
    patients: npt.ArrayLike | Patients | None = None,
) -> RecalibrationChoice:
    """Choose among `kinds` by the log loss on patients that a fit has not seen (five folds).

    >>> rng = np.random.default_rng(0)
    >>> true = rng.normal(size=(2000, 1)) * 2
    >>> answers = rng.random(2000) < 1 / (1 + np.exp(-true[:, 0]))
    >>> choice = choose_recalibration(3 * true, answers)
    >>> choice.chosen.kind, round(choice.chosen.temperature, 1)
    ('temperature', 2.8)
    """
    if not kinds:
        raise BadInput("no kind of recalibration was given; choose among " + ", ".join(KINDS) + ".")
    for kind in kinds:
        values, truth = _checked(kind, logits, answers)
    owners = Patients.of(patients, cases=len(values))
    reason = _too_few(truth, owners)
    if reason:
        return RecalibrationChoice(Recalibration("none"), {}, reason)
    ordered = [kind for kind in KINDS if kind in kinds]
    losses = _cross_fitted(values, truth, owners, ordered)
    best = ordered[0]
    for kind in ordered[1:]:
        gain = losses[best] - losses[kind]
        if gain.mean() > math.sqrt(cluster_variance(owners.sums((gain - gain.mean()) / len(gain)))):
            best = kind
    told = {kind: _mean_loss(loss, owners) for kind, loss in losses.items()}
    return RecalibrationChoice(fit_recalibration(best, values, truth), told)


def _cross_fitted(
    values: FloatArray, truth: IntArray, owners: Patients, kinds: Sequence[RecalibrationKind]
) -> dict[RecalibrationKind, FloatArray]:
    """Each case's log loss (N,) under fits on other patients."""
    dealt = np.random.default_rng(0).permutation(owners.count) % _FOLDS
    fold = dealt[owners.code]
    losses: dict[RecalibrationKind, FloatArray] = {kind: np.zeros(len(truth)) for kind in kinds}
    for k in range(_FOLDS):
        inside = fold == k
        for kind in kinds:
            fitted = fit_recalibration(kind, values[~inside], truth[~inside])
            losses[kind][inside] = _log_losses(fitted.apply(values[inside]), truth[inside])
    return losses


def _log_losses(probabilities: FloatArray, truth: IntArray) -> FloatArray:
    if probabilities.shape[1] == 1:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    return np.asarray(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], _CLIP)))


def _mean_loss(losses: FloatArray, owners: Patients) -> Estimate:
    value = float(losses.mean())
    error = math.sqrt(cluster_variance(owners.sums((losses - value) / len(losses))))
    half = critical_value(dof=owners.count - 1) * error
    low, high = max(0.0, value - half), value + half
    return Estimate(
        "log_loss", value, low, high, len(losses), owners.count, "cross-fitted, t between patients"
    )


def _too_few(truth: IntArray, owners: Patients) -> str:
    for k in np.unique(truth):
        mask = truth == k
        n = int(np.count_nonzero(mask))
        reason = shortage(n=n, n_patients=owners.among(mask), least=2 * MIN_CASES, what=f"of class {k}")
        if reason:
            return reason.replace("to print a number", "to choose a recalibration")
    return "" if len(np.unique(truth)) > 1 else "all answers are of one class: nothing to recalibrate on"


def _scaled(values: FloatArray, truth: IntArray, *, shifted: bool) -> tuple[float, tuple[float, ...]]:
    """The temperature, and the shift of each output, that lose least."""
    from scipy.optimize import minimize

    n, outputs = values.shape
    targets = _targets(truth, outputs, drawn_in=shifted)
    # A last shift that can be any is held at 0 where outputs compete.
    free = (outputs if outputs == 1 else outputs - 1) if shifted else 0

    def loss(p: FloatArray) -> tuple[float, FloatArray]:
        factor, shifts = math.exp(p[0]), np.zeros(outputs)
        shifts[:free] = p[1:]
        mended = values * factor + shifts
        said = _probabilities(mended)
        off = said - targets
        if outputs == 1:
            cost = np.logaddexp(0, mended) - targets * mended
        else:
            top = mended.max(axis=1, keepdims=True)
            norm = top + np.log(np.exp(mended - top).sum(axis=1, keepdims=True))
            cost = targets * (norm - mended)
        slope = factor * float((off * values).sum())
        return float(cost.sum()) / n, np.concatenate([[slope], off.sum(axis=0)[:free]]) / n

    bounds = [(-3.0, 3.0)] + [(None, None)] * free
    found = minimize(loss, np.zeros(1 + free), jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-12).x
    shifts = np.zeros(outputs)
    shifts[:free] = found[1:]
    return float(math.exp(-found[0])), tuple(float(s) for s in shifts) if shifted else ()


def _targets(truth: IntArray, outputs: int, *, drawn_in: bool) -> FloatArray:
    if outputs == 1:
        yes, no = int(np.count_nonzero(truth)), int(np.count_nonzero(truth == 0))
        high, low = ((yes + 1) / (yes + 2), 1 / (no + 2)) if drawn_in else (1.0, 0.0)
        return np.where(truth == 1, high, low)[:, None]
    targets = np.eye(outputs)[truth]
    if drawn_in:
        counts = targets.sum(axis=0)[truth][:, None]
        targets = (targets * counts + 1) / (counts + outputs)
    return np.asarray(targets)


def _curve(odds: FloatArray, right: npt.NDArray[np.bool_]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The isotonic steps as points: the middle of each step's logits, and its share drawn in by two cases."""
    from hounsfield.metrics.decomposition import isotonic

    level = isotonic(odds, right.astype(np.float64))
    order = np.argsort(odds, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(level[order]) > 0]))
    sizes = np.diff(np.append(starts, len(odds)))
    middles = np.add.reduceat(odds[order], starts) / sizes
    shares = (np.add.reduceat(right[order].astype(np.float64), starts) + 1 / 2) / (sizes + 1)
    rising = np.maximum.accumulate(shares)
    return tuple(middles.tolist()), tuple(rising.tolist())


def _odds(values: FloatArray, output: int) -> FloatArray:
    """The logit of one output against the rest."""
    if values.shape[1] == 1:
        return values[:, 0]
    others = np.delete(values, output, axis=1)
    top = others.max(axis=1, keepdims=True)
    return np.asarray(values[:, output] - top[:, 0] - np.log(np.exp(others - top).sum(axis=1)))


def _probabilities(values: FloatArray) -> FloatArray:
    if values.shape[1] == 1:
        return np.asarray(1 / (1 + np.exp(-np.clip(values, -500, 500))))
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _checked(kind: str, logits: npt.ArrayLike, answers: npt.ArrayLike) -> tuple[FloatArray, IntArray]:
    if kind not in KINDS:
        raise BadInput(f'the recalibration is "{kind}"; expected one of {", ".join(KINDS)}.')
    values = check_scores(logits, ndim=2)
    truth = check_answers(answers, classes=max(values.shape[1], 2))
    check_same_length(values, truth)
    return values, truth
