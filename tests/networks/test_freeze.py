"""Layers thaw and freeze while a network trains, and their statistics with them."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from hounsfield.core.plan import Network
from hounsfield.networks import build
from hounsfield.networks.classifier import Classifier
from hounsfield.networks.freeze import set_trainable
from hounsfield.networks.links import distances

torch.set_num_threads(1)
needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
NAMES = [
    "compact",
    "article-a",
    "article-c",
    *(
        pytest.param(f"timm:test_{n}", marks=needs_timm)
        for n in ("resnet", "efficientnet", "vit", "convnext")
    ),
]


def made(name: str, **options: object) -> Classifier:
    wanted = Network.model_validate({"name": name, "width": 8, "depth": 2, **options})
    return build(wanted, channels=1, outputs=2, size=(1, 32, 32), seed=0)


@pytest.mark.parametrize("name", NAMES)
def test_thawing_step_by_step_ends_where_everything_learns(name: str) -> None:
    network = made(name, trainable_layers=0).train()
    backbone = {id(p) for layer in network.layers() for p in layer.parameters(recurse=False)}
    for layers in (0, 1, 3, 2, -1):
        set_trainable(network, layers)
        counted = network.layers()
        free = counted[len(counted) - layers :] if layers >= 0 else counted
        learning = {id(p) for layer in free for p in layer.parameters(recurse=False)}
        for parameter in network.parameters():
            assert parameter.requires_grad == (id(parameter) in learning or id(parameter) not in backbone)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.training == module.weight.requires_grad
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_number_that_a_plan_gives_is_what_is_set(name: str) -> None:
    by_plan, later = made(name, trainable_layers=2), made(name)
    set_trainable(later, 2)
    assert [p.requires_grad for p in by_plan.parameters()] == [p.requires_grad for p in later.parameters()]


def test_evaluation_stays_evaluation() -> None:
    network = made("compact").eval()
    set_trainable(network, 1)
    set_trainable(network, -1)
    assert not any(m.training for m in network.modules())


def test_a_frozen_layer_forgets_its_gradient() -> None:
    network = made("article-a")
    network(torch.randn(2, 1, 32, 32)).sum().backward()
    set_trainable(network, 0)
    given = {name for name, p in network.named_parameters() if p.grad is not None}
    assert given == {n for n, p in network.named_parameters() if p.requires_grad} != set()


def test_what_never_learns_is_not_thawed() -> None:
    network = made("article-a")
    network.fixed = frozenset({"backbone.0.bias"})
    set_trainable(network, -1)
    assert [n for n, p in network.named_parameters() if not p.requires_grad] == ["backbone.0.bias"]


class Own(Classifier):
    """A network of somebody else, which says nothing about its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3))
        self.last = nn.Linear(3, 1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)

    def head(self, feature_map: torch.Tensor) -> torch.Tensor:
        return self.last(feature_map.mean((2, 3)))


def test_a_network_that_names_no_layers_is_frozen_and_ranked_by_its_modules() -> None:
    network = Own()
    assert network.layers() == (network.body[0], network.body[1], network.body[2])
    set_trainable(network, 1)
    assert [n for n, p in network.named_parameters() if p.requires_grad] == [
        "body.2.weight", "body.2.bias", "last.weight", "last.bias",
    ]  # fmt: skip
    ranks = {k: v for k, v in distances(network).items() if k.endswith("weight")}
    assert ranks == {"body.0.weight": 2, "body.1.weight": 2, "body.2.weight": 1, "last.weight": 0}


@pytest.mark.parametrize("name", NAMES)
def test_distances_fall_towards_the_head_without_a_gap(name: str) -> None:
    network = made(name)
    away = distances(network)
    assert set(away) == {n for n, _ in network.named_parameters()}
    assert set(away.values()) == set(range(max(away.values()) + 1))
    counted = [away[n] for n, p in network.named_parameters() if p.ndim == 4]  # kernels stand in their order
    assert counted == sorted(counted, reverse=True)


@needs_timm
def test_blocks_are_the_layers_of_a_residual_network_and_of_a_transformer() -> None:
    with torch.device("meta"):
        residual = build(Network(name="resnet18"), channels=1, outputs=1, size=(1, 32, 32))
        transformer = build(Network(name="vit_tiny"), channels=1, outputs=1, size=(1, 32, 32))
    found = distances(residual)
    assert found["model.conv1.weight"] == found["model.bn1.weight"] == 9
    assert found["model.layer1.0.conv1.weight"] == found["model.layer1.0.bn2.bias"] == 8
    assert found["model.layer4.1.conv2.weight"] == 1
    assert found["model.fc.weight"] == 0
    found = distances(transformer)
    assert (
        found["model.cls_token"] == found["model.pos_embed"] == found["model.patch_embed.proj.weight"] == 13
    )
    assert found["model.blocks.0.norm1.weight"] == 12
    assert found["model.blocks.11.mlp.fc2.weight"] == found["model.norm.weight"] == 1
