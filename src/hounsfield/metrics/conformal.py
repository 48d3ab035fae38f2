"""Sets of classes that hold the right one as often as promised, whatever the model: conformal prediction.

Split conformal: scores of calibration cases, which the model has not learned from, give the quantile. "lac"
takes the probability of a class (least ambiguous sets: Sadinle, Lei & Wasserman, JASA 2019;114:223); "aps"
the probability of it and all likelier classes, made exact by a random part (Romano, Sesia & Candès, NeurIPS
2020). A quantile for each class or group (Mondrian: Vovk, Algorithmic Learning in a Random World, 2005)
promises its coverage in each of them, where each has enough patients.

Cases of one patient are not exchangeable: each patient's cases share a weight of one, so that the promise is
for a case of a patient to come (pooled distribution functions: Dunn, Wasserman & Ramdas, JASA 2023;118:2491).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hounsfield.core.errors import BadInput
from hounsfield.metrics.inputs import check_answers, check_rows_sum_to_one, check_same_length, check_scores
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.measured import mean_loss, proportion
from hounsfield.metrics.patients import BoolArray, FloatArray, IntArray, Patients

__all__ = ["By", "Conformal", "Score", "fit_conformal", "set_report"]

Score = Literal["lac", "aps"]
By = Literal["all", "class", "group"]


@dataclass(frozen=True, slots=True)
class Conformal:
    """A rule that turns probabilities (N, C) into sets: a class is in if its score is at most a quantile.

    `quantiles` are by class number or group name ("" for all). A class or group with too few patients for
    the promise has the quantile infinity: its sets hold every class.
    """

    error: float
    score: Score
    by: By
    quantiles: Mapping[str, float]
    n: int
    n_patients: int

    def sets(
        self,
        probabilities: npt.ArrayLike,
        *,
        groups: Sequence[str] | None = None,
        seed: int | np.random.Generator = 0,
    ) -> BoolArray:
        """Which classes are in each case's set: (N, C). A group that was not calibrated gets every class.

        >>> rule = Conformal(0.1, "lac", "all", {"": 0.6}, 50, 50)
        >>> rule.sets([[0.5, 0.45, 0.05], [0.9, 0.05, 0.05]]).tolist()
        [[True, True, False], [True, False, False]]
        """
        values = check_rows_sum_to_one(check_scores(probabilities, ndim=2))
        scores = _scores(values, self.score, np.random.default_rng(seed))
        if self.by == "class":
            limits = [self.quantiles.get(str(c), math.inf) for c in range(values.shape[1])]
            return np.asarray(scores <= np.array(limits))
        names = [""] * len(values) if self.by == "all" else _names(groups, len(values))
        limit = np.array([self.quantiles.get(name, math.inf) for name in names])
        return np.asarray(scores <= limit[:, None])


def fit_conformal(
    probabilities: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    error: float = 0.1,
    score: Score = "lac",
    by: By = "all",
    groups: Sequence[str] | None = None,
    patients: npt.ArrayLike | Patients | None = None,
    seed: int | np.random.Generator = 0,
) -> Conformal:
    """Calibrate sets that miss the right class in at most `error` of cases to come.

    Probabilities (N, C) that sum to 1 and answers in [0, C); for one finding give both columns. The promise
    holds on average over calibration sets, for cases that come as these did. Raises BadInput for an error
    outside (0, 1), and for groups that are missing where `by` is "group".

    >>> rng = np.random.default_rng(0)
    >>> answers = rng.integers(0, 3, 300)
    >>> logits = 2 * np.eye(3)[answers] + rng.normal(size=(300, 3))
    >>> p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    >>> rule = fit_conformal(p[:200], answers[:200], error=0.1)
    >>> inside = rule.sets(p[200:])[np.arange(100), answers[200:]]
    >>> bool(inside.mean() >= 0.85)
    True
    """
    if not 0 < error < 1:
        raise BadInput(f"the error is {error:g}; expected a share above 0 and below 1.")
    if score not in ("lac", "aps") or by not in ("all", "class", "group"):
        raise BadInput(f'the score is "{score}" by "{by}"; expected lac or aps, by all, class or group.')
    values = check_rows_sum_to_one(check_scores(probabilities, ndim=2))
    truth = check_answers(answers, classes=values.shape[1])
    check_same_length(values, truth)
    owners = Patients.of(patients, cases=len(truth))
    reached = _scores(values, score, np.random.default_rng(seed))[np.arange(len(truth)), truth]
    members = {"": np.ones(len(truth), np.bool_)}
    if by == "class":
        members = {str(c): truth == c for c in range(values.shape[1])}
    elif by == "group":
        names = np.array(_names(groups, len(truth)))
        members = {str(name): names == name for name in np.unique(names)}
    quantiles = {name: _quantile(reached, inside, owners, error) for name, inside in members.items()}
    return Conformal(error, score, by, quantiles, len(truth), owners.count)


def set_report(
    sets: npt.ArrayLike,
    answers: npt.ArrayLike,
    *,
    patients: npt.ArrayLike | Patients | None = None,
    groups: Sequence[str] | None = None,
) -> list[Estimate]:
    """How often sets (N, C) hold the answer, how large they are, and how often they name one class.

    Named coverage, set_size, single (the share of sets with one class) and empty; for everyone, then for
    each group. Sizes are means with t intervals between patients.

    >>> rows = set_report(np.eye(2, dtype=bool)[[0, 1] * 20], [0, 1] * 20)
    >>> [(row.name, row.value) for row in rows]
    [('coverage', 1.0), ('set_size', 1.0), ('single', 1.0), ('empty', 0.0)]
    """
    table = np.asarray(sets)
    if table.ndim != 2 or table.dtype != np.bool_:
        raise BadInput(f"sets have the shape {table.shape} and type {table.dtype}; expected booleans (N, C).")
    truth = check_answers(answers, classes=table.shape[1])
    check_same_length(table, truth)
    owners = Patients.of(patients, cases=len(truth))
    rows = _described(table, truth, np.ones(len(truth), np.bool_), owners, "")
    if groups is not None:
        names = np.array(_names(groups, len(truth)))
        for name in np.unique(names):
            rows += _described(table, truth, names == name, owners, str(name))
    return rows


def _described(
    sets: BoolArray, truth: IntArray, inside: BoolArray, owners: Patients, group: str
) -> list[Estimate]:
    size = sets.sum(axis=1)
    holds = sets[np.arange(len(truth)), truth]
    rates = {"coverage": holds, "single": size == 1, "empty": size == 0}
    told = {
        name: proportion(hits, inside, owners).estimate(name, group=group) for name, hits in rates.items()
    }
    mine = Patients.of(owners.code[inside], cases=int(inside.sum()))
    mean = mean_loss(size[inside].astype(np.float64), mine, ceiling=float(sets.shape[1]), least=5)
    return [told["coverage"], mean.estimate("set_size", group=group), told["single"], told["empty"]]


def _scores(values: FloatArray, score: Score, rng: np.random.Generator) -> FloatArray:
    """How strange each class would be in each case: (N, C), low for a likely class."""
    if score == "lac":
        return np.asarray(1 - values)
    order = np.argsort(-values, axis=1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=1)
    part = rng.random((len(values), 1))
    mass = np.cumsum(ranked, axis=1) - part * ranked
    scores = np.empty_like(values)
    np.put_along_axis(scores, order, mass, axis=1)
    return scores


def _quantile(reached: FloatArray, inside: BoolArray, owners: Patients, error: float) -> float:
    """The score that 1 - error of the patients' weight, and one patient to come, does not exceed."""
    if not inside.any():
        return math.inf
    scores, code = reached[inside], owners.code[inside]
    each = np.bincount(code, minlength=owners.count)
    count = int(np.count_nonzero(each))
    order = np.argsort(scores, kind="stable")
    weight = np.cumsum(1 / each[code[order]])
    needed = (1 - error) * (count + 1)
    at = int(np.searchsorted(weight, needed - 1e-9))
    return float(scores[order[at]]) if at < len(order) else math.inf


def _names(groups: Sequence[str] | None, cases: int) -> list[str]:
    names = [] if groups is None else [str(name) for name in groups]
    if len(names) != cases:
        raise BadInput(f"{len(names)} groups were given for {cases} cases; expected one each.")
    return names
