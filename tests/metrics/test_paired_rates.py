"""Rates, losses and average precision of two models on the same cases."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom, binomtest, chi2

from hounsfield.core.errors import BadInput
from hounsfield.metrics.paired import average_precision_difference, loss_difference, rate_difference


def two_readers(seed, n=200, better=0.1):
    rng = np.random.default_rng(seed)
    answers = np.arange(n) % 2
    hard = rng.random(n)
    first = np.where(hard < 0.8 + better, answers, 1 - answers)
    second = np.where(hard + rng.normal(size=n) * 0.1 < 0.8, answers, 1 - answers)
    return first, second, answers


def test_interval_is_tangos():
    """Fagerland, Lydersen & Laake, Stat Med 2014;33:2850: 1, 1, 7, 12 gives -0.517 to -0.026."""
    first, second = np.repeat([1, 1, 0, 0], [1, 1, 7, 12]), np.repeat([1, 0, 1, 0], [1, 1, 7, 12])
    found = rate_difference(first, second, np.ones(21, int), rate="sensitivity").difference
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_p_value_is_mcnemars_mid_p():
    first, second, answers = two_readers(0)
    right, other = first == answers, second == answers
    b, c = int((right & ~other).sum()), int((~right & other).sum())
    exact = binomtest(min(b, c), b + c, 0.5).pvalue
    expected = exact - binom.pmf(min(b, c), b + c, 0.5)
    assert rate_difference(first, second, answers, rate="accuracy").p_value == pytest.approx(expected)


def test_clustered_p_value_is_mcnemars_where_clusters_are_many_and_single():
    first, second, answers = two_readers(1, n=2000)
    who = np.arange(2000) // 1
    who[1] = 0
    right, other = first == answers, second == answers
    b, c = (right & ~other).sum(), (~right & other).sum()
    clustered = rate_difference(first, second, answers, rate="accuracy", patients=who).p_value
    assert clustered == pytest.approx(chi2.sf((b - c) ** 2 / (b + c), 1), rel=0.15)


def test_copies_add_no_certainty():
    first, second, answers = two_readers(2)
    who = np.tile(np.arange(200), 4)
    four = [np.tile(x, 4) for x in (first, second, answers)]
    for rate in ("sensitivity", "specificity", "accuracy"):
        one = rate_difference(first, second, answers, rate=rate)
        many = rate_difference(*four, rate=rate, patients=who)
        width = one.difference.high - one.difference.low
        assert many.difference.high - many.difference.low == pytest.approx(width, rel=0.05)
        assert many.p_value == pytest.approx(one.p_value, abs=0.03)
        naive = rate_difference(*four, rate=rate)
        assert naive.difference.high - naive.difference.low < 0.6 * width


def test_false_alarms_are_near_one_in_twenty():
    alarms, clustered = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        answers, who = np.ones(120, int), np.arange(120) // 3
        own = rng.normal(size=40)[who]
        first, second = (own + rng.normal(size=120) < 1 for _ in range(2))
        alarms.append(
            rate_difference(first[::3], second[::3], answers[::3], rate="sensitivity").p_value < 0.05
        )
        clustered.append(
            rate_difference(first, second, answers, rate="sensitivity", patients=who).p_value < 0.05
        )
    assert np.mean(alarms) <= 0.07 and 0.02 <= np.mean(clustered) <= 0.08


def test_the_same_calls_differ_by_nothing_but_leave_room():
    first, _, answers = two_readers(3)
    found = rate_difference(first, first, answers, rate="accuracy")
    assert found.difference.value == 0 and found.p_value == 1
    assert found.difference.low < 0 < found.difference.high


def test_loss_differences_are_paired_and_as_wide_as_t_intervals():
    rng = np.random.default_rng(4)
    logit = rng.normal(size=300)
    answers = (rng.random(300) < expit(logit)).astype(int)
    good, bad = expit(logit), expit(2 * logit + 1)
    losses = [(p - answers) ** 2 for p in (good, bad)]
    gap = losses[0] - losses[1]
    found = loss_difference(good, bad, answers, loss="brier").difference
    assert found.value == pytest.approx(gap.mean()) and found.high < 0
    assert found.high - found.low == pytest.approx(2 * 1.96793 * gap.std(ddof=1) / np.sqrt(300), rel=0.01)
    logs = [-np.log(np.where(answers == 1, p, 1 - p)) for p in (good, bad)]
    assert loss_difference(good, bad, answers).difference.value == pytest.approx((logs[0] - logs[1]).mean())


def test_average_precision_difference_is_sharper_than_two_intervals():
    rng = np.random.default_rng(5)
    answers, shared = np.arange(300) % 3 == 0, rng.normal(size=300)
    first = shared + rng.normal(size=300) * 0.4 + 1.2 * answers
    second = shared + rng.normal(size=300) * 0.4 + answers
    found = average_precision_difference(first, second, answers)
    boot = []
    from sklearn.metrics import average_precision_score

    for _ in range(400):
        again = rng.integers(0, 300, 300)
        one, two = (average_precision_score(answers[again], s[again]) for s in (first, second))
        boot.append(one - two)
    width = found.difference.high - found.difference.low
    assert width == pytest.approx(np.std(boot) * 2 * 1.97, rel=0.15)


def test_few_cases_print_no_difference():
    few = [0, 1, 1, 0]
    for found in (
        rate_difference(few, few, few, rate="accuracy"),
        loss_difference([0.5] * 4, [0.4] * 4, few),
        average_precision_difference([0.5] * 4, [0.4] * 4, few),
    ):
        assert found.difference.value is None and found.p_value is None and found.difference.reason


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rate_difference([0, 1], [0, 1], [0, 1], rate="f1"), 'the rate is "f1"'),
        (lambda: rate_difference([0, 1], [0], [0, 1], rate="accuracy"), "same number"),
        (lambda: loss_difference([0.1] * 20, [0.2] * 20, [0, 1] * 10, loss="hinge"), 'the loss is "hinge"'),
        (lambda: loss_difference([1.1, 0], [0, 0], [0, 1]), "probabilities"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(call, words):
    with pytest.raises(BadInput, match=words):
        call()
