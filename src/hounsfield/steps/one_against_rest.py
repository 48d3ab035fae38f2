"""Predictions of any task as findings side by side: each class against the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.predictions import Predictions

__all__ = ["calls_of", "found_names", "known_answers", "one_hot", "rows_of"]


def known_answers(predictions: Predictions) -> NDArray[np.int64]:
    """The answers; raises BadInput where none are known."""
    if predictions.answers is None:
        raise BadInput("the cases have no known answers; give --labels and --target to evaluate")
    return predictions.answers


def found_names(encoding: LabelEncoding) -> tuple[str, ...]:
    """The findings: the positive class of a binary task, else every class."""
    return (encoding.positive_name,) if encoding.kind == "binary" else tuple(encoding.classes)


def rows_of(predictions: Predictions) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities and answers 0 or 1 of every finding, both (N, L).

    >>> p = Predictions(LabelEncoding("multiclass", ("a", "b", "c")), ("x", "y"), ("p", "q"),
    ...                 np.array([[.7, .2, .1], [.1, .1, .8]]), np.array([0, 2]))
    >>> rows_of(p)[1].tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    return predictions.scores, one_hot(known_answers(predictions), predictions.encoding)


def calls_of(predictions: Predictions, called: NDArray[np.int64]) -> NDArray[np.int64]:
    """Calls (N,), or (N, L) of labels, as 0 or 1 for every finding (N, L)."""
    return one_hot(called, predictions.encoding)


def one_hot(values: NDArray[np.int64], encoding: LabelEncoding) -> NDArray[np.int64]:
    """Class numbers (N,) as 0 or 1 of each finding (N, L); labels (N, L) as they are."""
    if values.ndim == 2:
        return values
    if encoding.kind == "binary":
        return values[:, None]
    return np.asarray(values[:, None] == np.arange(len(encoding.classes))[None], np.int64)
