"""Site by site: the forest, its mean, and thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import OperatingPoint
from hounsfield.core.predictions import Predictions
from hounsfield.metrics.discrimination import auroc
from hounsfield.steps.evaluate_sites import forest_of_sites, site_thresholds

BINARY = LabelEncoding("binary", ("0", "1"), ("malignant",))
POINT = OperatingPoint((0.5,), "youden", "validation folds", 100)


def cohort(n: int = 600, *, sites: str = "ABCD", shared: bool = False) -> tuple[Predictions, np.ndarray]:
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 2, n)
    site = rng.choice(list(sites), n)
    shift = 0.15 * (site == sites[0])
    scores = np.clip(0.3 + 0.35 * answers + shift + rng.normal(0, 0.2, n), 0.001, 0.999)
    ids = tuple(map(str, range(n)))
    patients = tuple(str(k // 2) for k in range(n)) if shared else ids
    p = Predictions(BINARY, ids, patients, scores[:, None], answers, {"site": tuple(site)})
    return p, (scores >= 0.5).astype(np.int64)


def test_the_forest_holds_every_site_and_their_mean() -> None:
    p, called = cohort()
    rows = [r for r in forest_of_sites(p, called) if r["metric"] == "auroc"]
    assert [r["site"] for r in rows] == ["A", "B", "C", "D", "pooled"]
    inside = np.array(p.groups["site"]) == "B"
    assert rows[1]["value"] == pytest.approx(auroc(p.scores[inside, 0], p.answers[inside]).value)
    mean = rows[-1]
    assert min(r["value"] for r in rows[:4]) < mean["value"] < max(r["value"] for r in rows[:4])
    assert mean["prediction_low"] <= mean["low"] and mean["n"] == 600


def test_sites_that_share_patients_have_no_mean() -> None:
    p, called = cohort(shared=True)
    assert "pooled" not in {r["site"] for r in forest_of_sites(p, called)}


def test_a_site_of_one_class_says_that_it_has_no_area() -> None:
    p, called = cohort(200, sites="ABC")
    groups = {
        "site": tuple(
            "one" if a and k % 2 else s
            for k, (a, s) in enumerate(zip(p.answers, p.groups["site"], strict=True))
        )
    }
    one = Predictions(p.encoding, p.ids, p.patients, p.scores, p.answers, groups)
    row = next(r for r in forest_of_sites(one, called) if (r["site"], r["metric"]) == ("one", "auroc"))
    assert row["value"] is None and "one class" in row["note"]


def test_a_site_whose_scores_are_shifted_would_choose_another_threshold() -> None:
    p, _ = cohort(1200)
    rows = {r["site"]: r for r in site_thresholds(p, POINT)}
    own = {site: row["threshold of its own"]["value"] for site, row in rows.items()}
    assert own["A"] > max(own["B"], own["C"], own["D"])
    inside = (np.array(p.groups["site"]) == "A") & (p.answers == 0)
    assert rows["A"]["specificity"]["value"] == pytest.approx((p.scores[inside, 0] < 0.5).mean())


def test_without_sites_nothing_is_said() -> None:
    p, called = cohort(100, sites="A")
    assert forest_of_sites(p, called) == [] and site_thresholds(p, POINT) == []
