"""Deletion and insertion reward a map that marks what the score hangs on, and no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hounsfield.explainers.removal import SHARES, blurred, body_of, order_of, random_map, removal_gap

torch.set_num_threads(1)


class Spot(nn.Module):
    """Looks for a bright spot in one corner."""

    def forward(self, x: Tensor) -> Tensor:
        return 20 * x[:, :, 2:6, 2:6].mean((2, 3)) - 10


def image(side: int = 32) -> Tensor:
    made = 0.2 * torch.rand(1, side, side, generator=torch.Generator().manual_seed(0))
    made[:, 2:6, 2:6] = 1.0
    return made


def heat(rows: slice, columns: slice, side: int = 32) -> np.ndarray:
    made = np.zeros((side, side), np.float32)
    made[rows, columns] = 1
    return made


def probability(logits: Tensor) -> Tensor:
    return torch.sigmoid(logits[:, 0])


def test_the_true_map_beats_random_ones_and_a_wrong_one_does_not() -> None:
    x = image()
    fields = [random_map(x.numpy(), np.random.default_rng(k)) for k in range(6)]
    right, wrong = heat(slice(2, 6), slice(2, 6)), heat(slice(20, 30), slice(20, 30))
    orders = [order_of(right, fields[0]), order_of(wrong, fields[0]), *(order_of(f, f) for f in fields)]
    gaps = removal_gap(Spot(), x, orders, probability)
    assert gaps[0] > 0.9
    assert gaps[0] - gaps[2:].mean() > 0.3
    assert gaps[1] < gaps[2:].mean()


def test_a_score_that_never_moves_has_no_gap() -> None:
    class Still(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 1)

    order = np.arange(32 * 32)
    assert removal_gap(Still(), image(), [order, order[::-1]], probability).tolist() == [0.0, 0.0]


def test_it_is_the_mean_over_shares_of_what_stays_less_what_is_left() -> None:
    x = image(16)
    order = np.random.default_rng(3).permutation(256)
    empty, gaps = blurred(x), []
    for share in SHARES:
        mask = torch.zeros(256, dtype=torch.bool)
        mask[torch.from_numpy(order[: round(share * 256)])] = True
        only = torch.where(mask.view(1, 16, 16), x, empty)
        without = torch.where(mask.view(1, 16, 16), empty, x)
        gaps.append(float(probability(Spot()(only[None])) - probability(Spot()(without[None]))))
    assert removal_gap(Spot(), x, [order], probability)[0] == pytest.approx(np.mean(gaps), abs=1e-6)


def test_volumes_are_taken_apart_too() -> None:
    class Corner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 20 * x[:, 0, :2, :2, :2].mean((1, 2, 3))[:, None] - 15

    x = torch.zeros(1, 8, 8, 8)
    x[:, :2, :2, :2] = 1
    order = order_of(x[0].numpy(), np.zeros((8, 8, 8), np.float32))
    assert removal_gap(Corner(), x, [order, order[::-1]], probability)[0] > 0.3


def test_random_maps_keep_to_the_body() -> None:
    x = np.zeros((1, 20, 20), np.float32)
    x[:, 5:15, 5:15] = np.random.default_rng(0).random((10, 10)) + 0.5
    made = random_map(x, np.random.default_rng(1))
    assert body_of(x).sum() == 100
    assert (made[~body_of(x)] == 0).all()
    assert (made[body_of(x)] > 0).all()
    assert not np.array_equal(made, random_map(x, np.random.default_rng(2)))


def test_ties_of_a_map_are_broken_by_the_other() -> None:
    rng = np.random.default_rng(0)
    coarse = np.zeros((10, 10), np.float32)
    coarse[:2] = 1
    field = rng.random((10, 10), np.float32)
    order = order_of(coarse, field)
    assert set(order[:20]) == set(range(20))
    assert (np.diff(field.ravel()[order[20:]]) <= 0).all()
