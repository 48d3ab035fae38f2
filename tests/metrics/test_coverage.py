"""Do 95 % intervals hold the truth in about 95 of 100 studies? Seeded simulations, known truths."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from hounsfield.metrics.agreement import measure_agreement
from hounsfield.metrics.calibration import ece
from hounsfield.metrics.confusion import measure_one_against_rest
from hounsfield.metrics.discrimination import auroc, average_precision
from hounsfield.metrics.measured import average, proportion
from hounsfield.metrics.patients import Patients, draw

STUDIES = 600


def share_covered(truth, studies):
    return np.mean([study.low <= truth <= study.high for study in studies])


@pytest.mark.parametrize(("area", "found", "clear"), [(0.7, 10, 10), (0.85, 25, 60), (0.95, 30, 100)])
def test_delong_interval_covers(area, found, clear):
    rng = np.random.default_rng(0)
    answers = np.repeat([1, 0], [found, clear])
    shift = norm.ppf(area) * np.sqrt(2) * answers
    studies = [auroc(rng.normal(size=len(answers)) + shift, answers) for _ in range(STUDIES)]
    assert 0.92 <= share_covered(area, studies) <= 0.985


def test_a_perfect_area_is_covered_too():
    rng = np.random.default_rng(1)
    answers = np.repeat([1, 0], 12)
    shift = norm.ppf(0.99) * np.sqrt(2) * answers
    studies = [auroc(rng.normal(size=24) + shift, answers) for _ in range(STUDIES)]
    assert np.mean([study.value == 1 for study in studies]) > 0.2
    assert share_covered(0.99, studies) >= 0.92


def test_clustered_interval_covers_where_the_naive_one_does_not():
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(60), 6)
    answers = (patients % 2).astype(int)
    clustered, naive = [], []
    shift = 1.2 * np.sqrt(2)
    for _ in range(300):
        own = rng.normal(size=60)[patients]
        scores = np.sqrt(0.7) * own + np.sqrt(0.3) * rng.normal(size=360) + shift * answers
        clustered.append(auroc(scores, answers, patients=patients))
        naive.append(auroc(scores, answers))
    truth = norm.cdf(1.2)
    assert 0.92 <= share_covered(truth, clustered) <= 0.985
    assert share_covered(truth, naive) < 0.8


def test_average_precision_interval_covers():
    rng = np.random.default_rng(3)
    large = np.arange(400_000) % 4 == 0
    truth = average_precision(rng.normal(size=400_000) + 1.2 * large, large.astype(int)).value
    studies = []
    for _ in range(STUDIES):
        answers = (rng.random(200) < 0.25).astype(int)
        studies.append(average_precision(rng.normal(size=200) + 1.2 * answers, answers))
    assert 0.915 <= share_covered(truth, studies) <= 0.98


def test_rates_of_an_accurate_decision_are_covered_at_small_n():
    """Where the bootstrap's percentiles cover 81-93 %."""
    rng = np.random.default_rng(4)
    truth = np.arange(60) < 20
    owners, draws = Patients.of(None, cases=60), draw(None, cases=60, resamples=400)
    balanced, f1, mcc = [], [], []
    for _ in range(STUDIES):
        said = np.where(truth, rng.random(60) < 0.9, rng.random(60) < 0.05)
        rates = measure_one_against_rest(truth, said, owners)
        both = [rates["sensitivity"], rates["specificity"]]
        balanced.append(average(both, n=60, n_patients=60))
        f1.append(rates["f1"])
        mcc.append(measure_agreement(truth.astype(int), said.astype(int), 2, draws, kind="mcc"))
    cells = np.array([20 * 0.9, 20 * 0.1, 40 * 0.05, 40 * 0.95])
    tp, fn, fp, tn = cells
    phi = (tp * tn - fn * fp) / np.sqrt((tp + fn) * (tp + fp) * (tn + fn) * (tn + fp))
    assert 0.92 <= share_covered(0.925, balanced) <= 0.985
    assert 0.92 <= share_covered(2 * tp / (2 * tp + fn + fp), f1) <= 0.99
    assert 0.92 <= share_covered(phi, mcc) <= 0.99


@pytest.mark.parametrize("patients", [15, 60])
def test_clustered_proportion_covers_where_wilson_alone_does_not(patients):
    rng = np.random.default_rng(5)
    names = np.repeat(np.arange(patients), 8)
    everyone, owners = np.ones(len(names), dtype=bool), Patients.of(names, cases=len(names))
    clustered, naive = [], []
    for _ in range(STUDIES):
        hits = rng.random(len(names)) < rng.beta(4, 1, patients)[names]
        clustered.append(proportion(hits, everyone, owners))
        naive.append(proportion(hits, everyone, Patients.of(None, cases=len(names))))
    assert 0.925 <= share_covered(0.8, clustered) <= 0.985
    assert share_covered(0.8, naive) < 0.92


@pytest.mark.parametrize("slope", [1.0, 2.0])
def test_calibration_error_is_covered_in_spite_of_its_bias(slope):
    rng = np.random.default_rng(6)
    draws = draw(None, cases=300, resamples=200)
    logit = rng.normal(size=400_000) * 1.5
    shown, true = expit(slope * logit), expit(logit)
    place = np.clip(np.ceil(shown * 15) - 1, 0, 14).astype(int)
    error = np.abs(np.bincount(place, weights=shown - true)).sum() / len(logit)
    studies = []
    for _ in range(200):
        pick = rng.integers(0, len(logit), 300)
        answers = (rng.random(300) < true[pick]).astype(int)
        studies.append(ece(shown[pick], answers, resampling=draws))
    assert share_covered(0.0 if slope == 1 else error, studies) >= 0.94
