"""Classification: one of two classes, one of many, or any number of many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.model import Calibration
from hounsfield.core.plan import Fit
from hounsfield.tasks.losses import exclusive_loss, independent_terms, ordinal_loss

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["answers_of", "loss_of", "predicted_classes", "probabilities", "targets_of", "terms_of"]


def answers_of(cases: Sequence[Case], encoding: LabelEncoding) -> NDArray[np.int64]:
    """Class numbers (N,), or for multi-label zeros and ones (N, C)."""
    if encoding.kind == "multilabel":
        table = np.zeros((len(cases), len(encoding.classes)), np.int64)
        for row, case in enumerate(cases):
            if case.answer:
                table[row, list(case.answer.positive)] = 1
        return table
    return np.array([c.answer.positive[0] if c.answer else -1 for c in cases], np.int64)


def targets_of(answers: NDArray[np.int64], encoding: LabelEncoding) -> NDArray[np.float32]:
    """What the loss compares with: (N, outputs), one-hot for several classes.

    >>> targets_of(np.array([0, 1]), LabelEncoding("binary", ("0", "1"))).tolist()
    [[0.0], [1.0]]
    """
    if encoding.kind == "multiclass":
        return np.eye(len(encoding.classes), dtype=np.float32)[answers]
    return answers.reshape(len(answers), -1).astype(np.float32)


def loss_of(
    plan: Fit, encoding: LabelEncoding, targets: NDArray[np.float32]
) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean loss of (logits, targets), both (N, outputs), with class weights from the training targets.

    Several exclusive classes take the cross-entropy of the softmax, "focal" or "ordinal" (`tasks.losses`). A
    binary or multi-label task takes the binary cross-entropy of the sigmoid of each output, whichever of
    the two names `fit.loss` bears, or "focal". Class weights are inverse to the frequency of a class and
    average to 1 over the training cases; a class that no training case has weighs 0. They and label
    smoothing go with every loss; a focal loss with class weights attends to rare classes twice.
    Every row weighs the same: a batch's loss is the mean of its parts' losses, weighed by their rows.
    Raises BadInput for a loss that the labels cannot have.
    """
    import torch

    multiclass = encoding.kind == "multiclass"
    rows = (_exclusive if multiclass else _independent)(plan, encoding, targets)

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        found = rows(logits, wanted)
        return torch.mean(found if multiclass else found.mean(1))

    return loss


def terms_of(
    plan: Fit, encoding: LabelEncoding, targets: NDArray[np.float32]
) -> Callable[[Tensor, Tensor], Tensor]:
    """`loss_of` before its means: (N, outputs), and of exclusive classes (N, 1), so that rows can be weighed.

    >>> import torch
    >>> fit, targets = Fit(class_weights=False), np.eye(3, dtype=np.float32)
    >>> terms = terms_of(fit, LabelEncoding("multiclass", ("a", "b", "c")), targets)
    >>> terms(torch.zeros(1, 3), torch.eye(3)[:1])
    tensor([[1.0986]])
    """
    if encoding.kind != "multiclass":
        return _independent(plan, encoding, targets)
    rows = _exclusive(plan, encoding, targets)
    return lambda logits, wanted: rows(logits, wanted)[:, None]


def _exclusive(
    plan: Fit, encoding: LabelEncoding, targets: NDArray[np.float32]
) -> Callable[[Tensor, Tensor], Tensor]:
    import torch

    if plan.loss == "binary_cross_entropy":
        raise BadInput(
            f'fit.loss "{plan.loss}" does not fit {len(encoding.classes)} exclusive classes; '
            'expected "cross_entropy", "focal" or, for classes in rising order, "ordinal"'
        )
    shares = targets.mean(0, dtype=np.float64)[None]
    found = _inverse(shares) if plan.class_weights else np.ones_like(shares)
    weights = torch.tensor(found[0], dtype=torch.float32)
    if plan.loss == "ordinal":
        return ordinal_loss(weights, smooth=plan.label_smoothing)
    gamma = plan.focal_gamma if plan.loss == "focal" else 0.0
    return exclusive_loss(weights, smooth=plan.label_smoothing, gamma=gamma)


def _independent(
    plan: Fit, encoding: LabelEncoding, targets: NDArray[np.float32]
) -> Callable[[Tensor, Tensor], Tensor]:
    import torch

    if plan.loss == "ordinal":
        raise BadInput(
            f'fit.loss "ordinal" was asked for {encoding.kind} labels; ordinal needs at least three classes '
            'in rising order; choose "cross_entropy" or "focal"'
        )
    share = targets.mean(0, dtype=np.float64)
    both = np.stack([share, 1 - share], 1)  # (outputs, 2): an output's cases with and without it
    weights = _inverse(both) if plan.class_weights else np.ones_like(both)
    positive, negative = torch.tensor(weights, dtype=torch.float32).T
    gamma = plan.focal_gamma if plan.loss == "focal" else 0.0
    return independent_terms(positive, negative, smooth=plan.label_smoothing, gamma=gamma)


def _inverse(share: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Weights (N, C) inverse to shares (N, C): mean 1 over the cases, 0 for a class without cases."""
    shares = share.astype(np.float64)
    present = shares > 0
    weights = np.zeros_like(shares)
    np.divide(1.0, shares * present.sum(1, keepdims=True), out=weights, where=present)
    return weights


def probabilities(
    logits: NDArray[np.float64], encoding: LabelEncoding, calibration: Calibration
) -> NDArray[np.float64]:
    """Calibrated probabilities (…, outputs) of logits (…, outputs).

    >>> encoding = LabelEncoding("binary", ("0", "1"))
    >>> probabilities(np.array([[0.0]]), encoding, Calibration()).tolist()
    [[0.5]]
    """
    values = np.asarray(logits, np.float64)
    if calibration.outputs:
        columns = [_calibrated(values[..., c, None], own) for c, own in enumerate(calibration.outputs)]
        return np.concatenate(columns, -1)
    return _calibrated(values, calibration, exclusive=encoding.kind == "multiclass")


def _calibrated(
    logits: NDArray[np.float64], calibration: Calibration, *, exclusive: bool = False
) -> NDArray[np.float64]:
    """Probabilities of outputs that stand alone, or of `exclusive` classes that sum to 1."""
    if calibration.curves:
        from hounsfield.metrics.recalibrators import Recalibration

        table = logits.reshape(-1, logits.shape[-1])
        return Recalibration("isotonic", curves=calibration.curves).apply(table).reshape(logits.shape)
    scaled = logits / calibration.temperature + calibration.bias
    if calibration.shifts:
        scaled = scaled + np.asarray(calibration.shifts)
    if exclusive:
        scaled = scaled - scaled.max(-1, keepdims=True)
        out = np.exp(scaled)
        return np.asarray(out / out.sum(-1, keepdims=True), np.float64)
    return np.asarray(0.5 * (1 + np.tanh(0.5 * scaled)), np.float64)


def predicted_classes(
    scores: NDArray[np.float64], encoding: LabelEncoding, thresholds: Sequence[float]
) -> NDArray[np.int64]:
    """The class called: (N,) for binary and multiclass, (N, C) of 0 and 1 for multi-label."""
    if encoding.kind == "multiclass":
        return np.asarray(scores.argmax(1), np.int64)
    called: NDArray[np.int64] = np.zeros_like(scores, np.int64)
    called[scores >= np.asarray(thresholds)[None, : scores.shape[1]]] = 1
    return called.reshape(-1) if encoding.kind == "binary" else called
