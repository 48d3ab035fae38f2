"""Holm by hand, Cochran's Q by the textbook, and false alarms in simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from hounsfield.metrics.heterogeneity import heterogeneity, holm, p_from_interval
from hounsfield.metrics.intervals import Estimate
from hounsfield.metrics.measured import rate

Z = 1.959963984540054


def symmetric(value, error):
    return Estimate("auroc", value, value - Z * error, value + Z * error, 100, 100)


def test_holm_by_hand():
    assert holm([0.01, 0.02, 0.03, 0.04]).tolist() == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.5, 0.001]).tolist() == pytest.approx([0.5, 0.002])
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(values):
    adjusted = holm(values)
    assert (adjusted >= np.array(values) - 1e-15).all() and (adjusted <= 1).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(adjusted[order]) >= -1e-15).all()


def test_q_of_symmetric_intervals_is_cochrans():
    values, errors = np.array([0.7, 0.8, 0.9, 0.75]), np.array([0.02, 0.03, 0.05, 0.04])
    weights = 1 / errors**2
    mean = (weights * values).sum() / weights.sum()
    q = (weights * (values - mean) ** 2).sum()
    found = heterogeneity([symmetric(v, e) for v, e in zip(values, errors, strict=True)])
    assert found.common == pytest.approx(mean) and found.statistic == pytest.approx(q)
    assert found.p_value == pytest.approx(chi2.sf(q, 3)) and found.i_squared == pytest.approx(1 - 3 / q)


def test_groups_that_share_patients_differ_less_by_chance():
    pair = [symmetric(0.8, 0.03), symmetric(0.86, 0.03)]
    together = np.array([[1.0, 0.8], [0.8, 1.0]])
    apart, shared = heterogeneity(pair), heterogeneity(pair, correlation=together)
    # The difference of two estimates with correlation .8 has a fifth of the variance.
    assert shared.statistic == pytest.approx(apart.statistic / 0.2)


def test_refused_groups_are_left_out():
    refused = Estimate.refuse("auroc", "n = 3: too few to print a number", n=3, n_patients=3)
    found = heterogeneity([symmetric(0.8, 0.03), refused])
    assert found.p_value is None and found.reason.startswith("1 of 2 groups")
    assert heterogeneity([symmetric(0.8, 0.03), refused, symmetric(0.9, 0.03)]).groups == 2


def test_a_small_perfect_group_raises_no_alarm():
    """12 of 12 right beside 90 % of a thousand: a Wald error of zero would make this certain."""
    told = [rate(12, 12, 12, 0.0), rate(900, 1000, 1000, 0.0)]
    assert heterogeneity([part.estimate("sensitivity") for part in told]).p_value > 0.2


def test_p_values_agree_with_their_intervals():
    assert p_from_interval(0.2, 0.0, 0.3) == pytest.approx(0.05)
    assert p_from_interval(-0.2, -0.3, 0.0) == pytest.approx(0.05)
    assert p_from_interval(0.2, 0.01, 0.9) < 0.05 < p_from_interval(0.2, -0.01, 0.21)
    assert p_from_interval(0.0, -1, 1) == 1 and p_from_interval(0.3, 0.3, 0.3) == 0


def test_groups_without_disparity_raise_an_alarm_in_about_one_of_twenty():
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(600):
        hits = rng.binomial([40, 80, 200, 30, 60], 0.9)
        parts = [rate(int(k), n, n, 0.0) for k, n in zip(hits, (40, 80, 200, 30, 60), strict=True)]
        alarms.append(heterogeneity([part.estimate("sensitivity") for part in parts]).p_value < 0.05)
    assert 0.02 <= np.mean(alarms) <= 0.07
