"""Calibration finds what was planted; no case has a say in the threshold that calls it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration
from hounsfield.core.plan import Validation
from hounsfield.steps.calibrate import calibrated, cross_fitted, operating_point

TWO = LabelEncoding("binary", ("no", "yes"))
THREE = LabelEncoding("multiclass", ("a", "b", "c"))
MANY = LabelEncoding("multilabel", ("a", "b"))


def test_a_planted_temperature_and_bias_are_recovered() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 5, (20_000, 1))
    answers = (rng.random(20_000) < expit(logits[:, 0] / 2.5 - 0.7)).astype(np.int64)
    found = calibrated(logits, answers, TWO, Validation())
    assert found.temperature == pytest.approx(2.5, rel=0.05) and found.bias == pytest.approx(-0.7, abs=0.06)


def test_a_planted_temperature_of_several_classes_is_recovered() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (20_000, 3))
    answers = (softmax(logits / 3, 1).cumsum(1) < rng.random((20_000, 1))).sum(1)
    assert calibrated(logits, answers, THREE, Validation()).temperature == pytest.approx(3, rel=0.05)


def test_separable_logits_do_not_become_certainties() -> None:
    answers = np.arange(40) % 2
    found = calibrated(answers[:, None] * 2.0 - 1, answers, TWO, Validation())
    scores = expit((answers * 2.0 - 1) / found.temperature + found.bias)
    assert 0.9 < scores.max() < 0.99 and 0.01 < scores.min() < 0.1
    three = np.arange(40) % 3
    assert calibrated(np.eye(3)[three], three, THREE, Validation()).temperature > 0.01


def test_calibration_can_be_left_out() -> None:
    answers = np.arange(20) % 2
    assert calibrated(answers[:, None] * 9.0, answers, TWO, Validation(calibrate="none")) == Calibration()
    assert calibrated(np.ones((20, 2)), np.ones((20, 2), np.int64), MANY, Validation()) == Calibration()


def _scored(n: int = 200) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    answers = np.arange(n) % 2
    scores = np.clip(rng.normal(0.3 + 0.3 * answers, 0.15), 0, 1)[:, None]
    return scores, answers, [f"p{k // 2}" for k in range(n)], (np.arange(n) // 2) % 4


def test_the_threshold_is_the_best_by_its_rule() -> None:
    scores, answers, patients, _ = _scored()
    point = operating_point(scores, answers, patients, TWO, Validation(), seed=0, chosen_on="folds")

    def youden(cut: float) -> float:
        called = scores[:, 0] >= cut
        return float(called[answers == 1].mean() - called[answers == 0].mean())

    assert youden(point.values[0]) == max(youden(c) for c in (0, *scores[:, 0], 1.1))
    assert point.low is not None and point.high is not None
    assert point.low <= point.values[0] <= point.high
    assert (point.rule, point.chosen_on, point.n) == ("youden", "folds", 200)


def test_half_is_half_and_several_classes_need_no_threshold() -> None:
    scores, answers, patients, _ = _scored()
    half = operating_point(
        scores, answers, patients, TWO, Validation(threshold_rule="half"), seed=0, chosen_on=""
    )
    assert half.values == (0.5,)
    three = operating_point(
        np.ones((6, 3)) / 3, np.arange(6) % 3, patients[:6], THREE, Validation(), seed=0, chosen_on=""
    )
    assert three.values == ()


def test_every_finding_has_a_threshold_of_its_own() -> None:
    scores, answers, patients, _ = _scored()
    both = np.hstack([scores, scores / 2])
    table = np.stack([answers, answers], 1)
    point = operating_point(both, table, patients, MANY, Validation(), seed=0, chosen_on="")
    assert point.values[1] == pytest.approx(point.values[0] / 2)


@pytest.mark.parametrize("held", range(4))
def test_no_fold_has_a_say_in_its_own_scores_and_calls(held: int) -> None:
    """Whatever the answers of a fold are, its cases are scored and called the same."""
    scores, answers, patients, fold = _scored()
    logits = scores * 8 - 4
    seen = logits, np.arange(len(logits))
    turned = np.where(fold == held, 1 - answers, answers)
    found = [cross_fitted(logits, a, patients, fold, TWO, Validation(), seen=seen) for a in (answers, turned)]
    inside = fold == held
    np.testing.assert_array_equal(found[0][0][inside], found[1][0][inside])
    np.testing.assert_array_equal(found[0][1][inside], found[1][1][inside])
    assert (found[0][1] != found[1][1]).any()  # the other folds did hear of it


def test_the_calibration_of_a_fold_is_fitted_on_views_of_the_other_folds_only() -> None:
    scores, answers, patients, fold = _scored()
    logits = scores * 8 - 4
    rows = np.tile(np.arange(len(logits)), 3)
    views = np.random.default_rng(1).normal(logits[rows], 1.0)
    spoilt = np.where((fold == 2)[rows][:, None], 99.0, views)
    found = [
        cross_fitted(logits, answers, patients, fold, TWO, Validation(), seen=(v, rows))
        for v in (views, spoilt)
    ]
    np.testing.assert_array_equal(found[0][0][fold == 2], found[1][0][fold == 2])
    assert (found[0][0][fold != 2] != found[1][0][fold != 2]).any()


def test_a_single_fold_is_called_by_itself() -> None:
    scores, answers, patients, _ = _scored(60)
    logits = scores * 8 - 4
    seen = logits, np.arange(60)
    alone, called = cross_fitted(logits, answers, patients, np.zeros(60, int), TWO, Validation(), seen=seen)
    assert np.isfinite(alone).all() and 0 < called.mean() < 1
