"""One call for every classification metric of a test set, each with n and interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.calibration import measure_brier, measure_ece, top_label
from hounsfield.metrics.confusion import measure_binary, multiclass_report
from hounsfield.metrics.discrimination import measure_auroc, measure_average_precision
from hounsfield.metrics.inputs import (
    check_answers,
    check_binary_answers,
    check_probabilities,
    check_rows_sum_to_one,
    check_same_length,
    check_scores,
)
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.measured import Measured, average
from hounsfield.metrics.patients import (
    BoolArray,
    FloatArray,
    IntArray,
    Patients,
    Resampling,
    draw,
)
from hounsfield.metrics.ranking import rank

__all__ = ["Kind", "classification_metrics"]

Kind = Literal["binary", "multiclass", "multilabel"]


def classification_metrics(
    scores: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    patients: npt.ArrayLike | Patients | None,
    classes: Sequence[str],
    kind: Kind,
    threshold: float | Sequence[float] = 0.5,
    called: npt.ArrayLike | None = None,
    ordinal: bool = False,
    subgroup: bool = False,
    seed: int | np.random.Generator = 0,
    resamples: int = 2000,
) -> list[Estimate]:
    """Every metric of a classifier on cases it has not seen; all share one bootstrap.

    * binary: scores (N,) are the probability of the finding, answers (N,) 0 or 1, `classes` the
      names of 0 and 1.
    * multiclass: scores (N, C) are probabilities that sum to 1, answers (N,) whole numbers; the
      call is the likeliest class. Overall rates are macro means; ece is of the likeliest class;
      brier sums over the classes (0 to 2); `ordinal` adds qwk.
    * multilabel: scores and answers (N, L); a `threshold` for all labels or one for each. Overall
      values are macro means over the labels, which every label must be large enough for.

    `called`, of the answers' shape, replaces the threshold (or the likeliest class) where each case was
    called by a rule of its own, as in cross-validation.

    Names: auroc auprc accuracy balanced_accuracy sensitivity specificity precision npv recall f1
    mcc brier ece (qwk). Rows of one class or label carry its name in `group`; overall rows have
    none. A metric that has too few cases is present, without a value, with the reason.

    Raises BadInput for scores or answers that do not fit, and for answers of one class only
    unless `subgroup` is true.

    >>> answers = [0, 1] * 20
    >>> scores = [0.2, 0.7, 0.4, 0.9] * 10
    >>> rows = classification_metrics(
    ...     scores, answers, patients=None, classes=["clear", "found"], kind="binary")
    >>> [(row.name, row.value, row.n) for row in rows][:3]
    [('auroc', 1.0, 40), ('auprc', 1.0, 40), ('accuracy', 1.0, 40)]
    """
    if kind not in ("binary", "multiclass", "multilabel"):
        raise BadInput(f'the kind is "{kind}"; expected binary, multiclass or multilabel.')
    values = check_probabilities(check_scores(scores, ndim=1 if kind == "binary" else 2))
    _check_names(values, classes, kind)
    cuts = _thresholds(threshold, kind, len(classes))
    if kind == "multiclass":
        check_rows_sum_to_one(values)
        truth = check_answers(answers, classes=len(classes))
    else:
        truth = check_binary_answers(answers, ndim=values.ndim).astype(np.intp)
    check_same_length(values, truth)
    if not subgroup:
        _check_several_answers(truth, kind)
    said = _called(values, cuts, kind) if called is None else np.asarray(called, np.intp)
    check_same_length(said, truth)
    draws = draw(patients, cases=len(values), resamples=resamples, seed=seed)
    if kind == "binary":
        parts = _measure_finding(values, truth == 1, said == 1, draws)
        return [part.estimate(name) for name, part in parts.items()]
    if kind == "multilabel":
        return _multilabel(values, truth == 1, classes, said == 1, draws)
    return _multiclass(values, truth, said, classes, draws, ordinal=ordinal)


def _called(values: FloatArray, cuts: Sequence[float], kind: Kind) -> IntArray:
    if kind == "multiclass":
        return np.asarray(values.argmax(axis=1), np.intp)
    return (values >= (cuts[0] if kind == "binary" else np.asarray(cuts))).astype(np.intp)


def _measure_finding(
    scores: FloatArray, positive: BoolArray, called: BoolArray, draws: Resampling
) -> dict[str, Measured]:
    ranking, owners = rank(scores), draws.patients
    return {
        "auroc": measure_auroc(ranking, positive, owners),
        "auprc": measure_average_precision(ranking, positive, owners),
        **measure_binary(positive, called, draws),
        "brier": measure_brier(scores, positive.astype(np.intp), owners),
        "ece": measure_ece(scores, positive, draws),
    }


def _multilabel(
    scores: FloatArray,
    positive: BoolArray,
    labels: Sequence[str],
    called: BoolArray,
    draws: Resampling,
) -> list[Estimate]:
    each = {
        label: _measure_finding(scores[:, k], positive[:, k], called[:, k], draws)
        for k, label in enumerate(labels)
    }
    rows = [_macro(each, name, draws).estimate(name) for name in each[labels[0]]]
    for label, parts in each.items():
        rows += [part.estimate(name, group=label) for name, part in parts.items()]
    return rows


def _multiclass(
    scores: FloatArray,
    truth: IntArray,
    said: IntArray,
    classes: Sequence[str],
    draws: Resampling,
    *,
    ordinal: bool,
) -> list[Estimate]:
    owners = draws.patients
    report = multiclass_report(truth, said, classes=classes, ordinal=ordinal, resampling=draws)
    ranked, calibrated = {}, {}
    for k, label in enumerate(classes):
        ranking, positive, column = rank(scores[:, k]), truth == k, scores[:, k]
        ranked[label] = {
            "auroc": measure_auroc(ranking, positive, owners),
            "auprc": measure_average_precision(ranking, positive, owners),
        }
        calibrated[label] = {
            "brier": measure_brier(column, positive.astype(np.intp), owners),
            "ece": measure_ece(column, positive, draws),
        }
    rows = [_macro(ranked, name, draws).estimate(name) for name in ("auroc", "auprc")]
    rows += [row for row in report if not row.group]
    rows.append(measure_brier(scores, truth, owners).estimate("brier"))
    rows.append(measure_ece(*top_label(scores, truth), draws).estimate("ece"))
    for label in classes:
        rows += [part.estimate(name, group=label) for name, part in ranked[label].items()]
        rows += [row for row in report if row.group == label]
        rows += [part.estimate(name, group=label) for name, part in calibrated[label].items()]
    return rows


def _macro(each: Mapping[str, Mapping[str, Measured]], name: str, draws: Resampling) -> Measured:
    """The mean of one metric over the labels, refused when one label is too small for it.

    A label that is never called counts as precision 0, so only its answers can refuse precision.
    """
    judge = {"precision": "sensitivity", "npv": "specificity"}.get(name, name)
    reasons = (f"{label}: {parts[judge].reason}" for label, parts in each.items())
    reason = next((text for text in reasons if not text.endswith(": ")), "")
    parts = [parts[name] for parts in each.values()]
    n, count = len(draws.patients.code), draws.patients.count
    return average(parts, n=n, n_patients=count, reason=reason)


def _thresholds(threshold: float | Sequence[float], kind: Kind, count: int) -> list[float]:
    given = np.asarray(threshold, dtype=np.float64)
    if kind == "multiclass":
        if given.ndim or given != 0.5:
            raise BadInput("a threshold was given for a choice of classes; leave it out.")
        return []
    expected = count if kind == "multilabel" else 1
    if given.ndim > 1 or (given.ndim and len(given) != expected) or not np.isfinite(given).all():
        raise BadInput(
            f"{given.size} thresholds were given; expected one finite number, "
            f"or {expected} for {expected} findings."
        )
    return [float(cut) for cut in np.broadcast_to(given, (expected,))]


def _check_names(values: FloatArray, classes: Sequence[str], kind: Kind) -> None:
    expected = 2 if kind == "binary" else values.shape[1]
    if len(classes) != expected or len(set(classes)) != expected or "" in classes:
        raise BadInput(f"{len(classes)} class names were given; expected {expected} different names.")
    if kind == "multiclass" and expected < 2:
        raise BadInput('scores have one column; expected two or more, or use kind="binary".')


def _check_several_answers(truth: IntArray, kind: Kind) -> None:
    constant = (truth == truth[:1]).all()
    if kind == "multilabel":
        constant = (truth == truth[:1]).all(axis=0).all()
    if constant:
        raise BadInput(
            f"all {len(truth)} answers are of one class; expected at least two classes. "
            "Add cases of the other class, or look only at accuracy with subgroup=True."
        )
