"""Two models on the same cases."""

import numpy as np
import pytest
from scipy import stats

from hounsfield.metrics.discrimination import auroc
from hounsfield.metrics.paired import auroc_difference


def kernel(scores, answers):
    found, clear = scores[answers == 1], scores[answers == 0]
    return (found[:, None] > clear) + 0.5 * (found[:, None] == clear)


def two_models(seed, n=120, better=1.0):
    rng = np.random.default_rng(seed)
    answers, shared = np.arange(n) % 2, rng.normal(size=n)
    first = shared + rng.normal(size=n) / 2 + better * answers
    return first, shared + rng.normal(size=n) / 2 + answers, answers


def test_variance_equals_delong_by_the_book():
    first, second, answers = two_models(0)
    gap = kernel(first, answers) - kernel(second, answers)
    error = np.sqrt(gap.mean(axis=1).var(ddof=1) / 60 + gap.mean(axis=0).var(ddof=1) / 60)
    result = auroc_difference(first, second, answers).difference
    assert result.value == pytest.approx(gap.mean())
    welch = stats.ttest_ind(gap.mean(axis=1), gap.mean(axis=0), equal_var=False).df
    assert (result.high - result.low) / 2 == pytest.approx(stats.t.ppf(0.975, welch) * error)


def test_pairing_is_sharper_than_two_separate_intervals():
    first, second, answers = two_models(1)
    paired = auroc_difference(first, second, answers).difference
    one, two = auroc(first, answers), auroc(second, answers)
    apart = np.hypot(one.high - one.low, two.high - two.low)
    assert paired.high - paired.low < 0.8 * apart


def test_a_model_does_not_differ_from_itself():
    first, _, answers = two_models(2)
    result = auroc_difference(first, first, answers)
    assert result.difference.value == 0 and result.p_value == 1


def test_false_alarms_are_near_one_in_twenty():
    alarms = [auroc_difference(*two_models(seed)).p_value < 0.05 for seed in range(400)]
    assert 0.025 <= np.mean(alarms) <= 0.08


def test_copies_add_no_certainty():
    first, second, answers = two_models(3, better=1.3)
    patients = np.tile(np.arange(120), 3)
    one = auroc_difference(first, second, answers).difference
    three = auroc_difference(
        np.tile(first, 3), np.tile(second, 3), np.tile(answers, 3), patients=patients
    ).difference
    assert three.high - three.low == pytest.approx(one.high - one.low, rel=0.03)


def test_few_cases_print_no_difference():
    result = auroc_difference([0.1, 0.9], [0.2, 0.8], [0, 1])
    assert result.difference.value is None and result.p_value is None


def test_scores_that_order_these_cases_alike_leave_a_difference_open_unless_they_are_the_same():
    scores, answers = np.arange(40.0), np.arange(40) % 2
    same = auroc_difference(scores, scores, answers).difference
    assert (same.low, same.high) == (0, 0)
    alike = auroc_difference(scores, scores**2, answers).difference
    assert (
        alike.value == 0 and alike.high == pytest.approx(1 - 0.025 ** (1 / 20)) and alike.low == -alike.high
    )
