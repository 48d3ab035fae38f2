"""Thresholds against trying every one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from hounsfield.core.errors import BadInput
from hounsfield.metrics.thresholds import choose_threshold

N = 30
answers = np.arange(N) % 3 == 0
tied_scores = arrays(float, N, elements=st.integers(0, 6).map(lambda k: k / 6))
any_scores = arrays(float, N, elements=st.floats(-5, 5, allow_nan=False))
RULES = [
    ("youden", None),
    ("accuracy", None),
    ("f1", None),
    ("sensitivity", 0.8),
    ("specificity", 0.8),
    ("cost", 3.0),
]


def merit(scores, cut, rule, target):
    called = scores >= cut
    sensitivity, specificity = called[answers].mean(), (~called)[~answers].mean()
    false_positives, false_negatives = (called & ~answers).sum(), (~called & answers).sum()
    return {
        "youden": sensitivity + specificity - 1,
        "accuracy": (called == answers).mean(),
        "f1": sk.f1_score(answers, called, zero_division=0.0),
        "sensitivity": specificity if sensitivity >= 0.8 - 1e-12 else -1,
        "specificity": sensitivity if specificity >= 0.8 - 1e-12 else -1,
        "cost": -(false_positives + (target or 0) * false_negatives),
    }[rule]


@pytest.mark.parametrize(("rule", "target"), RULES)
@settings(max_examples=40, deadline=None)
@given(scores=st.one_of(tied_scores, any_scores))
def test_no_threshold_is_better_than_the_chosen_one(rule, target, scores):
    chosen = choose_threshold(scores, answers, rule=rule, target=target, resamples=2)
    every = [*np.unique(scores), np.nextafter(scores.max(), np.inf)]
    best = max(merit(scores, cut, rule, target) for cut in every)
    assert merit(scores, chosen.value, rule, target) == pytest.approx(best, abs=1e-9)
    called = scores >= chosen.value
    assert chosen.sensitivity == pytest.approx(called[answers].mean())
    assert chosen.specificity == pytest.approx((~called)[~answers].mean())
    if chosen.low is not None:
        assert chosen.low <= chosen.value <= chosen.high


def test_a_gap_between_the_classes_is_cut_in_its_middle():
    chosen = choose_threshold([0.1, 0.2] * 10 + [0.6, 0.9] * 10, [0] * 20 + [1] * 20)
    assert chosen.value == pytest.approx(0.4)


def test_of_equally_good_stretches_the_widest_is_taken():
    scores = np.array([0.10, 0.11, 0.12, 0.50, 0.90] * 10)
    truth = np.array([0, 1, 0, 1, 1] * 10)
    chosen = choose_threshold(scores, truth, rule="accuracy")
    assert chosen.value == pytest.approx((0.12 + 0.50) / 2)


def test_neighbouring_floats_are_told_apart():
    low, high = 0.5, np.nextafter(0.5, 1)
    chosen = choose_threshold([low] * 20 + [high] * 20, [0] * 20 + [1] * 20)
    assert chosen.value == high and chosen.sensitivity == chosen.specificity == 1


def test_a_target_is_met_with_the_most_of_the_other():
    rng = np.random.default_rng(0)
    truth = rng.random(500) < 0.3
    scores = rng.normal(size=500) + truth
    for rule in ("sensitivity", "specificity"):
        strict = choose_threshold(scores, truth, rule=rule, target=0.95)
        loose = choose_threshold(scores, truth, rule=rule, target=0.7)
        assert getattr(strict, rule) >= 0.95
        other = "specificity" if rule == "sensitivity" else "sensitivity"
        assert getattr(loose, other) > getattr(strict, other)


def test_dear_misses_lower_the_threshold():
    rng = np.random.default_rng(1)
    truth = rng.random(500) < 0.3
    scores = rng.normal(size=500) + truth
    cheap, dear = (choose_threshold(scores, truth, rule="cost", target=ratio).value for ratio in (0.2, 20))
    assert dear < cheap


def test_the_interval_narrows_with_patients_and_not_with_their_copies():
    rng = np.random.default_rng(2)
    truth = rng.random(4000) < 0.5
    scores = rng.normal(size=4000) + 2 * truth

    def width(keep, times=1):
        patients = np.tile(np.arange(keep), times)
        chosen = choose_threshold(
            np.tile(scores[:keep], times),
            np.tile(truth[:keep], times),
            patients=patients,
            resamples=300,
        )
        return chosen.high - chosen.low

    assert width(4000) < 0.8 * width(200)
    assert width(200, times=5) == pytest.approx(width(200), rel=1e-6)


def test_one_seed_gives_one_interval_whatever_the_order():
    rng = np.random.default_rng(3)
    truth = rng.random(100) < 0.5
    scores, shuffle = rng.normal(size=100) + truth, rng.permutation(100)
    one = choose_threshold(scores, truth, patients=np.arange(100), seed=5)
    two = choose_threshold(scores[shuffle], truth[shuffle], patients=shuffle, seed=5)
    assert one == two


def test_few_cases_give_a_threshold_without_an_interval():
    chosen = choose_threshold([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert chosen.value == pytest.approx(0.5) and chosen.low is None
    assert chosen.reason == "n = 2 of a class: too few to print an interval"


@pytest.mark.parametrize(
    ("options", "truth", "words"),
    [
        ({}, [1, 1], "all 2 answers are 1"),
        ({"rule": "best"}, [0, 1], 'the rule is "best"'),
        ({"rule": "sensitivity"}, [0, 1], "target sensitivity is None"),
        ({"rule": "specificity", "target": 1.5}, [0, 1], "at most 1"),
        ({"rule": "cost"}, [0, 1], "false positives"),
        ({"target": 0.5}, [0, 1], "takes no target"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(options, truth, words):
    with pytest.raises(BadInput, match=words):
        choose_threshold([0.2, 0.8], truth, **options)


def test_a_threshold_of_a_sensitivity_lies_between_order_statistics():
    """100 findings at a sensitivity of .9: between the 4th and the 17th lowest, at 10 - .5 -+ 1.96 x 3."""
    rng = np.random.default_rng(4)
    truth = np.arange(300) < 100
    scores = rng.normal(size=300) + truth
    chosen = choose_threshold(scores, truth, rule="sensitivity", target=0.9)
    found = np.sort(scores[truth])
    low, high = np.interp([9.5 - 1.959964 * 3, 9.5 + 1.959964 * 3], np.arange(100), found)
    assert (chosen.low, chosen.high) == pytest.approx((low, high), abs=1e-5)
    assert found[3] < chosen.low < found[4] and found[15] < chosen.high < found[16]


def test_a_target_that_too_few_cases_can_bound_has_no_interval_and_says_why():
    scores, truth = np.arange(60.0), np.arange(60) >= 40
    chosen = choose_threshold(scores, truth, rule="sensitivity", target=0.95)
    assert chosen.low is None and chosen.sensitivity >= 0.95
    assert chosen.reason == "n = 20 with the finding: too few to bound a threshold for a sensitivity of 0.95"


def test_a_cost_that_is_hardly_ever_paid_bounds_nothing():
    rng = np.random.default_rng(7)
    truth = np.arange(200) < 100
    scores = rng.normal(size=200) + 1.5 * truth
    dear = choose_threshold(scores, truth, rule="cost", target=30.0)
    assert dear.low is None and "cases are missed at it" in dear.reason
    assert choose_threshold(scores, truth, rule="cost", target=1.0).low is not None


def test_a_finding_that_is_best_never_called_has_no_bound():
    rng = np.random.default_rng(8)
    truth = rng.random(400) < 0.1
    chosen = choose_threshold(rng.normal(size=400) + 0.3 * truth, truth, rule="accuracy")
    assert chosen.low is None and "it is best to call no one" in chosen.reason


def test_copies_do_not_narrow_the_interval_of_a_target():
    rng = np.random.default_rng(5)
    truth = rng.random(300) < 0.5
    scores = rng.normal(size=300) + truth
    one = choose_threshold(scores, truth, rule="specificity", target=0.8)
    who = np.tile(np.arange(300), 4)
    four = choose_threshold(
        np.tile(scores, 4), np.tile(truth, 4), rule="specificity", target=0.8, patients=who
    )
    assert four.high - four.low == pytest.approx(one.high - one.low, rel=0.15)


def test_a_prevalence_moves_the_cheapest_threshold_as_a_resampled_set_would():
    rng = np.random.default_rng(6)
    truth = np.arange(4000) % 2 == 0
    scores = rng.normal(size=4000) + 1.5 * truth
    rare = choose_threshold(scores, truth, rule="cost", target=5.0, prevalence=0.1, resamples=2).value
    # One positive in ten: every ninth negative weighs as nine, so give the misses a ninth of their cost.
    assert rare == choose_threshold(scores, truth, rule="cost", target=5.0 / 9, resamples=2).value
    assert rare > choose_threshold(scores, truth, rule="cost", target=5.0, resamples=2).value
    youden = choose_threshold(scores, truth, resamples=2).value
    assert choose_threshold(scores, truth, prevalence=0.01, resamples=2).value == youden
    with pytest.raises(BadInput, match="the prevalence is 0"):
        choose_threshold(scores, truth, prevalence=0)
