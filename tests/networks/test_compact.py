"""The compact net takes every size it is promised for, in 2D and 3D, and starts as its shortcuts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Network
from hounsfield.networks import build
from hounsfield.networks.compact import CompactNet
from hounsfield.networks.weights import save_weights

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("size", "last"),
    [
        ((1, 28, 28), (7, 7)),
        ((1, 64, 64), (16, 16)),
        ((1, 97, 97), (7, 7)),
        ((1, 224, 224), (14, 14)),
        ((1, 512, 300), (32, 19)),
        ((1, 5, 7), (5, 4)),
        ((16, 16, 16), (4, 4, 4)),
        ((28, 28, 28), (7, 7, 7)),
        ((5, 48, 128), (5, 6, 8)),
    ],
)
def test_the_last_feature_map_stays_a_map(size: tuple[int, int, int], last: tuple[int, ...]) -> None:
    network = build(Network(width=4), channels=1, outputs=2, size=size, seed=0).eval()
    x = torch.zeros(1, 1, *(size if size[0] > 1 else size[1:]))
    with torch.no_grad():
        assert network.features(x).shape == (1, 16, *last)
        assert network(x).shape == (1, 2)


def test_a_cube_of_128_is_shrunk_to_eight() -> None:
    with torch.device("meta"):
        network = build(Network(width=8), channels=1, outputs=1, size=(128, 128, 128)).eval()
        assert network.features(torch.zeros(1, 1, 128, 128, 128)).shape == (1, 32, 8, 8, 8)


def test_each_branch_adds_nothing_at_the_start() -> None:
    network = CompactNet(size=(28, 28), channels=1, outputs=1, width=4, depth=2, blocks=2).eval()
    block = network.body[2]
    x = torch.rand(1, 4, 28, 28)
    with torch.no_grad():
        assert torch.equal(block(x), x)


def test_every_parameter_learns_after_the_branches_have_opened() -> None:
    torch.manual_seed(0)
    network = CompactNet(size=(12, 12, 12), channels=1, outputs=1, width=4, depth=2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    x = torch.randn(4, 1, 12, 12, 12)
    for _ in range(2):
        optimiser.zero_grad()
        network(x).square().sum().backward()
        optimiser.step()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_pooling_both_puts_the_maximum_beside_the_average() -> None:
    network = CompactNet(size=(8, 8), channels=1, outputs=1, width=4, depth=1, pool="both")
    assert network.classifier.in_features == 8
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 1)


def test_it_starts_from_a_network_of_other_classes(tmp_path: Path) -> None:
    donor = build(Network(width=4), channels=1, outputs=5, size=(1, 28, 28), seed=1)
    save_weights(donor, tmp_path / "donor.safetensors")
    wanted = Network(width=4, weights=str(tmp_path / "donor.safetensors"))
    network = build(wanted, channels=1, outputs=1, size=(1, 28, 28), seed=0)
    assert network.left_out == ("classifier.weight", "classifier.bias")
    assert isinstance(network, CompactNet)
    assert all(torch.equal(v, donor.state_dict()[f"body.{k}"]) for k, v in network.body.state_dict().items())


def test_freezing_the_body_leaves_the_classifier() -> None:
    network = build(Network(width=4, trainable_layers=0), channels=1, outputs=1, size=(1, 28, 28))
    assert [n for n, p in network.named_parameters() if p.requires_grad] == [
        "classifier.weight",
        "classifier.bias",
    ]


@pytest.mark.parametrize("fault", [{"width": 0}, {"depth": 0}, {"dropout": 1.0}, {"trainable_layers": -2}])
def test_impossible_numbers_are_refused(fault: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="correct the plan"):
        build(Network.model_validate(fault), channels=1, outputs=1, size=(1, 28, 28))
