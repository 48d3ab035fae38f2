"""Slopes of groups over visits: they cover the truth, are the mean of slopes, and refuse small groups."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("statsmodels", reason="the cohort's trajectories need hounsfield[atrophy]")

from hounsfield.steps.trajectories import trajectories


def cohort(seed: int) -> tuple[list[str], list[float], list[float], list[str]]:
    """12 stable and 12 declining patients with 2 to 4 visits."""
    rng = np.random.default_rng(seed)
    who, years, change, group = [], [], [], []
    for p in range(24):
        slope = rng.normal(-0.4 if p < 12 else -1.5, 0.3)
        for when in np.sort(rng.uniform(0.5, 4, rng.integers(2, 5))):
            who.append(f"p{p}")
            years.append(float(when))
            change.append(float(slope * when + rng.normal(0, 0.15)))
            group.append("stable" if p < 12 else "declining")
    return who, years, change, group


def test_intervals_cover_the_true_slopes_of_groups() -> None:
    inside = []
    for seed in range(60):
        made = {s.group: s for s in trajectories(*cohort(seed)).slopes}
        for name, true in (("stable", -0.4), ("declining", -1.5)):
            low, high = made[name].low, made[name].high
            assert low is not None and high is not None
            inside.append(low <= true <= high)
    assert 0.85 <= np.mean(inside) <= 0.99


def test_a_balanced_group_has_the_mean_of_its_patients_slopes() -> None:
    rng = np.random.default_rng(5)
    slopes = rng.normal(-1, 0.5, 10)
    years = np.tile([1.0, 2.0], 10)
    change = np.repeat(slopes, 2) * years + rng.normal(0, 0.02, 20)
    made = trajectories(
        [str(p) for p in np.repeat(np.arange(10), 2)], years.tolist(), change.tolist(), ["a"] * 20
    )
    assert made.slopes[0].per_year == pytest.approx(slopes.mean(), abs=0.02)
    assert made.between_patients == pytest.approx(slopes.std(ddof=1), rel=0.1)


def test_a_group_of_two_has_no_number() -> None:
    made = trajectories(["a", "b"], [1.0, 2.0], [-1.0, -2.0], ["few", "few"])
    assert made.slopes[0].per_year is None and made.slopes[0].n_patients == 2
