"""What a forward pass keeps is counted in bytes, for an image, without parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hounsfield.networks.dropout import BatchDropout, set_rows
from hounsfield.networks.memory import bytes_per_image

torch.set_num_threads(1)
CPU = torch.device("cpu")


def test_each_activation_counts_once_and_no_parameter() -> None:
    network = nn.Sequential(nn.Linear(100, 50), nn.Sigmoid(), nn.Linear(50, 1))
    # the images, for the first layer's gradient; the sigmoid's output, for its own and the second layer's
    assert bytes_per_image(network, (100,), CPU) == 4 * (100 + 50)


def test_a_frozen_start_keeps_nothing() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 1))
    whole = bytes_per_image(network, (1, 8, 8), CPU)
    network[0].requires_grad_(False)
    assert bytes_per_image(network, (1, 8, 8), CPU) == 4 * 8 * 36 < whole


def test_half_the_precision_takes_half() -> None:
    network = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    full = bytes_per_image(network, (64,), CPU)
    with torch.autocast("cpu", torch.bfloat16):
        assert bytes_per_image(network, (64,), CPU) == full // 2


def test_volumes_grow_with_their_slices() -> None:
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU())
    flat, deep = (bytes_per_image(network, (1, n, 8, 8), CPU) for n in (4, 8))
    assert deep == 2 * flat


@pytest.mark.parametrize("mode", [True, False])
def test_the_network_and_the_generator_are_left_alone(mode: bool) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), BatchDropout(0.5)).train(mode)
    set_rows(network, 8, 0, 4)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    before = torch.get_rng_state()
    with torch.no_grad():
        assert bytes_per_image(network, (1, 8, 8), CPU) > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert all(m.training == mode for m in network.modules())
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
