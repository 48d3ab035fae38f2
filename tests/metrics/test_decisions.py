"""Predictive values at a prevalence, net benefit, operating points and their sites."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from hounsfield.core.errors import BadInput
from hounsfield.metrics.net_benefit import decision_curve, net_benefit
from hounsfield.metrics.operating import (
    MIN_FOR_OWN_THRESHOLD,
    operating_point,
    sensitivity_at,
    site_points,
    specificity_at,
)
from hounsfield.metrics.predictive import predictive_values


def sampled(seed=0, n=1000, gap=1.5):
    rng = np.random.default_rng(seed)
    answers = (rng.random(n) < 0.4).astype(int)
    return rng.normal(size=n) + gap * answers, answers


def probabilities(seed=0, n=1000):
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=n) * 1.5 - 1
    return expit(logit), (rng.random(n) < expit(logit)).astype(int)


def test_predictive_values_follow_bayes():
    scores, answers = sampled()
    called = scores > 1
    sensitivity, specificity = called[answers == 1].mean(), (~called)[answers == 0].mean()
    ppv, npv = predictive_values(answers, called, prevalence=0.02)
    expected = 0.02 * sensitivity / (0.02 * sensitivity + 0.98 * (1 - specificity))
    assert ppv.value == pytest.approx(expected)
    assert npv.value == pytest.approx(0.98 * specificity / (0.98 * specificity + 0.02 * (1 - sensitivity)))
    own = predictive_values(answers, called, prevalence=answers.mean())
    assert own[0].value == pytest.approx(answers[called].mean())


def test_predictive_interval_is_near_the_logit_interval_of_mercaldo_where_both_hold():
    scores, answers = sampled(n=4000)
    called, prevalence = scores > 1, 0.1
    n1, n0 = answers.sum(), (1 - answers).sum()
    sens, spec = called[answers == 1].mean(), (~called)[answers == 0].mean()
    error = np.sqrt((1 - sens) / (sens * n1) + spec / ((1 - spec) * n0))
    ppv, _ = predictive_values(answers, called, prevalence=prevalence)
    logit = np.log(ppv.value / (1 - ppv.value))
    assert (ppv.low, ppv.high) == pytest.approx(
        (expit(logit - 1.96 * error), expit(logit + 1.96 * error)), abs=0.002
    )


def test_predictive_values_at_the_edges_keep_room():
    answers = np.repeat([1, 0], 40)
    perfect = predictive_values(answers, answers, prevalence=0.1)
    assert perfect[0].value == 1 and perfect[0].low < 0.7 and perfect[0].high == 1
    never = predictive_values(answers, np.zeros(80, int), prevalence=0.1)
    assert never[0].value is None and never[0].reason == "no case was called: the ppv is not defined"
    assert never[1].value == pytest.approx(0.9)
    wrong = predictive_values(answers, 1 - answers, prevalence=0.1)
    assert wrong[0].value == 0 and 0 < wrong[0].high < 0.2


def test_predictive_values_are_clustered_and_refused_below_the_smallest_n():
    scores, answers = sampled(n=200)
    called = scores > 1
    one = predictive_values(answers, called, prevalence=0.1)[0]
    five = predictive_values(
        np.tile(answers, 5), np.tile(called, 5), prevalence=0.1, patients=np.tile(np.arange(200), 5)
    )[0]
    assert five.high - five.low == pytest.approx(one.high - one.low, rel=0.05)
    refused = predictive_values([1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 1], prevalence=0.1)
    assert refused[0].value is None and "too few" in refused[0].reason
    with pytest.raises(BadInput, match="prevalence is 1"):
        predictive_values(answers, called, prevalence=1)


def test_net_benefit_is_vickers_formula():
    scores, answers = probabilities()
    for t in (0.1, 0.3, 0.7):
        called = scores >= t
        expected = (called & (answers == 1)).mean() - (called & (answers == 0)).mean() * t / (1 - t)
        row = net_benefit(scores, answers, threshold=t)
        assert row.value == pytest.approx(expected) and row.low < row.value < row.high
    same = net_benefit(scores, answers, threshold=0.3, prevalence=answers.mean())
    assert same.value == pytest.approx(net_benefit(scores, answers, threshold=0.3).value)


def test_decision_curve_holds_treat_all_and_the_gain_over_the_better_of_all_and_none():
    scores, answers = probabilities()
    cuts = np.array([0.05, 0.2, 0.5, 0.8])
    curve = decision_curve(scores, answers, thresholds=cuts)
    assert curve.treat_all == pytest.approx(answers.mean() - (1 - answers.mean()) * cuts / (1 - cuts))
    assert curve.gain == pytest.approx(curve.value - np.maximum(curve.treat_all, 0))
    assert (curve.band_low <= curve.low).all() and (curve.high <= curve.band_high).all()
    assert ((curve.gain_low <= curve.gain) & (curve.gain <= curve.gain_high)).all()
    everyone = decision_curve(np.ones(1000), answers, thresholds=cuts)
    assert everyone.value == pytest.approx(everyone.treat_all)


def test_a_decision_curve_where_no_one_is_called_still_has_room():
    scores, answers = probabilities()
    curve = decision_curve(scores * 0.5, answers, thresholds=[0.9])
    assert curve.value[0] == 0 and curve.low[0] < 0 < curve.high[0]


def test_decision_curve_band_is_wider_than_each_interval_and_clustered():
    scores, answers = probabilities(n=300)
    cuts = np.linspace(0.05, 0.6, 12)
    one = decision_curve(scores, answers, thresholds=cuts)
    who = np.tile(np.arange(300), 4)
    four = decision_curve(np.tile(scores, 4), np.tile(answers, 4), thresholds=cuts, patients=who)
    assert four.high - four.low == pytest.approx(one.high - one.low, rel=0.05)
    widening = (one.band_high - one.band_low) / (one.high - one.low)
    assert widening == pytest.approx(np.full(12, widening[0])) and 1.1 < widening[0] < 1.7


def test_few_cases_draw_no_decision_curve():
    curve = decision_curve([0.2, 0.8] * 5, [0, 1] * 5)
    assert not len(curve.value) and "too few" in curve.reason
    assert net_benefit([0.2, 0.8] * 5, [0, 1] * 5, threshold=0.5).value is None
    with pytest.raises(BadInput, match="threshold probability"):
        decision_curve([0.2, 0.8], [0, 1], thresholds=[0, 0.5])


def test_rates_in_use_do_not_flatter():
    """Pure noise: the cases that chose the threshold look better than chance, others hardly."""
    flattered, honest = [], []
    for seed in range(60):
        scores, answers = sampled(seed, n=60, gap=0)
        point = operating_point(scores, answers)
        flattered.append(point.threshold.sensitivity + point.threshold.specificity)
        honest.append(point.sensitivity.value + point.specificity.value)
    assert np.mean(flattered) > 1.15 and abs(np.mean(honest) - 1) < 0.08


def test_a_patients_images_never_choose_the_threshold_they_are_called_by():
    scores, answers = sampled(1, n=120)
    who = np.tile(np.arange(120), 3)
    one = operating_point(scores, answers, patients=np.arange(120))
    three = operating_point(np.tile(scores, 3), np.tile(answers, 3), patients=who)
    assert three.sensitivity.value == pytest.approx(one.sensitivity.value)
    assert (
        three.sensitivity.n == 3 * one.sensitivity.n
        and three.sensitivity.n_patients == one.sensitivity.n_patients
    )


def test_specificity_at_a_sensitivity_is_a_point_of_the_curve():
    scores, answers = sampled(2, n=4000)
    row = specificity_at(scores, answers, sensitivity=0.9)
    true = norm.cdf(norm.ppf(0.1) + 1.5)
    assert row.name == "specificity_at_sensitivity" and row.group == "0.9"
    assert row.low < true < row.high and row.high - row.low < 0.12
    mirrored = sensitivity_at(-scores, 1 - answers, specificity=0.9)
    assert mirrored.value == pytest.approx(row.value) and mirrored.n == row.n


def test_specificity_at_a_sensitivity_says_what_it_cannot():
    assert "too few" in specificity_at([0.1, 0.9] * 6, [0, 1] * 6, sensitivity=0.9).reason
    perfect = specificity_at([0.1, 0.9] * 20, [0, 1] * 20, sensitivity=0.9)
    assert perfect.value == 1 and perfect.low < 0.9
    with pytest.raises(BadInput, match="above 0 and below 1"):
        specificity_at([0.1, 0.9], [0, 1], sensitivity=1)


def test_a_site_gets_its_own_threshold_only_where_it_is_large_enough():
    scores, answers = sampled(3, n=400)
    sites = np.where(np.arange(400) < 60, "small", "large")
    points = {point.group: point for point in site_points(scores, answers, sites, threshold=0.8)}
    assert points["small"].own is None and f"({MIN_FOR_OWN_THRESHOLD})" in points["small"].reason
    own = points["large"].own
    assert own is not None and own.threshold.low < own.threshold.high
    inside = (sites == "large") & (answers == 1)
    assert points["large"].sensitivity.value == pytest.approx((scores[inside] >= 0.8).mean())
    assert points["small"].specificity.group == "small"


def test_few_cases_have_no_rates_in_use():
    point = operating_point([0.1, 0.9] * 6, [0, 1] * 6)
    assert point.sensitivity.value is None and "too few" in point.sensitivity.reason
