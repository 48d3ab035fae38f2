"""Calibration errors against loops and scikit-learn, and fits that recover the truth."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from hounsfield.core.errors import BadInput
from hounsfield.metrics.calibration import brier, ece, reliability_curve, top_label
from hounsfield.metrics.patients import draw
from hounsfield.metrics.recalibration import calibration_slope_intercept, fit_temperature, softened


def sampled(seed, n=400, slope=1.0, shift=0.0):
    """Probabilities whose true logits are slope * logit + shift."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=n) * 1.5
    return expit(logit), (rng.random(n) < expit(slope * logit + shift)).astype(int)


def ece_by_loop(scores, answers, bins=15):
    error = 0.0
    for k in range(bins):
        inside = (scores > k / bins) & (scores <= (k + 1) / bins)
        if k == 0:
            inside |= scores == 0
        if inside.any():
            error += inside.mean() * abs(scores[inside].mean() - answers[inside].mean())
    return error


def test_brier_equals_scikit_learn():
    scores, answers = sampled(0)
    assert brier(scores, answers).value == pytest.approx(brier_score_loss(answers, scores))
    table = np.random.default_rng(1).dirichlet([1, 1, 1], 90)
    classes = np.arange(90) % 3
    expected = ((table - np.eye(3)[classes]) ** 2).sum(axis=1).mean()
    assert brier(table, classes).value == pytest.approx(expected, abs=1e-12)


def test_brier_interval_covers_half_width_of_the_t_interval():
    scores, answers = sampled(2)
    estimate = brier(scores, answers)
    error = ((scores - answers) ** 2).std(ddof=1) / np.sqrt(400)
    assert estimate.high - estimate.value == pytest.approx(1.9659 * error, rel=1e-3)


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_ece_equals_a_simple_loop(bins):
    scores, answers = sampled(3)
    expected = ece_by_loop(scores, answers, bins)
    assert ece(scores, answers, bins=bins).value == pytest.approx(expected, abs=1e-12)


def test_scores_on_bin_edges_belong_to_the_lower_bin():
    scores = np.array([0.0, 0.2, 0.2, 0.4, 1.0] * 4)
    answers = np.arange(20) % 2
    assert ece(scores, answers, bins=5).value == pytest.approx(ece_by_loop(scores, answers, 5))


def test_quantile_bins_hold_equal_numbers():
    scores, answers = sampled(4)
    curve = reliability_curve(scores, answers, bins=10, binning="quantile")
    assert [point.observed.n for point in curve] == [40] * 10


def test_reliability_curve_sums_to_the_calibration_error():
    scores, answers = sampled(5, n=2000)
    curve = reliability_curve(scores, answers)
    summed = sum(p.observed.n * abs(p.mean_score - p.observed.value) for p in curve) / 2000
    assert summed == pytest.approx(ece(scores, answers).value)
    for point in curve:
        assert point.low_edge < point.mean_score <= point.high_edge
        assert point.observed.low <= point.observed.value <= point.observed.high


def test_sparse_bins_keep_their_place_without_a_number():
    scores = np.array([0.05] * 20 + [0.95] * 3)
    rare = reliability_curve(scores, np.zeros(23, int))[-1]
    assert rare.observed.value is None and rare.observed.n == 3


def test_ece_of_a_calibrated_model_reaches_zero_and_of_a_wrong_one_does_not():
    assert ece(*sampled(6)).low == 0.0
    scores, answers = sampled(7, n=2000)
    assert ece(1 - scores, answers).low > 0.2


def test_top_label_is_the_likeliest_class():
    table = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    confidence, right = top_label(table, [1, 2])
    assert confidence.tolist() == [0.5, 0.6] and right.tolist() == [True, False]


def test_copies_of_a_patients_images_add_no_certainty():
    scores, answers = sampled(8, n=200)
    patients = np.tile(np.arange(200), 4)
    for metric in (brier, ece):
        one = metric(scores, answers)
        four = metric(np.tile(scores, 4), np.tile(answers, 4), patients=patients)
        assert four.high - four.value == pytest.approx(one.high - one.value, rel=0.05)


def test_recalibration_equals_an_unpenalised_logistic_regression():
    scores, answers = sampled(9, slope=0.6, shift=0.5)
    slope, intercept = calibration_slope_intercept(scores, answers)
    logit = np.log(scores / (1 - scores))[:, None]
    model = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(logit, answers)
    assert slope.value == pytest.approx(model.coef_[0, 0], rel=1e-4)
    shifted = expit(logit[:, 0] + intercept.value)
    assert shifted.mean() == pytest.approx(answers.mean(), abs=1e-9)


def test_recalibration_recovers_the_truth():
    slope, intercept = calibration_slope_intercept(*sampled(10, n=20_000, slope=0.5))
    assert slope.low < 0.5 < slope.high and slope.high - slope.low < 0.1
    _, intercept = calibration_slope_intercept(*sampled(11, n=20_000, shift=-1.0))
    assert intercept.low < -1 < intercept.high and intercept.high - intercept.low < 0.2


def test_one_step_bootstrap_spreads_as_full_refits_do():
    scores, answers = sampled(12, n=300)
    logit = np.log(scores / (1 - scores))
    draws = draw(None, cases=300, resamples=300)
    slope, _ = calibration_slope_intercept(scores, answers, resampling=draws)
    full = []
    for weight in draws.counts:
        model = LogisticRegression(C=1e12).fit(logit[:, None], answers, sample_weight=weight)
        full.append(model.coef_[0, 0])
    low, high = np.percentile(full, [2.5, 97.5])
    assert slope.high - slope.low == pytest.approx(high - low, rel=0.12)


def test_scores_that_separate_the_classes_have_no_slope():
    slope, _ = calibration_slope_intercept([0.2, 0.3] * 10 + [0.7, 0.8] * 10, [0] * 20 + [1] * 20)
    assert slope.value is None and "separate" in slope.reason


def test_temperature_minimises_the_log_loss():
    rng = np.random.default_rng(13)
    logits = rng.normal(size=(500, 4)) * 3
    answers = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1)

    def loss(t):
        return -log_softmax(logits / t, axis=1)[np.arange(500), answers].mean()

    expected = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(logits, answers).value == pytest.approx(expected.x, rel=1e-5)


def test_temperature_recovers_the_truth_for_two_classes_and_for_many():
    rng = np.random.default_rng(14)
    logits = rng.normal(size=(20_000, 3)) * 4
    answers = (logits / 2.5 + rng.gumbel(size=logits.shape)).argmax(axis=1)
    many = fit_temperature(logits, answers)
    assert many.low < 2.5 < many.high and many.high - many.low < 0.2
    single = rng.normal(size=(20_000, 1)) * 4
    found = rng.random(20_000) < expit(single[:, 0] / 2.5)
    two = fit_temperature(single, found.astype(int))
    assert two.low < 2.5 < two.high and two.high - two.low < 0.2


def test_temperature_bootstrap_spreads_as_full_refits_do():
    rng = np.random.default_rng(15)
    logits = rng.normal(size=(300, 3)) * 3
    answers = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1)
    draws = draw(None, cases=300, resamples=200)
    fitted = fit_temperature(logits, answers, resampling=draws)
    full = []
    for counts in draws.counts:
        again = np.repeat(np.arange(300), counts.astype(int))
        few = draw(None, cases=300, resamples=2)
        full.append(fit_temperature(logits[again], answers[again], resampling=few).value)
    low, high = np.percentile(full, [2.5, 97.5])
    assert fitted.high - fitted.low == pytest.approx(high - low, rel=0.12)


def test_logits_without_an_error_end_at_the_coldest_temperature():
    fitted = fit_temperature(np.eye(3)[np.arange(30) % 3] * 9, np.arange(30) % 3)
    assert fitted.value == pytest.approx(0.05) and fitted.low is None and "bound" in fitted.reason


def test_softening_keeps_the_order_and_lowers_the_confidence():
    logits = np.array([[0.0, 4.0, 1.0]])
    hot, cold = softened(logits, temperature=4.0), softened(logits, temperature=1.0)
    assert hot.sum() == pytest.approx(1) and hot.max() < cold.max()
    assert (hot.argsort() == cold.argsort()).all()
    assert softened([[2.0]], temperature=1.0)[0, 0] == pytest.approx(expit(2.0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ece([0.2, 1.2], [0, 1]), "probabilities"),
        (lambda: brier([-0.1, 0.2], [0, 1]), "probabilities"),
        (lambda: ece([0.2, 0.4], [0, 1], bins=0), "bins"),
        (lambda: softened([[1.0]], temperature=0.0), "temperature"),
        (lambda: brier([[0.5, 0.5]], [2]), "from 0 to 1"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(call, words):
    with pytest.raises(BadInput, match=words):
        call()
