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
