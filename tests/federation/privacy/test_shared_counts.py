"""Counts of many say what the cases would say together, and nothing of few."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.federation.privacy.pooled_counts import pooled
from hounsfield.federation.privacy.shared_counts import Counts, counted, key_of
from hounsfield.metrics.calibration import brier, ece
from hounsfield.metrics.discrimination import auroc
from hounsfield.metrics.intervals import wilson


def cases(seed: int, n: int, *, shift: float = 0.0, share: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and answers of a model that is fairly good, and a little off at this site."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < share).astype(int)
    z = rng.normal(1.4 * truth - 0.9 + shift, 1.1)
    return 1 / (1 + np.exp(-z)), truth


SITES = [cases(1, 300), cases(2, 120, shift=0.4), cases(3, 500, share=0.2), cases(4, 90, shift=-0.5)]


def told(scores: np.ndarray, truth: np.ndarray, **rest: object) -> Counts:
    names = [str(n) for n in range(len(scores))]
    return counted(scores[:, None], truth[:, None], patients=names, labels=["x"], **rest)  # type: ignore[arg-type]


def by_name(findings: tuple[Finding, ...], group: str = "") -> dict[str, Finding]:
    return {f.name: f for f in findings if f.group == group}


def test_sites_together_say_what_their_cases_say() -> None:
    found = by_name(pooled([told(*site) for site in SITES]))
    scores, truth = (np.concatenate(parts) for parts in zip(*SITES, strict=True))
    exact = auroc(scores, truth)
    area = found["auroc"]
    assert area.n == len(scores) and None not in (exact.value, exact.low, area.value, area.low)
    assert abs(area.value - exact.value) < 0.004  # type: ignore[operator]
    assert abs(area.low - exact.low) < 0.006 and abs(area.high - exact.high) < 0.006  # type: ignore[operator]
    worst, best = (float(x) for x in area.note.split("allow ")[1].split(" to "))
    assert worst - 1e-3 <= exact.value <= best + 1e-3 and best - worst < 0.2  # type: ignore[operator]
    assert found["brier"].value == pytest.approx(brier(scores, truth).value)
    assert abs(found["ece"].value - ece(scores, truth).value) < 0.015  # type: ignore[operator]
    assert found["observed_to_expected"].value == pytest.approx(truth.sum() / scores.sum())
    called = scores >= 0.5
    hits, n = int((called & (truth == 1)).sum()), int(truth.sum())
    assert found["sensitivity"].value == pytest.approx(hits / n)
    assert (found["sensitivity"].low, found["sensitivity"].high) == pytest.approx(wilson(hits, n))


def test_the_bounds_of_the_area_hold_for_every_cohort() -> None:
    for seed in range(25):
        sites = [cases(100 + 3 * seed + k, 60 + 20 * k, shift=k * 0.7) for k in range(3)]
        found = by_name(pooled([told(*s, smallest_n=5) for s in sites]))["auroc"]
        exact = auroc(*(np.concatenate(p) for p in zip(*sites, strict=True))).value
        worst, best = (float(x) for x in found.note.split("allow ")[1].split(" to "))
        assert exact is not None and worst - 1e-3 <= exact <= best + 1e-3


@pytest.mark.parametrize("k", [5, 10, 40])
def test_no_cell_speaks_of_few_and_the_cells_leave_no_gap(k: int) -> None:
    for scores, truth in SITES[:2]:
        counts = told(scores, truth, smallest_n=k)
        cells = counts[key_of("cells", "x")]
        for answer in (0, 1):
            own = cells[cells[:, 0] == answer]
            assert own[:, 3].min() >= k and own[:, 3].sum() == (truth == answer).sum()
            assert own[0, 1] == 0 and own[-1, 2] == 320 and (own[1:, 1] == own[:-1, 2]).all()


def test_what_is_told_does_not_change_with_one_score_within_its_cell() -> None:
    scores, truth = SITES[0]
    lowest = int(np.flatnonzero(truth == 1)[scores[truth == 1].argmin()])
    moved = scores.copy()
    moved[lowest] *= 0.9
    before, after = told(scores, truth), told(moved, truth)
    assert np.array_equal(before[key_of("cells", "x")], after[key_of("cells", "x")])


def test_few_of_an_answer_are_told_nothing_of() -> None:
    scores, truth = cases(7, 200)
    truth[:] = 0
    truth[:9] = 1
    assert told(scores, truth, smallest_n=10) == {}
    assert told(scores, truth, smallest_n=9)
    assert pooled([{}, {}]) == ()


def test_few_missed_patients_are_told_as_a_range() -> None:
    scores, truth = np.full(80, 0.2), np.zeros(80, int)
    truth[:40], scores[:37] = 1, 0.9
    cut = told(scores, truth, smallest_n=10)[key_of("cut", "x")]
    assert cut.tolist() == [0.5, 31, 40, 31, 40]
    found = by_name(pooled([told(scores, truth)]))["sensitivity"]
    assert (
        found.low is not None and found.low <= wilson(31, 40)[0] < 37 / 40 < wilson(37, 40)[1] <= found.high
    )  # type: ignore[operator]
    assert "31 to 40 of 40" in found.note


def groups_in(counts: Counts) -> set[str]:
    return {json.loads(key)[2] for key in counts}


def test_a_small_group_does_not_follow_from_the_whole_without_the_others() -> None:
    scores, truth = cases(8, 600, share=0.5)
    sex = np.array(["F"] * 300 + ["M"] * 292 + ["X"] * 8)
    shown = groups_in(told(scores, truth, groups={"sex": sex.tolist()}))
    assert shown == {"", "sex=F"}  # M as well would leave the eight as the difference
    sex[-8:] = "M"
    assert groups_in(told(scores, truth, groups={"sex": sex.tolist()})) == {"", "sex=F", "sex=M"}
    found = pooled([told(scores, truth, groups={"sex": sex.tolist()})] * 2)
    exact = auroc(scores[sex == "F"], truth[sex == "F"]).value
    part = by_name(found, "sex=F")["auroc"]
    assert part.n == 600 and abs(part.value - exact) < 0.01  # type: ignore[operator]


def test_a_patient_counts_once_for_each_answer() -> None:
    scores, truth = cases(9, 120)
    names = [str(n // 3) for n in range(120)]
    truth = np.repeat(truth[::3], 3)
    truth[0] = 1 - truth[1]  # this one has an image of each answer
    counts = counted(scores[:, None], truth[:, None], patients=names, labels=["x"], smallest_n=5)
    sums = counts[key_of("sums", "x")]
    assert sums[0] == 41 and sums[1] == sum(truth[n : n + 3].any() for n in range(0, 120, 3))


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadInput, match="one row a case"):
        counted(np.zeros((3, 1)), np.zeros((3, 1), int), patients=["a", "b"], labels=["x"])
