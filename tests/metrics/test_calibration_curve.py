"""The smooth curve and its band, the logistic fits behind it, and the parts of the Brier score."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from hounsfield.metrics.calibration_curve import calibration_curve
from hounsfield.metrics.decomposition import brier_decomposition, isotonic
from hounsfield.metrics.logistic import fit_logistic, robust_covariance
from hounsfield.metrics.patients import Patients


def sampled(seed, n=1000, slope=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    true = rng.normal(size=n) * 1.5
    return expit(true), (rng.random(n) < expit(slope * true + shift)).astype(int)


def test_logistic_fit_equals_scikit_learns_without_penalty():
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(500), rng.normal(size=(500, 3))])
    answers = rng.random(500) < expit(design @ [0.3, 1.0, -0.5, 0.0])
    model = LogisticRegression(C=1e12, tol=1e-10, fit_intercept=False).fit(design, answers)
    assert fit_logistic(design, answers) == pytest.approx(model.coef_[0], abs=1e-5)


def test_logistic_fit_of_separated_classes_is_none():
    design = np.column_stack([np.ones(20), np.arange(20)])
    assert fit_logistic(design, np.arange(20) >= 10) is None
    assert fit_logistic(np.ones((20, 2)), np.arange(20) >= 10) is None


def test_sandwich_is_that_of_the_textbook_and_counts_patients():
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(300), rng.normal(size=300)])
    answers = rng.random(300) < expit(design[:, 1])
    fit = fit_logistic(design, answers)
    p = expit(design @ fit)
    bread = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)
    leverage = np.diag(design @ bread @ design.T) * p * (1 - p)
    pulls = design * ((answers - p) / (1 - leverage))[:, None]
    expected = bread @ pulls.T @ pulls @ bread * 299 / 300
    alone = robust_covariance(design, answers, fit, Patients.of(None, cases=300))
    assert alone == pytest.approx(expected)
    who = Patients.of(np.tile(np.arange(300), 3), cases=900)
    thrice = robust_covariance(np.tile(design, (3, 1)), np.tile(answers, 3), fit, who)
    assert thrice == pytest.approx(expected, rel=0.03)


def test_curve_of_a_bent_model_follows_the_truth():
    rng = np.random.default_rng(2)
    score = rng.random(20_000)
    true = score**2
    curve = calibration_curve(score, rng.random(20_000) < true)
    assert curve.method.startswith("logistic spline of 4 knots")
    # The spline bends less than the truth at the very ends; elsewhere it lies on it.
    middle = (curve.score > 0.1) & (curve.score < 0.95)
    assert np.abs(curve.observed - curve.score**2)[middle].max() < 0.025
    assert curve.mean_error == pytest.approx(np.abs(score - true).mean(), abs=0.01)


def test_band_is_wider_than_the_interval_and_both_hold_the_curve():
    curve = calibration_curve(*sampled(3))
    assert (curve.band_low < curve.low).all() and (curve.low < curve.observed).all()
    assert (curve.observed < curve.high).all() and (curve.high < curve.band_high).all()
    assert (np.diff(curve.score) > 0).all() and len(curve.score) == 101


def test_fewer_cases_get_fewer_knots():
    assert "3 knots" in calibration_curve(*sampled(4, n=200)).method
    assert calibration_curve(*sampled(4, n=60)).method.startswith("logistic line")


def test_a_line_is_the_recalibration_of_slope_and_constant():
    score, answers = sampled(5, n=80, slope=0.5)
    model = LogisticRegression(C=1e12, tol=1e-10).fit(logit(score)[:, None], answers)
    curve = calibration_curve(score, answers)
    assert curve.observed == pytest.approx(model.predict_proba(logit(curve.score)[:, None])[:, 1], abs=1e-5)


def test_copies_of_a_patients_images_add_no_certainty():
    score, answers = sampled(6, n=400)
    one = calibration_curve(score, answers)
    four = calibration_curve(np.tile(score, 4), np.tile(answers, 4), patients=np.tile(np.arange(400), 4))
    middle = 50
    if one.method == four.method:
        assert four.high[middle] - four.low[middle] == pytest.approx(
            one.high[middle] - one.low[middle], rel=0.02
        )
    naive = calibration_curve(np.tile(score, 4), np.tile(answers, 4))
    assert naive.high[middle] - naive.low[middle] < 0.6 * (four.high[middle] - four.low[middle])


@pytest.mark.parametrize(
    ("score", "answers", "words"),
    [
        ([0.2, 0.8] * 8, [0, 1] * 8, "n = 8 in the smaller class"),
        ([0.5] * 40, [0, 1] * 20, "constant or separate"),
        ([0.1, 0.2] * 10 + [0.8, 0.9] * 10, [0] * 20 + [1] * 20, "constant or separate"),
    ],
)
def test_no_curve_is_drawn_where_there_is_none(score, answers, words):
    curve = calibration_curve(score, answers)
    assert not len(curve.observed) and curve.mean_error is None and words in curve.reason


def test_isotonic_equals_scikit_learns_with_ties_taken_together():
    rng = np.random.default_rng(7)
    score = np.round(rng.random(300), 1)
    answers = (rng.random(300) < score).astype(float)
    expected = IsotonicRegression().fit(score, answers).predict(score)
    assert isotonic(score, answers) == pytest.approx(expected)


def test_the_parts_of_the_brier_score_add_up():
    score, answers = sampled(8, slope=0.6)
    brier, wrong, sharp, unsure = brier_decomposition(score, answers)
    assert brier.value == pytest.approx(brier_score_loss(answers, score))
    mended = isotonic(score, answers.astype(float))
    assert wrong.value == pytest.approx(brier.value - brier_score_loss(answers, mended))
    assert unsure.value == pytest.approx(answers.mean() * (1 - answers.mean()))
    assert brier.value == pytest.approx(wrong.value - sharp.value + unsure.value)
    for part in (brier, wrong, sharp, unsure):
        assert part.low <= part.value <= part.high


def test_miscalibration_of_a_calibrated_model_reaches_zero_and_of_a_wrong_one_does_not():
    assert brier_decomposition(*sampled(9))[1].low == 0
    score, answers = sampled(10, n=2000)
    assert brier_decomposition(1 - score, answers)[1].low > 0.1


def test_parts_of_few_cases_are_refused():
    assert all(part.value is None for part in brier_decomposition([0.1, 0.9] * 4, [0, 1] * 4))
