"""Nodules are matched between two scans, growth has an interval, impossible pairs of scans are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import permutations

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.steps.nodules import register
from hounsfield.steps.nodules.follow_up import Examined, FollowUp, follow_up, matched
from hounsfield.steps.nodules.growth import growth_between
from hounsfield.steps.nodules.lungs import find_lungs
from hounsfield.steps.nodules.measure import NoduleMeasures, measure_nodules
from hounsfield.steps.nodules.reader_list import concern, listed_rows, reader_list
from hounsfield.steps.nodules.register import aligned
from steps.nodules.chest import Ball, chest

pytestmark = pytest.mark.xdist_group("nodules")
DAY = date(2024, 3, 1)
BEFORE = (Ball((-65.0, 10.0, 20.0), 8.0), Ball((60.0, 20.0, 40.0), 9.0), Ball((-50.0, -30.0, -40.0), 10.0))
AFTER = (Ball((-65.0, 10.0, 20.0), 11.0), Ball((60.0, 20.0, 40.0), 9.0), Ball((70.0, -25.0, -30.0), 6.5))


def _examined(balls: tuple[Ball, ...], day: date, **how: object) -> Examined:
    volume, centres = chest(balls, **how)  # type: ignore[arg-type]
    lungs = find_lungs(volume)
    found = [m for m in measure_nodules(volume, centres, lungs) if m is not None]
    assert len(found) == len(balls)
    return Examined(volume, lungs, found, day, "p1")


@pytest.fixture(scope="module")
def first() -> Examined:
    return _examined(BEFORE, DAY)


@pytest.fixture(scope="module")
def second() -> Examined:
    later = DAY + timedelta(days=180)
    return _examined(AFTER, later, noise=1, moved=(3, -2, 4), turned_degrees=6.0)


@pytest.fixture(scope="module")
def followed(first: Examined, second: Examined) -> FollowUp:
    return follow_up(first, second)


def test_registration_finds_the_shift_and_the_turn(
    first: Examined, second: Examined, followed: FollowUp
) -> None:
    corners = np.array([b.centre_mm for b in BEFORE])
    _, there = chest(BEFORE, moved=(3, -2, 4), turned_degrees=6.0)
    _, here = chest(BEFORE)
    assert len(corners) == 3
    assert np.linalg.norm(followed.alignment.to_second(here) - there, axis=1).max() < 2.5


def test_scans_are_laid_over_each_other_alike_every_time(first: Examined, second: Examined) -> None:
    found = [aligned(first.volume, first.lungs, second.volume, second.lungs) for _ in range(2)]
    assert np.array_equal(found[0].matrix, found[1].matrix) and found[0].agreement > 0.7


def test_a_search_that_went_astray_is_begun_anew(
    first: Examined, second: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid, seeds = register._laid, []

    def astray_at_first(*given: object, seed: int) -> object:
        seeds.append(seed)
        matrix = laid(*given, seed=seed)  # type: ignore[arg-type]
        if len(seeds) == 1:
            matrix[:3, 3] += 25.0
        return matrix

    monkeypatch.setattr(register, "_laid", astray_at_first)
    found = aligned(first.volume, first.lungs, second.volume, second.lungs)
    assert len(seeds) == 2 and found.agreement > 0.7


def test_every_nodule_is_grown_stable_new_or_gone(followed: FollowUp) -> None:
    told = {(f.first, f.second): f.category for f in followed.nodules}
    assert told == {(0, 0): "grown", (1, 1): "stable", (None, 2): "new", (2, None): "gone"}
    assert followed.days == 180
    grown = followed.nodules[0].growth
    assert grown is not None and grown.proved
    true = 180 * np.log(2) / np.log((11 / 8) ** 3)
    fast, slow = grown.doubling_interval
    assert fast < true < slow and fast < grown.doubling_days < slow


def test_the_list_begins_with_what_grew_and_ends_with_what_is_gone(
    first: Examined, second: Examined, followed: FollowUp
) -> None:
    rows = listed_rows(reader_list(second.nodules, second.lungs, followed=followed, earlier=first.nodules))
    assert [row["change"] for row in rows] == ["grown", "new", "stable", "gone"]
    assert rows[0]["concern"] == "4B" and rows[-1]["concern"] == "gone"
    assert [row["side"] for row in rows] == ["right", "left", "left", "right"]
    assert rows[2]["doubling_days"] == "" and rows[0]["number"] == 1


def test_a_score_orders_nodules_of_one_step(first: Examined) -> None:
    order = [row.nodule for row in reader_list(first.nodules, first.lungs, malignancy=[0.2, 0.9, 0.4])]
    assert order == [2, 3, 1]
    with pytest.raises(BadInput, match="2 malignancy scores for 3 nodules"):
        reader_list(first.nodules, first.lungs, malignancy=[0.1, 0.2])


@pytest.mark.parametrize(("days", "why"), [(0, "0 days"), (-30, "-30 days")])
def test_scans_in_swapped_order_or_of_one_day_are_refused(first: Examined, days: int, why: str) -> None:
    with pytest.raises(BadInput, match=f"{why} after the first; expected a later day"):
        follow_up(first, replace(first, day=DAY + timedelta(days=days)))


def test_two_patients_are_refused_by_identifier_and_by_their_vessels(first: Examined) -> None:
    elsewhere = (Ball((60.0, -30.0, 10.0), 9.0),)
    other = _examined(elsewhere, DAY + timedelta(days=90), person=1)
    with pytest.raises(BadInput, match="different patient identifiers") as refused:
        follow_up(first, replace(other, patient="secret"))
    assert "secret" not in str(refused.value)
    with pytest.raises(BadInput, match="expected two scans of one patient"):
        follow_up(first, other)


def _ball(diameter: float, density: str = "solid", solid: float | None = None) -> NoduleMeasures:
    core = diameter if solid is None else solid
    volume = np.pi / 6 * diameter**3
    size = (diameter, diameter, diameter)
    return NoduleMeasures((0, 0, 0), volume, *size, 0, 1, density, core, False, 1.0)  # type: ignore[arg-type]


def test_doubling_time_is_days_by_doublings_and_negative_where_it_shrinks() -> None:
    twice = growth_between(_ball(10), _ball(10 * 2 ** (1 / 3)), days=90)
    assert twice.doubling_days == pytest.approx(90) and twice.ratio == pytest.approx(2)
    half = growth_between(_ball(10 * 2 ** (1 / 3)), _ball(10), days=90)
    assert half.doubling_days == pytest.approx(-90) and half.category == "shrunk"
    assert half.doubling_interval == tuple(-v for v in twice.doubling_interval)
    same = growth_between(_ball(10), _ball(10), days=90)
    assert not same.proved and same.doubling_interval[1] == np.inf and "no change proved" in same.text


def test_matching_is_the_best_of_all_one_to_one_matchings_within_the_gate() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        before, after = rng.uniform(0, 30, (4, 3)), rng.uniform(0, 30, (4, 3))
        gaps = np.linalg.norm(after[:, None] - before, axis=2)
        best = max(
            (int((g <= 12).sum()), -float(g[g <= 12].sum()))
            for order in permutations(range(4))
            for g in [gaps[range(4), order]]
        )
        found = matched(before, after, gate_mm=12.0)
        total = -sum(gaps[a, b] for a, b in found.items())
        assert (len(found), total) == (best[0], pytest.approx(best[1]))


def test_concern_follows_size_kind_and_growth() -> None:
    assert [concern(_ball(d)) for d in (5.0, 7.0, 9.0, 16.0)] == ["2", "3", "4A", "4B"]
    assert [concern(_ball(12, "part-solid", s)) for s in (3.0, 7.0, 9.0)] == ["3", "4A", "4B"]
    assert [concern(_ball(d, "ground-glass", 0.0)) for d in (12.0, 31.0)] == ["2", "3"]
