"""The difference of two accuracies: a published example, clusters, and what no difference leaves open."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hounsfield.core.errors import BadInput
from hounsfield.metrics.paired_accuracy import accuracy_difference


def calls(both: int, first: int, second: int, none: int) -> tuple[list[int], list[int]]:
    return (
        [1] * (both + first) + [0] * (second + none),
        [1] * both + [0] * first + [1] * second + [0] * none,
    )


def newcombe(both: int, first: int, second: int, none: int) -> tuple[float, float]:
    """The closed form of Stat Med 1998;17:2635 without correction of phi, written from the paper."""
    n, z = both + first + second + none, 1.959963984540054

    def wilson(k: int) -> tuple[float, float]:
        root = z * math.sqrt(z * z + 4 * k * (1 - k / n))
        return (2 * k + z * z - root) / (2 * (n + z * z)), (2 * k + z * z + root) / (2 * (n + z * z))

    p, q = (both + first) / n, (both + second) / n
    (lp, up), (lq, uq) = wilson(both + first), wilson(both + second)
    margins = (both + first) * (second + none) * (both + second) * (first + none)
    phi = (both * none - first * second) / math.sqrt(margins) if margins else 0.0
    below = math.sqrt((p - lp) ** 2 - 2 * phi * (p - lp) * (uq - q) + (uq - q) ** 2)
    above = math.sqrt((up - p) ** 2 - 2 * phi * (up - p) * (q - lq) + (q - lq) ** 2)
    return p - q - below, p - q + above


def test_the_published_example() -> None:
    """Newcombe's table II: 36, 12, 2, 0 gives 0.0569 to 0.3404."""
    found = accuracy_difference(*calls(36, 12, 2, 0))
    assert (round(found.low or 0, 4), round(found.high or 0, 4)) == (0.0569, 0.3404)
    assert found.n == 50 and found.value == pytest.approx(0.2)


@pytest.mark.parametrize("table", [(20, 5, 3, 22), (10, 0, 1, 3), (30, 9, 9, 2), (1, 12, 2, 40)])
def test_the_closed_form(table: tuple[int, int, int, int]) -> None:
    found = accuracy_difference(*calls(*table))
    assert (found.low, found.high) == pytest.approx(newcombe(*table), abs=1e-9)


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
