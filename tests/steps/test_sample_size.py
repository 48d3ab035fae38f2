"""What so many patients can show, against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hounsfield.metrics.discrimination import auroc
from hounsfield.steps.sample_size import (
    detectable_difference,
    half_width_of_auroc,
    half_width_of_share,
    precision_findings,
)


def test_the_expected_width_of_an_auroc_is_that_of_studies_of_the_size() -> None:
    rng = np.random.default_rng(0)
    true = float(stats.norm.cdf(1.2 / np.sqrt(2)))
    answers = np.repeat([0, 1], 80)
    widths = []
    for _ in range(200):
        found = auroc(rng.normal(size=160) + 1.2 * answers, answers)
        widths.append((found.high - found.low) / 2)
    assert half_width_of_auroc(true, 80, 80) == pytest.approx(np.mean(widths), rel=0.08)


def test_the_detectable_difference_is_seen_in_four_of_five_studies() -> None:
    rng = np.random.default_rng(1)
    gap = detectable_difference(0.85, 120, 90)
    first, second = rng.binomial(120, 0.85, 4000), rng.binomial(90, 0.85 - gap, 4000)
    p, q = first / 120, second / 90
    mean = (first + second) / 210
    z = (p - q) / np.sqrt(mean * (1 - mean) * (1 / 120 + 1 / 90))
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_more_patients_make_it_narrower() -> None:
    assert half_width_of_share(0.9, 400) < half_width_of_share(0.9, 100) / 1.8
    assert detectable_difference(0.85, 1000, 1000) < detectable_difference(0.85, 100, 100)
    assert detectable_difference(0.85, 2, 2) is None


def test_the_findings_say_what_is_needed_and_one_class_says_nothing() -> None:
    found, tables = precision_findings(30, 60, {"sex": (20, 10), "site": (30, 0)})
    notes = " ".join(f.note for f in found)
    assert "needs" in notes and "sex" in notes
    assert [row["column"] for row in tables["power"]] == ["sex"]
    assert precision_findings(0, 60, {}) == ((), {})
