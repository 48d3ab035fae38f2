"""Paired means are those of the field's t test, count patients once, and refuse few cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hounsfield.core.errors import BadInput
from hounsfield.metrics.paired_means import mean_difference


def _numbers(seed: int, *, n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    hard = rng.normal(0.85, 0.1, n)
    return hard + rng.normal(0.01, 0.02, n), hard + rng.normal(0, 0.02, n)


def test_one_case_a_patient_is_the_paired_t_test() -> None:
    first, second = _numbers(0)
    known = stats.ttest_rel(first, second)
    bounds = known.confidence_interval(0.95)
    found = mean_difference(first, second, name="dice")
    assert found.p_value == pytest.approx(known.pvalue)
    assert (found.difference.low, found.difference.high) == pytest.approx((bounds.low, bounds.high))


def test_copies_of_a_case_add_no_certainty() -> None:
    first, second = _numbers(1)
    alone = mean_difference(first, second, name="dice").difference
    who = np.repeat(np.arange(30), 4)
    copied = mean_difference(np.repeat(first, 4), np.repeat(second, 4), name="dice", patients=who).difference
    assert (copied.value, copied.low, copied.high) == pytest.approx((alone.value, alone.low, alone.high))


def test_every_stratum_weighs_the_same_and_a_patient_is_one_cluster() -> None:
    first, second = _numbers(2)
    strata, who = ["a"] * 20 + ["b"] * 10, [*range(20), *range(10)]
    found = mean_difference(first, second, name="dice", strata=strata, patients=who).difference
    gap = first - second
    means = gap[:20].mean(), gap[20:].mean()
    assert found.value == pytest.approx(np.mean(means)) and found.n_patients == 20
    pull = (gap[:20] - means[0]) / 40
    pull[:10] += (gap[20:] - means[1]) / 20
    half = stats.t.ppf(0.975, 19) * np.sqrt((pull**2).sum() * 20 / 19)
    assert found.high - found.value == pytest.approx(half)


def test_a_model_does_not_differ_from_itself() -> None:
    first, _ = _numbers(3)
    found = mean_difference(first, first, name="dice")
    assert found.difference.value == 0 and found.p_value == 1


def test_false_alarms_are_near_one_in_twenty() -> None:
    alarms = []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        who = np.arange(60) // 3
        own = rng.gamma(1.0, 0.05, 20)[who]  # a skewed difficulty, shared by the cases of a patient
        first, second = (own * rng.normal(1, 0.5, 20)[who] + rng.normal(0, 0.02, 60) for _ in range(2))
        alarms.append(mean_difference(first, second, name="dice", patients=who).p_value < 0.05)
    assert 0.02 <= np.mean(alarms) <= 0.08


def test_few_cases_and_wrong_numbers_are_refused() -> None:
    assert mean_difference([0.1] * 4, [0.2] * 4, name="dice").difference.reason
    assert mean_difference([0.1] * 9, [0.2] * 9, name="dice", strata=["a"] * 6 + ["b"] * 3).p_value is None
    with pytest.raises(BadInput, match="not finite"):
        mean_difference([0.1, float("nan")], [0.2, 0.1], name="dice")
    with pytest.raises(BadInput, match="same cases"):
        mean_difference([0.1, 0.2], [0.2], name="dice")
