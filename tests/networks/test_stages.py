"""A network is its frozen first part and its rest; the first part never changes while it trains."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from hounsfield.core.plan import Network
from hounsfield.networks import build
from hounsfield.networks.classifier import Classifier
from hounsfield.networks.freeze import set_trainable
from hounsfield.networks.links import Link
from hounsfield.networks.stages import Prefix, frozen_prefix

torch.set_num_threads(1)
needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


def made(name: str, layers: int, *, slices: int = 1, **options: object) -> Classifier:
    wanted = Network.model_validate(
        {"name": name, "width": 8, "depth": 2, "trainable_layers": layers, **options}
    )
    return build(wanted, channels=1, outputs=2, size=(slices, 32, 32), seed=0)


def split_of(network: Classifier) -> Prefix:
    found = frozen_prefix(network)
    assert found is not None
    return found


CASES = [
    ("article-c", 4, "backbone.23"),
    ("article-c", 0, "classifier.1"),
    ("compact", 0, "dropout"),
    ("article-a", 2, "backbone.2"),
    pytest.param("timm:test_resnet", 4, "layer", marks=needs_timm),
    pytest.param("timm:test_resnet", 0, "global_pool", marks=needs_timm),
    pytest.param("timm:test_efficientnet", 0, "global_pool", marks=needs_timm),
    pytest.param("timm:test_convnext", 0, "head.", marks=needs_timm),
    pytest.param("timm:test_vit", 12, "blocks.", marks=needs_timm),
    pytest.param("timm:test_vit", 0, "head_drop", marks=needs_timm),
]


@pytest.mark.parametrize(("name", "layers", "last"), CASES)
def test_rest_of_prefix_is_the_network(name: str, layers: int, last: str) -> None:
    network = made(name, layers).eval()
    split = split_of(network)
    assert split.frozen[-1].name.startswith(last)
    assert split.depth == len(split.frozen)
    x = torch.randn(3, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(split.rest(split.prefix(x)), network(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "layers", "last"), CASES)
def test_training_leaves_the_prefix_and_moves_all_that_learns(name: str, layers: int, last: str) -> None:
    network = made(name, layers).train()
    split = split_of(network)
    x = torch.randn(4, 1, 32, 32)
    features = split.prefix(x)
    assert not features.requires_grad
    kept, state = features.clone(), {k: v.clone() for k, v in network.state_dict().items()}
    split.rest(features).square().sum().backward()
    learning = {n for n, p in network.named_parameters() if p.requires_grad}
    assert {n for n, p in network.named_parameters() if p.grad is not None} == learning
    torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1).step()
    assert torch.equal(kept, features)
    torch.testing.assert_close(split.prefix(x), kept, rtol=0, atol=0)
    moved = {k for k, v in network.state_dict().items() if not torch.equal(v, state[k])}
    assert learning & moved
    assert {id(p) for p in split.rest.parameters() if p.requires_grad} == {
        id(p) for p in network.parameters() if p.requires_grad
    }


@needs_timm
def test_an_inflated_network_is_split_too() -> None:
    network = made("timm:test_resnet", 0, slices=8).eval()
    split = split_of(network)
    x = torch.randn(1, 1, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(split.rest(split.prefix(x)), network(x))
    assert split.prefix(x).ndim == 2


def test_thawing_moves_the_split() -> None:
    network = made("article-c", 0)
    depths = []
    for layers in (0, 4, 8):
        set_trainable(network, layers)
        depths.append(split_of(network).depth)
    assert depths == sorted(depths, reverse=True) and len(set(depths)) == 3
    set_trainable(network, -1)
    assert frozen_prefix(network) is None


def test_splitting_leaves_the_network_and_the_generator_alone() -> None:
    network = made("compact", 1).train()
    network.body[0].eval()
    modes = [m.training for m in network.modules()]
    state = {k: v.clone() for k, v in network.state_dict().items()}
    before = torch.get_rng_state()
    frozen_prefix(network)
    assert torch.equal(torch.get_rng_state(), before)
    assert [m.training for m in network.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())


class Odd(Classifier):
    """A network that misnames its links, with a normalisation and a token between."""

    input_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(1))
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.chance = nn.Dropout(0.0)
        self.last = nn.Linear(2, 1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.chance(self.norm(self.conv(x) * self.token))

    def head(self, feature_map: torch.Tensor) -> torch.Tensor:
        return self.last(feature_map.mean((2, 3)))

    def links(self) -> tuple[Link, ...]:
        return tuple(Link(n, m, (m,)) for n, m in self.named_children())


def frozen_odd() -> Odd:
    network = Odd()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith("last"))
    with torch.no_grad():
        network.token.fill_(2.0)
    return network.train()


def test_links_that_do_not_compute_the_network_are_not_believed() -> None:
    network = frozen_odd()
    split = split_of(network)
    assert [link.name for link in split.frozen] == ["features"]
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(split.rest(split.prefix(x)), network(x))


@pytest.mark.parametrize("fault", ["token", "norm", "chance"])
def test_what_changes_in_training_is_not_split_off(fault: str) -> None:
    network = frozen_odd()
    if fault == "token":
        network.token.requires_grad_(True)
    if fault == "norm":
        network.norm = nn.BatchNorm2d(2, affine=False)
    if fault == "chance":
        network.chance.p = 0.5
    assert frozen_prefix(network) is None
