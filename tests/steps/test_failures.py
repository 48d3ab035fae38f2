"""The worst slices of the data are found and named; where errors are even, none is."""

from __future__ import annotations

import numpy as np
import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.predictions import Predictions
from hounsfield.steps.failures import image_looks, worst_slices
from hounsfield.steps.prepare import Prepared

BINARY = LabelEncoding("binary", ("0", "1"), ("malignant",))


def cohort(n: int, seed: int, *, bad: float = 0.0) -> tuple[Predictions, np.ndarray, np.ndarray]:
    """Calls that are wrong in 10 %, and more often for women at site B."""
    rng = np.random.default_rng(seed)
    answers, site, sex = rng.integers(0, 2, n), rng.choice(list("ABC"), n), rng.choice(["F", "M"], n)
    sharpness = rng.normal(size=n)
    wrong = rng.random(n) < 0.1 + bad * ((site == "B") & (sex == "F"))
    ids = tuple(map(str, range(n)))
    p = Predictions(BINARY, ids, ids, np.full((n, 1), 0.5), answers, {"site": tuple(site), "sex": tuple(sex)})
    return p, np.where(wrong, 1 - answers, answers), sharpness


def test_the_slice_where_errors_gather_is_named_first() -> None:
    p, called, look = cohort(900, 0, bad=0.5)
    found, rows = worst_slices(p, called, {"sharpness": look})
    assert rows[0]["slice"] == "site=B & sex=F"
    assert found[0].label == "site=B & sex=F" and found[0].level == "warning"
    inside = (np.array(p.groups["site"]) == "B") & (np.array(p.groups["sex"]) == "F")
    assert found[0].value == pytest.approx((called != p.answers)[inside].mean())
    missed = inside & (p.answers == 1)
    assert rows[0]["missed"] == f"{(missed & (called == 0)).sum()} of {missed.sum()}"


def test_how_an_image_looks_is_a_slice_too() -> None:
    p, called, look = cohort(600, 1)
    called = np.where((look < np.quantile(look, 1 / 3)) & (np.arange(600) % 2 == 0), 1 - p.answers, called)
    found, _ = worst_slices(p, called, {"sharpness": look})
    assert any(f.label.startswith("sharpness: lowest third") for f in found)


def test_even_errors_raise_no_alarm() -> None:
    alarms = 0
    for seed in range(60):
        p, called, look = cohort(300, 50 + seed)
        alarms += bool(worst_slices(p, called, {"sharpness": look})[0])
    assert alarms <= 5  # of 60; more has a chance below 1 % at 2.5 %


def test_slices_that_hold_the_same_cases_are_named_once() -> None:
    p, called, _ = cohort(600, 2, bad=0.5)
    twin = Predictions(
        p.encoding, p.ids, p.patients, p.scores, p.answers, {**p.groups, "hospital": p.groups["site"]}
    )
    names = [row["slice"] for row in worst_slices(twin, called)[1]]
    assert len([n for n in names if "B" in n and "F" in n]) == 1


def test_small_sets_have_no_slices() -> None:
    p, called, _ = cohort(24, 3, bad=0.9)
    assert worst_slices(p, called) == ((), [])


def test_looks_follow_the_pixels() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 50, (3, 1, 1, 16, 16)).astype(np.uint8)
    images[1] += 100
    images[2] = np.repeat(np.repeat(images[2, :, :, ::4, ::4], 4, -1), 4, -2)
    prepared = Prepared(("a", "b", "c"), images, np.zeros((3, 4), np.float32))
    looks = image_looks(prepared, ("c", "b", "a"))
    assert looks["brightness"][1] == pytest.approx(images[1].mean())
    assert looks["sharpness"][0] < looks["sharpness"][1]
