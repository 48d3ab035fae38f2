"""The detector's map: its cells, what it starts from, what it costs, and plans that cannot be built."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Network
from hounsfield.networks.detector import Detector, build_detector

SMALL = Network(width=4, depth=4)


def built(patch: tuple[int, int, int], stride: tuple[int, int, int], network: Network = SMALL) -> Detector:
    return build_detector(network, channels=1, classes=2, patch=patch, stride=stride, seed=0).eval()


@pytest.mark.parametrize(
    ("patch", "stride", "size", "cells"),
    [
        ((1, 64, 64), (1, 4, 4), (50, 67), (13, 17)),
        ((1, 64, 64), (1, 2, 2), (33, 64), (17, 32)),
        ((32, 32, 32), (4, 4, 4), (30, 33, 41), (8, 9, 11)),
        ((8, 32, 32), (1, 4, 4), (5, 32, 40), (5, 8, 10)),
        ((16, 32, 32), (2, 4, 4), (9, 32, 36), (5, 8, 9)),
        ((16, 16, 16), (1, 1, 1), (9, 10, 11), (9, 10, 11)),
    ],
)
def test_map_has_a_cell_for_every_stride_of_an_image_of_any_size(
    patch: tuple[int, int, int],
    stride: tuple[int, int, int],
    size: tuple[int, ...],
    cells: tuple[int, ...],
) -> None:
    with torch.no_grad():
        found = built(patch, stride)(torch.randn(2, 1, *size))
    assert found.shape == (2, 2 + 2 * len(cells), *cells)


def test_a_moved_image_moves_the_map() -> None:
    net = built((1, 256, 256), (1, 4, 4), Network(width=4, depth=3))
    image = torch.zeros(1, 1, 256, 256)
    image[..., 120:136, 124:132] = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        here, there = net(image), net(image.roll((8, 24), (2, 3)))
    near = (..., slice(24, 46), slice(28, 46))  # cells around the blob, far from the borders of the image
    assert torch.allclose(here.roll((2, 6), (2, 3))[near], there[near], atol=1e-5)
    assert (here - there)[near].abs().max() > 1e-2


def test_no_class_is_likely_before_anything_is_learned() -> None:
    with torch.no_grad():
        heat = built((16, 32, 32), (2, 4, 4))(torch.randn(1, 1, 16, 32, 32))[:, :2].sigmoid()
    assert 0.005 < heat.mean() < 0.02 and heat.max() < 0.1


def test_a_seed_gives_the_same_weights_and_leaves_torch_alone() -> None:
    before = torch.random.get_rng_state()
    one, two = built((1, 32, 32), (1, 4, 4)), built((1, 32, 32), (1, 4, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_every_weight_learns() -> None:
    net = built((1, 32, 32), (1, 4, 4)).train()
    net(torch.randn(2, 1, 32, 32)).pow(2).sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()]


@pytest.mark.parametrize("stride", [(4, 4, 4), (2, 2, 2)])
def test_a_patch_of_96_costs_less_than_12_billion_multiplications(stride: tuple[int, int, int]) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        net = build_detector(
            Network(width=16, depth=4), channels=1, classes=1, patch=(96, 96, 96), stride=stride
        )
        net(torch.empty(1, 1, 96, 96, 96))
    assert counted.get_total_flops() / 2 < 12e9


def test_short_axes_are_not_halved() -> None:
    assert built((4, 64, 64), (1, 4, 4)).strides == ((1, 2, 2), (1, 2, 2), (1, 2, 2), (1, 2, 2))
    assert built((16, 16, 16), (1, 1, 1)).strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 1))


def test_strides_of_the_plan_are_taken() -> None:
    network = Network(width=4, strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)), blocks=2)
    net = built((8, 32, 32), (1, 2, 2), network)
    assert net.map_stage == 1
    with torch.no_grad():
        assert net(torch.zeros(1, 1, 8, 32, 32)).shape == (1, 8, 8, 16, 16)


@pytest.mark.parametrize(
    ("patch", "stride", "network", "said"),
    [
        ((16, 32, 32), (3, 4, 4), SMALL, "powers of 2"),
        ((1, 32, 32), (2, 4, 4), SMALL, "1 along the slices"),
        ((4, 32, 32), (8, 8, 8), SMALL, "no longer than the patch"),
        ((16, 32, 32), (4, 4, 4), Network(strides=((1, 1, 1), (1, 2, 2))), "1×1×1, 1×2×2 voxels wide"),
        ((16, 32, 32), (4, 4, 4), Network(weights="pretrained"), "no pretrained weights"),
        ((16, 32, 32), (4, 4, 4), Network(width=0), "at least 1"),
    ],
)
def test_plans_that_cannot_be_built_say_why(
    patch: tuple[int, int, int], stride: tuple[int, int, int], network: Network, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        built(patch, stride, network)
