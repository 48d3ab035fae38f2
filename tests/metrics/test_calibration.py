"""Calibration errors against loops and scikit-learn, and fits that recover the truth."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from hounsfield.core.errors import BadInput
from hounsfield.metrics.calibration import brier, ece, reliability_curve, top_label
from hounsfield.metrics.decomposition import brier_decomposition
from hounsfield.metrics.patients import draw
from hounsfield.metrics.recalibration import calibration_slope_intercept


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


def test_brier_interval_is_as_wide_as_the_t_interval_and_bent_to_the_long_tail():
    scores, answers = sampled(2)
    estimate = brier(scores, answers)
    error = ((scores - answers) ** 2).std(ddof=1) / np.sqrt(400)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.9659 * error, rel=0.01)
    assert estimate.high - estimate.value > estimate.value - estimate.low


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


@pytest.mark.parametrize("images", [1, 3])
def test_the_slopes_interval_spreads_as_refits_in_resamples_of_patients_do(images):
    scores, answers = (np.repeat(values, images) for values in sampled(12, n=300))
    patients = np.repeat(np.arange(300), images)
    logit = np.log(scores / (1 - scores))
    slope, intercept = calibration_slope_intercept(scores, answers, patients=patients)
    refits = []
    for counts in draw(None, cases=300, resamples=300).counts:
        weight = np.repeat(counts, images)
        model = LogisticRegression(C=1e12).fit(logit[:, None], answers, sample_weight=weight)
        refits.append(model.coef_[0, 0])
    assert slope.high - slope.low == pytest.approx(2 * 1.97 * np.std(refits), rel=0.12)
    p = expit(logit + intercept.value)
    assert intercept.high - intercept.low == pytest.approx(
        2 * 1.97 * np.sqrt(images / (p * (1 - p)).sum()), rel=0.12
    )


def test_certain_scores_that_were_all_right_leave_an_error_open():
    """No resample can tell: 40 patients without a failure leave 1 - 0.025 ** (1 / 40)."""
    scores = answers = np.repeat([0, 1], 20)
    open_ = 1 - 0.025 ** (1 / 40)
    assert ece(scores, answers).high == pytest.approx(open_)
    _, miscalibration, discrimination, _ = brier_decomposition(scores, answers)
    assert miscalibration.high == pytest.approx(open_)
    assert discrimination.low == pytest.approx(0.25 - open_)


def test_scores_that_separate_the_classes_have_no_slope():
    slope, _ = calibration_slope_intercept([0.2, 0.3] * 10 + [0.7, 0.8] * 10, [0] * 20 + [1] * 20)
    assert slope.value is None and "separate" in slope.reason


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ece([0.2, 1.2], [0, 1]), "probabilities"),
        (lambda: brier([-0.1, 0.2], [0, 1]), "probabilities"),
        (lambda: ece([0.2, 0.4], [0, 1], bins=0), "bins"),
        (lambda: brier([[0.5, 0.5]], [2]), "from 0 to 1"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(call, words):
    with pytest.raises(BadInput, match=words):
        call()
