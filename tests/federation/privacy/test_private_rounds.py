"""Rounds under a budget: the same question has the same answer at no cost, any other has other noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.plan import Plan
from hounsfield.federation.local_training import LocalTraining, first_weights
from hounsfield.federation.private_rounds import PrivateRounds
from hounsfield.steps.prepare import Prepared

PLAN = Plan.checked(
    {
        "input": {"size": [1, 8, 8]},
        "network": {"norm": "group", "width": 4, "depth": 1},
        "fit": {"batch_size": 8, "class_weights": False, "optimiser": "sgd"},
        "federation": {"strategy": "scaffold", "epsilon": 8.0, "rounds": 3},
        "device": "cpu",
    }
)
ENCODING = LabelEncoding("binary", ("no", "yes"))


def rounds(folder: Path, images: NDArray[np.uint8]) -> tuple[LocalTraining, PrivateRounds]:
    n = len(images)
    ids = tuple(str(k) for k in range(n))
    prepared = Prepared(ids, images, np.tile(np.array([0, 1 / 64, 0, 1], np.float32), (n, 1)))
    answers, patients = np.arange(n) % 2, np.arange(n) // 2
    training = LocalTraining(PLAN, ENCODING, prepared, np.arange(n), answers, name="A", patients=patients)
    private = PrivateRounds(training, folder, run="plan")
    training.walk = private.walk
    return training, private


def test_a_round_repeats_itself_at_no_cost_and_differs_where_anything_does(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 64, (40, 1, 1, 8, 8), np.uint8)
    training, private = rounds(tmp_path, images)
    before = first_weights(PLAN, ENCODING)
    none = (np.zeros_like(before), np.zeros_like(before))
    first = training.round(before, 1, control=none)
    spent = private.spending().epsilon
    assert 0 < spent < 8 and "loss" not in first.metrics
    again = training.round(before, 1, control=none)
    assert np.array_equal(first.weights, again.weights) and private.spending().epsilon == spent
    fresh, account = rounds(tmp_path, images)  # as after a restart
    assert np.array_equal(first.weights, fresh.round(before, 1, control=none).weights)
    assert account.spending().epsilon == spent


@pytest.mark.parametrize("differs", ["weights", "correction", "a case"])
def test_the_noise_of_two_rounds_that_differ_cannot_be_taken_off(tmp_path: Path, differs: str) -> None:
    images = np.random.default_rng(0).integers(0, 64, (40, 1, 1, 8, 8), np.uint8)
    before = first_weights(PLAN, ENCODING)
    none = (np.zeros_like(before), np.zeros_like(before))
    training, private = rounds(tmp_path, images)
    moved = training.round(before, 1, control=none).weights - before
    spent = private.spending().steps
    start, control = before, none
    if differs == "weights":
        start = before + np.float32(1e-6)
    elif differs == "correction":
        control = (np.full_like(before, 1e-6), none[1])
    else:
        images = images.copy()
        images[3, 0, 0, 4, 4] ^= 1
        training, private = rounds(tmp_path, images)
    other = training.round(start, 1, control=control).weights - start
    assert abs(np.corrcoef(moved, other)[0, 1]) < 0.5  # the noise is nearly all of it
    assert private.spending().steps == 2 * spent
