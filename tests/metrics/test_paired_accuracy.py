"""The difference of two accuracies: a published example, clusters, and what no difference leaves open."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from hounsfield.core.errors import BadInput
from hounsfield.metrics.paired_accuracy import accuracy_difference


def calls(both: int, first: int, second: int, none: int) -> tuple[list[int], list[int]]:
    return (
        [1] * (both + first) + [0] * (second + none),
        [1] * both + [0] * first + [1] * second + [0] * none,
    )


def distance(table: tuple[int, int, int, int], difference: float) -> float:
    """The score statistic of a stated difference, with the likelihood maximised by search."""
    both, first, second, none = table
    n = sum(table)

    def unlikely(q: float) -> float:
        """Less the log likelihood where the second alone is right in a share q, the first in q + d."""
        shares = np.array([1 - 2 * q - difference, q + difference, q])
        return -float((np.array([both + none, first, second]) * np.log(np.maximum(shares, 1e-300))).sum())

    least, most = max(0.0, -difference), (1 - difference) / 2
    q = minimize_scalar(unlikely, bounds=(least, most), method="bounded", options={"xatol": 1e-12}).x
    return float((first - second - n * difference) / math.sqrt(n * (2 * q + difference * (1 - difference))))


def test_the_published_example() -> None:
    """Fagerland, Lydersen & Laake, Stat Med 2014;33:2850: 1, 1, 7, 12 gives -0.517 to -0.026."""
    found = accuracy_difference(*calls(1, 1, 7, 12))
    assert (round(found.low or 0, 3), round(found.high or 0, 3)) == (-0.517, -0.026)
    assert found.n == 21 and found.value == pytest.approx(-6 / 21)


@pytest.mark.parametrize("table", [(20, 5, 3, 22), (10, 1, 2, 3), (30, 9, 9, 2), (1, 12, 2, 40)])
def test_bounds_are_the_differences_that_the_score_test_just_rejects(
    table: tuple[int, int, int, int],
) -> None:
    found = accuracy_difference(*calls(*table))
    assert distance(table, found.low or 0) == pytest.approx(1.959964, abs=1e-3)
    assert distance(table, found.high or 0) == pytest.approx(-1.959964, abs=1e-3)


def test_no_difference_leaves_something_open() -> None:
    for table in ((14, 0, 0, 0), (7, 0, 0, 7)):
        found = accuracy_difference(*calls(*table))
        assert found.value == 0 and -0.25 < (found.low or 0) < -0.15 and 0.15 < (found.high or 0) < 0.25


def test_it_turns_round_with_its_sides() -> None:
    one, two = calls(20, 5, 2, 10)
    there, back = accuracy_difference(one, two), accuracy_difference(two, one)
    assert there.value == pytest.approx(-(back.value or 0)) and there.low == pytest.approx(-(back.high or 0))


def test_cases_of_one_patient_widen_the_interval() -> None:
    one, two = (np.repeat(c, 4) for c in calls(20, 5, 2, 10))
    alone = accuracy_difference(one, two)
    together = accuracy_difference(one, two, patients=np.repeat(np.arange(37), 4))
    plain = accuracy_difference(*calls(20, 5, 2, 10))
    width = [(e.high or 0) - (e.low or 0) for e in (alone, together, plain)]
    assert width[0] < 0.6 * width[1] and width[1] == pytest.approx(width[2], rel=0.1)
    assert together.n == 148 and together.n_patients == 37


def test_it_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    cells = rng.multinomial(40, (0.7, 0.12, 0.06, 0.12), 400)
    found = [accuracy_difference(*calls(*(int(c) for c in cell))) for cell in cells]
    covered = np.mean([(e.low or 0) <= 0.06 <= (e.high or 0) for e in found])
    assert 0.92 <= covered <= 0.985


def test_too_few_cases_give_no_number() -> None:
    assert accuracy_difference([1, 0, 1], [1, 1, 1]).refused


@pytest.mark.parametrize("first, second", [([1, 0], [1]), ([], []), ([0.5], [1]), ([[1]], [[1]])])
def test_calls_that_do_not_belong_together_are_refused(first: list[float], second: list[float]) -> None:
    with pytest.raises(BadInput, match="expected"):
        accuracy_difference(first, second)
