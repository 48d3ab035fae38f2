"""Ranking metrics against scikit-learn and against variances written from the papers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from hounsfield.core.errors import BadInput
from hounsfield.metrics.discrimination import (
    auroc,
    average_precision,
    measure_auroc,
    measure_average_precision,
    placement_covariance,
    placements,
    precision_recall_curve,
    roc_curve,
)
from hounsfield.metrics.patients import Patients, draw
from hounsfield.metrics.ranking import rank


@st.composite
def ranked_cases(draw_from):
    """Scores with many ties, and at least 10 answers of each class."""
    n = draw_from(st.integers(20, 60))
    scores = draw_from(arrays(float, n, elements=st.integers(-4, 4).map(lambda k: k / 3)))
    answers = np.arange(n) % 2
    return scores, answers


def overlapping(seed, n=80, gap=1.0):
    rng = np.random.default_rng(seed)
    answers = (np.arange(n) % 3 == 0).astype(int)
    return rng.normal(size=n) + gap * answers, answers


def kernel(scores, answers):
    """psi(x, y) of every positive against every negative, the long way."""
    found, clear = scores[answers == 1], scores[answers == 0]
    return (found[:, None] > clear) + 0.5 * (found[:, None] == clear)


def delong_by_the_book(scores, answers):
    psi = kernel(scores, answers)
    m, n = psi.shape
    return psi.mean(axis=1).var(ddof=1) / m + psi.mean(axis=0).var(ddof=1) / n


def obuchowski_by_the_book(scores, answers, patients):
    """Obuchowski 1997: S10 / M + S01 / N + 2 S11 / (M N), summed in plain loops."""
    psi = kernel(scores, answers)
    big_m, big_n = psi.shape
    area = psi.mean()
    of_found, of_clear = patients[answers == 1], patients[answers == 0]
    s10 = s01 = s11 = 0.0
    everyone = np.unique(patients)
    for who in everyone:
        x = sum(psi.mean(axis=1)[of_found == who] - area)
        y = sum(psi.mean(axis=0)[of_clear == who] - area)
        s10, s01, s11 = s10 + x * x, s01 + y * y, s11 + x * y
    i10, i01, i = len(set(of_found)), len(set(of_clear)), len(everyone)
    s10, s01, s11 = s10 * i10 / (i10 - 1), s01 * i01 / (i01 - 1), s11 * i / (i - 1)
    return s10 / big_m**2 + s01 / big_n**2 + 2 * s11 / (big_m * big_n)


def variance(scores, answers, patients=None):
    positive, owners = answers == 1, Patients.of(patients, cases=len(scores))
    placed = placements(rank(scores), positive)[None]
    return placement_covariance(placed, positive, owners)[0, 0]


@settings(max_examples=40, deadline=None)
@given(ranked_cases())
def test_values_equal_scikit_learn(case):
    scores, answers = case
    assert auroc(scores, answers).value == pytest.approx(sk.roc_auc_score(answers, scores), abs=1e-12)
    assert average_precision(scores, answers).value == pytest.approx(
        sk.average_precision_score(answers, scores), abs=1e-12
    )


@settings(max_examples=40, deadline=None)
@given(ranked_cases())
def test_variance_equals_the_quadratic_delong(case):
    assert variance(*case) == pytest.approx(delong_by_the_book(*case), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(ranked_cases(), st.integers(2, 5))
def test_clustered_variance_equals_obuchowskis_sums(case, repeats):
    scores, answers = case
    patients = np.random.default_rng(0).integers(0, len(scores) // repeats + 2, len(scores))
    expected = obuchowski_by_the_book(scores, answers, patients)
    assert variance(scores, answers, patients) == pytest.approx(expected, abs=1e-12)


def test_obuchowski_is_delong_when_each_patient_has_one_case():
    scores, answers = overlapping(0)
    shuffled = np.random.default_rng(1).permutation(len(scores))
    assert variance(scores, answers, shuffled) == pytest.approx(delong_by_the_book(scores, answers))
    assert auroc(scores, answers, patients=shuffled) == auroc(scores, answers)


def test_curves_equal_scikit_learn():
    scores, answers = np.round(overlapping(2)[0], 1), overlapping(2)[1]
    ours = roc_curve(scores, answers)
    fpr, tpr, thresholds = sk.roc_curve(answers, scores, drop_intermediate=False)
    np.testing.assert_allclose(ours.x, fpr)
    np.testing.assert_allclose(ours.y, tpr)
    np.testing.assert_allclose(ours.threshold, thresholds)
    ours = precision_recall_curve(scores, answers)
    precision, recall, thresholds = sk.precision_recall_curve(answers, scores)
    np.testing.assert_allclose(ours.y, precision[:-1][::-1])
    np.testing.assert_allclose(ours.x, recall[:-1][::-1])
    np.testing.assert_allclose(ours.threshold, thresholds[::-1])


def test_bootstrap_spread_equals_delongs_and_the_jackknifes():
    scores, answers = overlapping(3, n=300)
    patients = np.random.default_rng(0).integers(0, 150, 300)
    positive = answers == 1
    for owners in (Patients.of(None, cases=300), Patients.of(patients, cases=300)):
        draws = draw(owners, cases=300, resamples=2000)
        weights = draws.counts[:, draws.block]
        found, clear = weights[:, positive], weights[:, ~positive]
        pairs = found.sum(axis=1) * clear.sum(axis=1)
        areas = np.einsum("bm,mn,bn->b", found, kernel(scores, answers), clear, optimize=True)
        areas = areas / pairs
        few = weights[:300]
        precisions = [sk.average_precision_score(answers, scores, sample_weight=w) for w in few]
        delong = np.sqrt(variance(scores, answers, owners))
        assert np.std(areas) == pytest.approx(delong, rel=0.05)
        for measure, resampled in (
            (measure_auroc, areas),
            (measure_average_precision, precisions),
        ):
            influence = measure(rank(scores), positive, owners).influence
            assert np.std(resampled) == pytest.approx(np.sqrt(influence @ influence), rel=0.1)


@pytest.mark.parametrize("measure", [measure_auroc, measure_average_precision])
def test_influence_is_the_derivative_by_each_patients_weight(measure):
    scores, answers = overlapping(4, n=60)
    scores = np.round(scores, 1)
    oracle = sk.roc_auc_score if measure is measure_auroc else sk.average_precision_score
    influence = measure(rank(scores), answers == 1, Patients.of(None, cases=60)).influence
    step = 1e-5
    for case in range(0, 60, 7):
        weights = np.ones(60)
        weights[case] += step
        slope = (oracle(answers, scores, sample_weight=weights) - oracle(answers, scores)) / step
        assert influence[case] == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_the_order_of_cases_does_not_matter(metric):
    scores, answers = overlapping(5)
    patients = np.arange(len(scores)) // 2
    shuffle = np.random.default_rng(6).permutation(len(scores))
    one = metric(scores, answers, patients=patients)
    two = metric(scores[shuffle], answers[shuffle], patients=patients[shuffle])
    assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high))


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_copies_of_a_patients_images_add_no_certainty(metric):
    scores, answers = overlapping(7, n=200)
    one = metric(scores, answers)
    patients = np.tile(np.arange(200), 4)
    four = metric(np.tile(scores, 4), np.tile(answers, 4), patients=patients)
    naive = metric(np.tile(scores, 4), np.tile(answers, 4))
    assert four.value == pytest.approx(one.value)
    assert four.high - four.low == pytest.approx(one.high - one.low, rel=0.03)
    assert naive.high - naive.low < 0.6 * (four.high - four.low)
    assert (four.n, four.n_patients) == (800, 200)


def test_a_perfect_area_has_a_lower_bound_below_one():
    scores, answers = np.arange(60.0), (np.arange(60) >= 30).astype(int)
    perfect, worst = auroc(scores, answers), auroc(-scores, answers)
    assert perfect.value == 1 and perfect.high == 1
    assert perfect.low == pytest.approx(0.025 ** (1 / 30))
    assert worst.value == 0 and worst.high == pytest.approx(1 - perfect.low)
    assert 0.8 < average_precision(scores, answers).low < 1


def test_copies_do_not_raise_the_bound_of_a_perfect_area():
    scores, answers = np.tile(np.arange(40.0), 5), np.tile(np.arange(40) >= 20, 5).astype(int)
    patients = np.tile(np.arange(40), 5)
    assert auroc(scores, answers, patients=patients).low == pytest.approx(0.025 ** (1 / 20))


def test_a_constant_score_has_an_area_of_one_half():
    estimate = auroc(np.zeros(40), np.arange(40) % 2)
    assert estimate.value == estimate.low == estimate.high == 0.5


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_too_few_of_a_class_print_no_number(metric):
    answers = np.zeros(50, int)
    answers[:9] = 1
    refused = metric(np.arange(50.0), answers)
    assert refused.value is None
    assert refused.reason == "n = 9 with the finding: too few to print a number"
    assert metric(np.arange(50.0), np.zeros(50, int)).reason.startswith("n = 0 with the finding")
    assert metric(np.arange(50.0), np.ones(50, int)).reason.startswith("n = 0 without")


def test_many_images_of_few_patients_print_no_number():
    scores, answers = overlapping(8)
    refused = auroc(scores, answers, patients=np.arange(80) % 4)
    assert "from 4 patients" in refused.reason


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_scores_sort_as_few_do(dtype):
    rng = np.random.default_rng(9)
    scores = rng.normal(size=30_000).astype(dtype)
    scores[:50], scores[50:100] = 0.0, -0.0
    answers = rng.integers(0, 2, 30_000)
    assert auroc(scores, answers).value == pytest.approx(sk.roc_auc_score(answers, scores), abs=1e-12)
    ranking = rank(scores.astype(float))
    assert (np.diff(scores[ranking.order].astype(float)) >= 0).all()


@pytest.mark.parametrize(
    ("scores", "answers", "words"),
    [
        ([0.1, float("nan")], [0, 1], "not finite"),
        ([0.1, 0.2, 0.3], [0, 1], "3 cases have scores and 2 have answers"),
        ([0.1, 0.2], [0, 2], "answers run from 0 to 2"),
        ([0.1, 0.2], [0, 0.5], "whole numbers"),
        ([0.1, 0.2], [0, float("nan")], "missing"),
        ([0.1, 0.2], ["no", "yes"], "whole numbers"),
        ([[0.1], [0.2]], [0, 1], r"\(N,\)"),
        ([], [], "no scores"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(scores, answers, words):
    with pytest.raises(BadInput, match=words):
        auroc(scores, answers)
