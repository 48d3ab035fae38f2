"""One proportion, and the rule that withholds a number."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from hounsfield.metrics.intervals import (
    Estimate,
    clopper_pearson,
    critical_value,
    fisher_interval,
    logit_interval,
    perfect_bound,
    shortage,
    wilson,
)

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=40, deadline=None)
@given(counts)
def test_wilson_and_exact_intervals_equal_scipy(case):
    successes, n = case
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = binomtest(successes, n).proportion_ci(method=method)
        assert ours(successes, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(counts)
def test_wilson_holds_the_value_inside_the_unit_interval(case):
    successes, n = case
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1


def test_no_case_gives_the_whole_scale():
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_narrower_level_gives_a_narrower_interval():
    wide, narrow = wilson(30, 40), wilson(30, 40, level=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_perfect_bound_is_the_exact_bound_without_failure():
    assert perfect_bound(30) == pytest.approx(clopper_pearson(30, 30)[0])
    assert perfect_bound(0) == 0.0


@settings(max_examples=40, deadline=None)
@given(st.floats(0.001, 0.999), st.floats(1e-6, 0.5))
def test_logit_interval_stays_inside_zero_and_one(value, error):
    low, high = logit_interval(value, error, critical=1.96)
    assert 0 <= low <= value <= high <= 1


def test_logit_interval_of_a_tiny_error_is_the_normal_one():
    assert logit_interval(0.7, 1e-5, critical=2.0) == pytest.approx((0.69998, 0.70002), abs=1e-8)
    assert logit_interval(0.7, 0.0, critical=2.0) == (0.7, 0.7)


def test_fisher_interval_is_symmetric_around_zero_and_bounded():
    low, high = fisher_interval(0.0, 0.2, critical=1.96)
    assert low == pytest.approx(-high)
    assert fisher_interval(0.99, 0.4, critical=1.96)[1] <= 1
    assert fisher_interval(1.0, 0.0, critical=1.96) == (1.0, 1.0)


def test_few_patients_raise_the_critical_value():
    assert critical_value() == pytest.approx(1.959964, abs=1e-6)
    assert critical_value(dof=4) > critical_value(dof=40) > critical_value()


@pytest.mark.parametrize(
    ("n", "patients", "expected"),
    [
        (3, 3, "n = 3: too few to print a number"),
        (40, 4, "n = 40 from 4 patients: too few patients to print a number"),
        (10, 5, ""),
    ],
)
def test_shortage_says_why(n, patients, expected):
    assert shortage(n=n, n_patients=patients, least=10) == expected


def test_a_refused_estimate_has_no_number_and_cannot_be_changed():
    refused = Estimate.refuse("auroc", "n = 3: too few to print a number", n=3, n_patients=2)
    assert refused.refused and refused.low is None and refused.high is None
    with pytest.raises(AttributeError):
        refused.value = 0.9


def test_extreme_logits_do_not_overflow():
    low, high = logit_interval(1e-9, 0.5, critical=2.0)
    assert math.isfinite(low) and math.isfinite(high) and 0 <= low <= high <= 1
