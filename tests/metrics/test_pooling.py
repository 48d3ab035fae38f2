"""The mean over sites and its prediction interval: against the definition, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.metrics.intervals import Estimate, wilson
from hounsfield.metrics.pooling import pooled


def site(hits: int, n: int) -> Estimate:
    low, high = wilson(hits, n)
    return Estimate("sensitivity", hits / n, low, high, n, n, "Wilson")


def test_sites_that_agree_give_their_common_value_and_no_spread() -> None:
    found = pooled([site(80, 100)] * 5)
    assert found.estimate.value == pytest.approx(0.8)
    assert found.between == 0.0 and found.estimate.n == 500
    assert found.estimate.low is not None and found.estimate.low > site(80, 100).low


def test_the_spread_between_sites_solves_paule_and_mandel() -> None:
    estimates = [site(h, 200) for h in (190, 150, 120, 170, 60)]
    found = pooled(estimates)
    p = np.array([[e.low, e.value, e.high] for e in estimates], float)
    logit = np.log(p / (1 - p))
    variance = ((logit[:, 2] - logit[:, 0]) / (2 * 1.959964)) ** 2
    weights = 1 / (variance + found.between**2)
    mean = weights @ logit[:, 1] / weights.sum()
    assert weights @ (logit[:, 1] - mean) ** 2 == pytest.approx(4, rel=1e-4)
    assert found.estimate.value == pytest.approx(1 / (1 + np.exp(-mean)), rel=1e-4)
    assert found.prediction_low < found.estimate.low < found.estimate.high < found.prediction_high


def test_the_intervals_hold_the_mean_and_a_new_site_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    centre, spread, runs = 1.2, 0.6, 400
    mean, new = 0, 0
    for _ in range(runs):
        true = 1 / (1 + np.exp(-rng.normal(centre, spread, 9)))
        found = pooled([site(int(rng.binomial(150, t)), 150) for t in true[:8]])
        mean += found.estimate.low <= 1 / (1 + np.exp(-centre)) <= found.estimate.high
        new += found.prediction_low <= true[8] <= found.prediction_high
    assert 0.92 <= mean / runs <= 0.98
    assert 0.91 <= new / runs <= 0.985


def test_two_sites_have_no_mean() -> None:
    found = pooled([site(80, 100), site(70, 100), Estimate.refuse("sensitivity", "few", n=2, n_patients=2)])
    assert found.estimate.value is None and "too few" in found.estimate.reason
