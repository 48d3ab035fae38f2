"""What metrics accept: checked scores and answers, or one sentence that says what is wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray

__all__ = [
    "check_answers",
    "check_binary_answers",
    "check_probabilities",
    "check_rows_sum_to_one",
    "check_same_length",
    "check_scores",
]

_ROW_TOLERANCE = 0.01


def check_scores(scores: npt.ArrayLike, *, ndim: int = 1) -> FloatArray:
    """Finite scores of `ndim` axes: (N,) for one finding, (N, C) for classes or labels.

    >>> check_scores([0.1, float("nan")])
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: 1 of 2 scores are not finite numbers; expected none. \
Look for a diverged model or an empty image.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != ndim:
        expected = "(N,): one score per case" if ndim == 1 else "(N, C): one column per class"
        raise BadInput(f"scores have the shape {array.shape}; expected {expected}.")
    if array.size == 0:
        raise BadInput("no scores were given; expected at least one case.")
    finite = np.isfinite(array)
    if not finite.all():
        wrong = int(array.size - np.count_nonzero(finite))
        raise BadInput(
            f"{wrong} of {array.size} scores are not finite numbers; expected none. "
            "Look for a diverged model or an empty image."
        )
    return array


def check_probabilities(scores: FloatArray) -> FloatArray:
    """The same scores, after a look that all lie in [0, 1].

    >>> check_probabilities(np.array([0.2, 1.4]))
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: scores run from 0.2 to 1.4; expected probabilities in \
[0, 1]. Apply the sigmoid or the softmax first.
    """
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1:
        raise BadInput(
            f"scores run from {low:.4g} to {high:.4g}; expected probabilities in [0, 1]. "
            "Apply the sigmoid or the softmax first."
        )
    return scores


def check_rows_sum_to_one(scores: FloatArray) -> FloatArray:
    """The same (N, C) probabilities, after a look that each row sums to one (within 0.01).

    >>> check_rows_sum_to_one(np.array([[0.5, 0.5], [0.9, 0.3]]))
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: 1 of 2 cases have class probabilities that do not sum to 1; \
apply the softmax, or use kind="multilabel".
    """
    wrong = int(np.count_nonzero(np.abs(scores.sum(axis=1) - 1) > _ROW_TOLERANCE))
    if wrong:
        raise BadInput(
            f"{wrong} of {len(scores)} cases have class probabilities that do not sum to 1; "
            'apply the softmax, or use kind="multilabel".'
        )
    return scores


def check_answers(answers: npt.ArrayLike, *, classes: int) -> IntArray:
    """Whole-number answers (N,) in [0, classes).

    >>> check_answers([0, 3], classes=3)
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: answers run from 0 to 3; expected whole numbers from 0 to 2.
    """
    array = np.asarray(answers)
    if array.ndim != 1:
        raise BadInput(f"answers have the shape {array.shape}; expected (N,): one per case.")
    return _whole_numbers(array, classes=classes)


def check_binary_answers(answers: npt.ArrayLike, *, ndim: int = 1) -> BoolArray:
    """Answers 0 or 1 as booleans: (N,), or (N, L) for labels.

    >>> check_binary_answers([0, 1, 1]).tolist()
    [False, True, True]
    """
    array = np.asarray(answers)
    if array.ndim != ndim:
        expected = "(N,): one per case" if ndim == 1 else "(N, L): one column per label"
        raise BadInput(f"answers have the shape {array.shape}; expected {expected}.")
    return _whole_numbers(array, classes=2).astype(np.bool_)


def check_same_length(scores: npt.NDArray[np.generic], answers: npt.NDArray[np.generic]) -> None:
    """Raise BadInput unless there is one answer per score.

    >>> check_same_length(np.zeros(2), np.zeros(2))
    """
    if len(scores) != len(answers):
        raise BadInput(
            f"{len(scores)} cases have scores and {len(answers)} have answers; expected the same number."
        )


def _whole_numbers(array: npt.NDArray[np.generic], *, classes: int) -> IntArray:
    if array.size == 0:
        raise BadInput("no answers were given; expected at least one case.")
    if array.dtype.kind not in "iubf":
        raise BadInput(f"answers are of type {array.dtype}; expected whole numbers.")
    values = np.asarray(array, dtype=np.float64)
    if not np.isfinite(values).all():
        raise BadInput("at least one answer is missing; leave out the cases without an answer.")
    low, high = values.min(), values.max()
    if low < 0 or high > classes - 1 or (array.dtype.kind == "f" and (values % 1).any()):
        raise BadInput(
            f"answers run from {low:g} to {high:g}; expected whole numbers from 0 to {classes - 1}."
        )
    return values.astype(np.intp)
