"""Randomised copies leave the network alone, begin at the head, and keep signals alive."""

from __future__ import annotations

import torch
from torch import nn

from hounsfield.core.plan import Network
from hounsfield.explainers.randomise import randomised
from hounsfield.networks import build

torch.set_num_threads(1)


def same(one: nn.Module, other: nn.Module) -> list[bool]:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return [torch.equal(a, b) for a, b in pairs]


def trained_like() -> nn.Module:
    network = build(
        Network(name="compact", width=4, depth=3), channels=1, outputs=2, size=(1, 32, 32), seed=0
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.5
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer += 3.0
    return network.eval()


def test_only_the_head_is_drawn_anew_first() -> None:
    network = trained_like()
    kept = same(network, randomised(network, layers=1))
    names = list(network.state_dict())
    assert [name for name, k in zip(names, kept, strict=True) if not k] == [
        "classifier.weight",
        "classifier.bias",
    ]


def test_in_the_end_no_parameter_is_left() -> None:
    network = trained_like()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    other = randomised(network)
    parameters = {name for name, _ in network.named_parameters()}
    left = [
        name
        for name, value in other.state_dict().items()
        if name in parameters and torch.equal(value, before[name])
    ]
    assert not left
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    means = [v for k, v in other.named_buffers() if k.endswith("running_mean")]
    assert means and not any(m.any() for m in means)


def test_a_seed_decides() -> None:
    network = trained_like()
    assert all(same(randomised(network, seed=3), randomised(network, seed=3)))
    assert not all(same(randomised(network, seed=3), randomised(network, seed=4)))


def test_a_signal_survives_a_deep_random_network() -> None:
    layers: list[nn.Module] = []
    for _ in range(30):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    network = randomised(nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), *layers))
    with torch.no_grad():
        out = network(torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert 1e-3 < float(out.std()) < 1e3


def test_a_parameter_of_no_layer_keeps_its_spread() -> None:
    network = nn.Module()
    network.token = nn.Parameter(0.02 * torch.randn(1, 1, 400))
    token = randomised(network).token
    assert 0.5 < float((token.std() / network.token.std()).detach()) < 2.0
    assert not torch.equal(token, network.token)
