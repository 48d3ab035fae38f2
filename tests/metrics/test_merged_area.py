"""The area of many scores by two sorts and a merge, against scikit-learn and a DeLong of three sorts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from hounsfield.metrics.discrimination import auroc, measure_auroc
from hounsfield.metrics.merged_area import merged_area
from hounsfield.metrics.patients import Patients
from hounsfield.metrics.ranking import rank

ANSWERS = np.arange(40) % 3 == 0


def delong_by_three_sorts(scores, positive):
    """Sun & Xu 2014: midranks of all cases and of each class."""
    found, clear = scores[positive], scores[~positive]
    m, n = len(found), len(clear)
    everyone = rankdata(np.concatenate([found, clear]))
    of_found = (everyone[:m] - rankdata(found)) / n
    of_clear = 1 - (everyone[m:] - rankdata(clear)) / m
    return of_found.mean(), of_found.var(ddof=1) / m + of_clear.var(ddof=1) / n


@settings(max_examples=60, deadline=None)
@given(arrays(float, 40, elements=st.integers(-3, 3).map(float) | st.floats(-1e6, 1e6)))
def test_area_and_variance_of_few_scores_with_ties(scores):
    area, variance = merged_area(scores, ANSWERS)
    expected_area, expected = delong_by_three_sorts(scores, ANSWERS)
    assert area == pytest.approx(roc_auc_score(ANSWERS, scores), abs=1e-12)
    assert (area, variance) == pytest.approx((expected_area, expected), abs=1e-12)


@pytest.mark.parametrize("kind", ["double", "single", "ties", "nearly perfect", "constant"])
def test_area_and_variance_of_many_scores(kind):
    rng = np.random.default_rng(0)
    positive = rng.random(60_000) < 0.2
    scores = rng.normal(size=60_000) + (4 if kind == "nearly perfect" else 1) * positive
    if kind == "single":
        scores = scores.astype(np.float32).astype(np.float64)
    if kind in ("ties", "constant"):
        scores = np.round(scores, 1) * (kind == "ties")
    area, variance = merged_area(scores, positive)
    expected_area, expected = delong_by_three_sorts(scores, positive)
    assert area == pytest.approx(roc_auc_score(positive, scores), abs=1e-10)
    assert area == pytest.approx(expected_area, abs=1e-10) and variance == pytest.approx(
        expected, rel=1e-7, abs=1e-18
    )


def test_many_scores_give_the_estimate_that_few_would():
    rng = np.random.default_rng(1)
    positive = rng.random(30_000) < 0.3
    scores = rng.normal(size=30_000) + positive
    large = auroc(scores, positive)
    placed = measure_auroc(rank(scores), positive, Patients.of(None, cases=30_000)).estimate("auroc")
    assert (large.value, large.low, large.high) == pytest.approx(
        (placed.value, placed.low, placed.high), abs=1e-12
    )
    assert (large.n, large.n_patients, large.method) == (placed.n, placed.n_patients, placed.method)


def test_many_scores_of_one_class_or_of_repeated_patients_take_their_own_way():
    scores, none = np.linspace(0, 1, 25_000), np.zeros(25_000, int)
    assert auroc(scores, none).reason.startswith("n = 0 with the finding")
    answers = np.arange(25_000) % 2
    assert auroc(scores, answers, patients=np.arange(25_000) // 2).method == "Obuchowski, logit"


def test_the_scores_given_are_not_sorted_in_place():
    scores = np.random.default_rng(2).random(25_000)
    kept = scores.copy()
    auroc(scores, np.arange(25_000) % 2)
    np.testing.assert_array_equal(scores, kept)
