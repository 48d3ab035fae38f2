"""Calibration finds what was planted; no case has a say in the threshold that calls it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.model import Calibration
from hounsfield.core.plan import Plan, Validation
from hounsfield.steps.calibrate import calibrated, cross_calibrated, cross_fitted, operating_point
from hounsfield.tasks.classification import probabilities

Kind = Literal["auto", "temperature", "platt", "isotonic", "none"]
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


@pytest.mark.parametrize("kind", ["auto", "temperature", "platt", "isotonic", "none"])
@pytest.mark.parametrize("held", range(4))
def test_no_fold_has_a_say_in_its_own_scores_and_calls(held: int, kind: Kind) -> None:
    """Whatever the answers of a fold are, its cases are scored and called the same."""
    scores, answers, patients, fold = _scored()
    plan = Validation(calibrate=kind)
    logits = scores * 8 - 4
    seen = logits, np.arange(len(logits))
    turned = np.where(fold == held, 1 - answers, answers)
    found = [cross_fitted(logits, a, patients, fold, TWO, plan, seen=seen) for a in (answers, turned)]
    np.testing.assert_array_equal(
        found[0][0], cross_calibrated(logits, answers, patients, fold, TWO, plan, seen=seen)
    )
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


def _drawn(n: int, encoding: LabelEncoding) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits that are three times too bold."""
    rng = np.random.default_rng(1)
    true = rng.normal(0, 1.5, (n, encoding.outputs))
    if encoding.kind == "multiclass":
        answers = (softmax(true, 1).cumsum(1) < rng.random((n, 1))).sum(1)
    else:
        answers = (rng.random(true.shape) < expit(true)).astype(np.int64)
        answers = answers[:, 0] if encoding.kind == "binary" else answers
    return 3 * true, answers


@pytest.mark.parametrize("encoding", [TWO, THREE, MANY])
@pytest.mark.parametrize("kind", ["auto", "temperature", "platt", "isotonic"])
def test_every_kind_makes_bold_scores_right(kind: Kind, encoding: LabelEncoding) -> None:
    logits, answers = _drawn(4000, encoding)
    found = calibrated(logits[:2000], answers[:2000], encoding, Validation(calibrate=kind))

    def loss(calibration: Calibration) -> float:
        p = probabilities(logits[2000:], encoding, calibration)
        truth = (
            np.eye(3)[answers[2000:]] if encoding.kind == "multiclass" else answers[2000:].reshape(p.shape)
        )
        return float(((p - truth) ** 2).mean())

    best = loss(Calibration("known", 3.0))
    assert loss(found) < best + 0.004 < loss(Calibration())


def test_of_one_output_platt_is_the_temperature_and_bias() -> None:
    logits, answers = _drawn(500, TWO)
    platt, plain = (
        calibrated(logits, answers, TWO, Validation(calibrate=kind)) for kind in ("platt", "temperature")
    )
    assert plain.method == "temperature and bias" and platt.method == "platt"
    assert (platt.temperature, platt.bias) == pytest.approx((plain.temperature, plain.bias), abs=2e-3)


def test_auto_takes_a_curve_only_where_a_line_does_not_do() -> None:
    rng = np.random.default_rng(0)
    logits = rng.uniform(-4, 4, (4000, 1))
    steps = np.where(logits[:, 0] < 1, 0.2, 0.8)
    for share, kind in ((steps, "isotonic"), (expit(logits[:, 0] / 2), "temperature")):
        answers = (rng.random(4000) < share).astype(np.int64)
        assert calibrated(logits, answers, TWO, Validation(calibrate="auto")).method == kind


def test_auto_with_too_few_cases_is_the_temperature() -> None:
    logits, answers = _drawn(30, TWO)
    found = calibrated(logits, answers, TWO, Validation(calibrate="auto"))
    assert found == calibrated(logits, answers, TWO, Validation(calibrate="temperature"))


def test_auto_does_not_take_many_views_of_few_patients_for_many_cases() -> None:
    logits, answers = _drawn(30, TWO)
    views, seen, patients = np.tile(logits, (40, 1)), np.tile(answers, 40), [f"p{k}" for k in range(30)] * 40
    plan = Validation(calibrate="auto")
    assert calibrated(views, seen, TWO, plan, patients=patients).method == "temperature and bias"
    assert calibrated(views, seen, TWO, plan).method != "temperature and bias"


def test_each_finding_of_several_is_calibrated_by_itself() -> None:
    logits, answers = _drawn(3000, MANY)
    found = calibrated(logits * [1, 3], answers, MANY, Validation())
    assert [c.temperature for c in found.outputs] == pytest.approx([3, 9], rel=0.1)
    answers[:, 1] = 1  # nothing to learn of a finding that everybody has
    once = calibrated(logits, answers, MANY, Validation())
    assert once.outputs[1] == Calibration() and once.outputs[0] == found.outputs[0]


def test_a_target_is_held_on_the_cases_that_choose_and_is_named() -> None:
    rng = np.random.default_rng(4)
    answers = rng.integers(0, 2, 300)
    scores = 1 / (1 + np.exp(-(rng.normal(0, 1, 300) + 2 * answers - 1)))[:, None]
    who = [f"p{k}" for k in range(300)]
    binary = LabelEncoding("binary", ("0", "1"), ("nodule",))
    given = {"sensitivity": 0.95, "specificity": 0.9, "cost": 10.0}
    cuts = {}
    for rule, target in given.items():
        plan = Validation(threshold_rule=rule, threshold_target=target)
        point = operating_point(scores, answers, who, binary, plan, seed=0, chosen_on="here")
        cuts[rule] = point.values[0]
        assert f"{target:g}" in point.rule
        assert rule == "cost" or point.low is not None  # too few are missed to bound a cost
    called = {rule: scores[:, 0] >= cut for rule, cut in cuts.items()}
    assert called["sensitivity"][answers == 1].mean() >= 0.95
    assert (~called["specificity"][answers == 0]).mean() >= 0.9

    def paid(cut: float) -> float:
        said = scores[:, 0] >= cut
        return float((said & (answers == 0)).sum() + 10 * (~said & (answers == 1)).sum())

    assert paid(cuts["cost"]) == min(paid(float(c)) for c in np.append(scores[:, 0], 2.0))


@pytest.mark.parametrize("rule", ["sensitivity", "specificity", "cost"])
def test_a_rule_without_its_target_is_refused(rule: str) -> None:
    with pytest.raises(BadInput, match="threshold_target"):
        Plan().changed({"validation.threshold_rule": rule})
