"""A case goes to a reader for a reason; the rule is fitted on others, and says so where it cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Model, OperatingPoint, Referral, Typicality
from hounsfield.core.plan import Plan, Validation
from hounsfield.core.predictions import Referrals
from hounsfield.steps.calibrate import cross_fitted
from hounsfield.steps.cross_referred import cross_referred
from hounsfield.steps.refer import (
    NOT_LIKELY,
    NOT_SURE,
    SEVERAL,
    UNLIKE,
    class_sets,
    confidence_of,
    referral_rule,
    referrals_of,
    set_in_words,
)

TWO = LabelEncoding("binary", ("no", "yes"))
THREE = LabelEncoding("multiclass", ("a", "b", "c"))
MANY = LabelEncoding("multilabel", ("a", "b"))


def _binary(
    n: int, seed: int = 0, spread: float = 2.0
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str]]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, n)
    answers = (rng.random(n) < expit(logits)).astype(np.int64)
    return expit(logits)[:, None], answers, [f"p{k}" for k in range(n)]


def _rule(n: int = 400, seed: int = 0, spread: float = 2.0, **plan: float) -> Referral:
    scores, answers, patients = _binary(n, seed, spread)
    called = (scores[:, 0] >= 0.5).astype(np.int64)
    return referral_rule(scores, called, answers, patients, TWO, Validation(**plan), thresholds=(0.5,))


def _model(encoding: LabelEncoding, rule: Referral | None, **plan: float) -> Model:
    thresholds = () if encoding.kind == "multiclass" else (0.5,) * encoding.outputs
    point = OperatingPoint(thresholds, "half", "")
    return Model(Path("m"), Plan(validation=Validation(**plan)), encoding, (), point, referral=rule)


def _told(
    model: Model, scores: NDArray[np.float64], called: NDArray[np.int64], unlike: list[str] | None = None
) -> Referrals:
    p = np.full(len(scores), 0.5)
    found = referrals_of(model, scores, called, typicality=p, unlike=unlike or [""] * len(scores))
    assert found is not None
    return found


def test_sets_hold_the_right_class_as_often_as_promised_in_each_class() -> None:
    held = []
    for seed in range(40):
        rule = _rule(300, seed)
        scores, answers, _ = _binary(2000, 1000 + seed)
        inside = class_sets(scores, TWO, rule)[np.arange(2000), answers]
        held.append([inside[answers == c].mean() for c in (0, 1)])
    assert np.mean(held, axis=0) == pytest.approx([0.9, 0.9], abs=0.012)


def test_a_class_with_too_few_patients_is_never_ruled_out_and_is_named() -> None:
    scores, answers, patients = _binary(60)
    few = np.flatnonzero((answers == 0) | (np.cumsum(answers) <= 8))  # eight patients with "yes"
    scores, answers, patients = scores[few], answers[few], [patients[k] for k in few]
    rule = referral_rule(scores, answers, answers, patients, TWO, Validation(), thresholds=(0.5,))
    assert rule.quantiles[0][1] == np.inf and np.isfinite(rule.quantiles[0][0])
    assert rule.notes == (
        '"yes" can never be ruled out: 8 validation patients have it, and an error of 0.1 needs 9 or more',
    )
    model = _model(TWO, rule)
    assert _told(model, np.array([[0.001]]), np.array([0])).reasons == ((SEVERAL,),)


def test_with_nine_patients_of_a_class_it_can_be_ruled_out() -> None:
    answers = np.array([0] * 9 + [1] * 9)
    scores = np.where(answers == 1, 0.9, 0.1)[:, None]
    rule = referral_rule(
        scores, answers, answers, list(map(str, range(18))), TWO, Validation(), thresholds=(0.5,)
    )
    assert rule.notes == () and np.isfinite(rule.quantiles).all()


def test_each_reason_is_given_for_what_it_says() -> None:
    rule = Referral(0.1, ((0.6, 0.6),), error_limit=0.05, confidence=0.7, n=100, n_patients=100)
    scores = np.array([[0.1], [0.5], [0.1], [0.62]])
    told = _told(_model(TWO, rule), scores, np.array([0, 1, 0, 1]), ["", "", "its tones", ""])
    assert told.reasons == ((), (NOT_SURE, SEVERAL), (UNLIKE,), (NOT_SURE,))
    assert told.refer.tolist() == [False, True, True, True]
    assert told.counts == {NOT_SURE: 2, SEVERAL: 1, UNLIKE: 1}
    narrow = replace(rule, quantiles=((0.05, 0.05),), confidence=0.5)
    assert _told(_model(TWO, narrow), scores[:1], np.array([0])).reasons == ((NOT_LIKELY,),)


def test_a_called_class_outside_its_set_goes_to_a_reader() -> None:
    """A threshold far from one half calls a class that the set does not hold."""
    rule = Referral(0.1, ((0.5, 0.5),))
    assert _told(_model(TWO, rule), np.array([[0.2]]), np.array([1])).reasons == ((NOT_LIKELY,),)


def test_a_limit_that_cannot_be_shown_refers_every_case_and_says_so() -> None:
    rule = _rule(400, error_limit=0.001, conformal_error=0.0)
    assert rule.confidence is None and "every case goes to a reader" in rule.notes[0]
    scores = np.array([[0.0], [1.0]])
    assert _told(_model(TWO, rule), scores, np.array([0, 1])).reasons == ((NOT_SURE,), (NOT_SURE,))


def test_a_limit_that_can_be_shown_holds_for_new_cases() -> None:
    errors = []
    for seed in range(30):
        rule = _rule(1000, seed, spread=4.0, error_limit=0.08, conformal_error=0.0)
        scores, answers, _ = _binary(3000, 1000 + seed, spread=4.0)
        called = (scores[:, 0] >= 0.5).astype(np.int64)
        told = _told(_model(TWO, rule), scores, called)
        assert 0 < told.refer.mean() < 1 and set(told.counts) == {NOT_SURE}
        errors.append((called != answers)[~told.refer].mean())
    assert np.mean(np.array(errors) <= 0.08) >= 0.9 and np.mean(errors) > 0.02


def test_nothing_is_referred_where_the_plan_asks_for_nothing() -> None:
    rule = _rule(100, conformal_error=0.0)
    told = _told(_model(TWO, rule), np.array([[0.5]]), np.array([1]))
    assert not told.refer.any() and told.sets.shape == (1, 0) and told.notes == ()


def test_a_model_without_a_rule_cannot_tell() -> None:
    nothing = np.array([np.nan])
    model = _model(TWO, None)
    assert referrals_of(model, np.array([[0.5]]), np.array([1]), typicality=nothing, unlike=[""]) is None


def test_several_classes_have_sets_of_classes() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (900, 3))
    scores = softmax(logits, 1)
    answers = (scores.cumsum(1) < rng.random((900, 1))).sum(1)
    rule = referral_rule(
        scores[:600], scores[:600].argmax(1), answers[:600], list(map(str, range(600))), THREE,
        Validation(), thresholds=(),
    )  # fmt: skip
    told = _told(_model(THREE, rule), scores[600:], scores[600:].argmax(1))
    assert 0.85 < told.sets[np.arange(300), answers[600:]].mean() < 0.96
    wide = told.sets.sum(1) > 1
    assert [SEVERAL in why for why in told.reasons] == wide.tolist() and 0.1 < wide.mean() < 1
    assert set_in_words(np.array([True, False, True]), THREE) == "a|c"


def test_every_finding_of_several_has_a_set_of_its_own() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, [4, 0.1], (600, 2))
    answers = (rng.random((600, 2)) < expit(logits)).astype(np.int64)
    scores = expit(logits)
    patients = [f"p{k // 2}" for k in range(600)]
    called = (scores >= 0.5).astype(np.int64)
    rule = referral_rule(scores, called, answers, patients, MANY, Validation(), thresholds=(0.5, 0.5))
    sets = class_sets(scores, MANY, rule).reshape(600, 2, 2)
    unsure = (sets.sum(2) > 1).mean(0)
    assert unsure[0] < 0.3 < unsure[1]
    held = np.take_along_axis(sets, answers[:, :, None], 2)[:, :, 0].mean(0)
    assert held == pytest.approx([0.9, 0.9], abs=0.03)
    told = _told(_model(MANY, rule), scores, called)
    assert np.array_equal(told.sets.reshape(600, 2, 2), sets) and SEVERAL in told.counts
    assert set_in_words(np.array([False, True, True, True]), MANY) == "a|b?"
    assert set_in_words(np.array([True, False, False, False]), MANY) == "b?"


def test_confidence_falls_to_one_half_at_the_threshold() -> None:
    found = confidence_of(np.array([[0.0], [0.05], [0.1], [0.55], [1.0]]), TWO, (0.1,))
    np.testing.assert_allclose(found, [1.0, 0.75, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(confidence_of(np.array([[0.9, 0.4]]), MANY, (0.5, 0.5)), [0.6])
    np.testing.assert_allclose(confidence_of(np.array([[0.2, 0.7, 0.1]]), THREE, ()), [0.7])


def _crossed(limit: float, answers: NDArray[np.int64]) -> Referrals:
    scores, _, _ = _binary(240)
    logits = np.log(scores / (1 - scores))
    patients, fold = [f"p{k // 2}" for k in range(240)], (np.arange(240) // 2) % 4
    seen = logits, np.arange(240)
    plan = Validation(error_limit=limit)
    crossed = cross_fitted(logits, answers, patients, fold, TWO, plan, seen=seen)
    model = _model(TWO, _rule(), error_limit=limit)
    found = cross_referred(
        model, logits, answers, patients, fold, crossed, seen=seen,
        typicality=np.linspace(0, 1, 240), unlike=[""] * 240,
    )  # fmt: skip
    assert found is not None
    return found


@pytest.mark.parametrize("limit", [0.0, 0.2])
def test_no_fold_has_a_say_in_the_rule_that_refers_it(limit: float) -> None:
    answers = _binary(240)[1]
    inside = (np.arange(240) // 2) % 4 == 1
    told = _crossed(limit, answers)
    turned = _crossed(limit, np.where(inside, 1 - answers, answers))
    np.testing.assert_array_equal(told.sets[inside], turned.sets[inside])
    assert [told.reasons[k] for k in np.flatnonzero(inside)] == [
        turned.reasons[k] for k in np.flatnonzero(inside)
    ]
    assert (told.sets[~inside] != turned.sets[~inside]).any()
    np.testing.assert_array_equal(told.typicality, np.linspace(0, 1, 240))  # each in its own row again


def test_referrals_follow_the_rows_that_are_taken() -> None:
    told = _crossed(0.0, _binary(240)[1])
    some = told.take(np.array([5, 2]))
    assert some.reasons == (told.reasons[5], told.reasons[2])
    np.testing.assert_array_equal(some.sets, told.sets[[5, 2]])


def test_what_cannot_be_told_of_images_is_noted() -> None:
    model = replace(_model(TWO, Referral()), typicality=Typicality(note="too few"))
    assert _told(model, np.array([[0.5]]), np.array([1])).notes == ("too few",)
