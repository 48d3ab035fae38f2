"""One optimiser lasts through staged unfreezing; rates fall towards the image; RMSprop is that of Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hounsfield.core.plan import Fit, Network
from hounsfield.networks import build
from hounsfield.networks.classifier import Classifier
from hounsfield.networks.freeze import set_trainable
from hounsfield.networks.links import distances
from hounsfield.steps.checkpoint import read_checkpoint, write_checkpoint
from hounsfield.steps.rmsprop import RMSprop
from hounsfield.steps.schedule import optimiser_of, rate_at, set_rate

torch.set_num_threads(1)
OPTIMISERS = ["sgd", "rmsprop", "adam", "adamw"]


def made(name: str = "article-a", **options: object) -> Classifier:
    wanted = Network.model_validate({"name": name, "width": 4, "depth": 2, **options})
    return build(wanted, channels=1, outputs=1, size=(1, 16, 16), seed=0)


def step(network: Classifier, optimiser: torch.optim.Optimizer, seed: int = 0) -> None:
    x = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
    optimiser.zero_grad(set_to_none=True)
    network(x).square().sum().backward()
    optimiser.step()


def fit(optimiser: str, **options: object) -> Fit:
    return Fit.model_validate({"optimiser": optimiser, "learning_rate": 1e-3, **options})


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_what_is_frozen_stays_and_learns_once_it_thaws(kind: str) -> None:
    network = made(trainable_layers=0).train()
    optimiser = optimiser_of(network, fit(kind, weight_decay=0.1))
    held = sum(len(g["params"]) for g in optimiser.param_groups)
    assert held == len(list(network.parameters()))
    for layers, still in ((0, "backbone"), (2, "backbone.0"), (-1, "nothing")):
        set_trainable(network, layers)
        before = {k: v.clone() for k, v in network.state_dict().items()}
        step(network, optimiser)
        moved = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
        assert moved == {k for k in before if not k.startswith(still)}
    set_trainable(network, 0)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    step(network, optimiser)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items() if k.startswith("backbone"))


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_a_checkpoint_between_stages_goes_on_as_if_it_had_not_stopped(kind: str, tmp_path: Path) -> None:
    plan = fit(kind, layer_decay=0.5)
    network = made(trainable_layers=0).train()
    optimiser = optimiser_of(network, plan)
    step(network, optimiser)
    write_checkpoint(tmp_path / "c", parts={"network": network.state_dict()}, optimiser=optimiser, facts={})
    other = made(trainable_layers=0).train()
    again = optimiser_of(other, plan)
    parts, _ = read_checkpoint(tmp_path / "c", optimiser=again)
    other.load_state_dict(parts["network"])
    for one, its in ((network, optimiser), (other, again)):
        set_trainable(one, -1)
        set_rate(its, 0.01)
        step(one, its, seed=1)
        step(one, its, seed=2)
    for k, v in network.state_dict().items():
        assert torch.equal(v, other.state_dict()[k])


@pytest.mark.parametrize("name", ["article-a", "compact"])
def test_a_rate_falls_once_for_each_layer_and_keeps_its_ratio(name: str) -> None:
    network = made(name)
    optimiser = optimiser_of(network, fit("sgd", layer_decay=0.5, learning_rate=0.2))
    away = {id(p): distances(network)[n] for n, p in network.named_parameters()}
    assert len(set(away.values())) > 2
    for rate in (0.2, 0.01):
        set_rate(optimiser, rate)
        for group in optimiser.param_groups:
            (distance,) = {away[id(p)] for p in group["params"]}
            assert group["lr"] == pytest.approx(rate * 0.5**distance)
            assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}


def test_without_decay_all_layers_share_one_rate_and_norms_are_not_decayed() -> None:
    optimiser = optimiser_of(made("compact"), fit("adamw", weight_decay=0.3))
    assert [g["weight_decay"] for g in optimiser.param_groups] == [0.3, 0.0]
    assert all(p.ndim > 1 for p in optimiser.param_groups[0]["params"])
    assert all(p.ndim == 1 for p in optimiser.param_groups[1]["params"])
    set_rate(optimiser, 0.7)
    assert {g["lr"] for g in optimiser.param_groups} == {0.7}


def test_the_effect_of_a_rate_is_scaled_in_the_weights() -> None:
    moves = []
    for decay in (1.0, 0.5):
        network = made().train()
        optimiser = optimiser_of(network, fit("sgd", momentum=0.0, layer_decay=decay, weight_decay=0.0))
        before = {k: v.clone() for k, v in network.state_dict().items()}
        step(network, optimiser)
        moves.append({k: v - before[k] for k, v in network.state_dict().items()})
    for name, distance in distances(made()).items():
        torch.testing.assert_close(moves[1][name], moves[0][name] * 0.5**distance, rtol=1e-3, atol=1e-6)


def keras_rmsprop(weight: np.ndarray, gradients: list[np.ndarray], rate: float) -> np.ndarray:
    """The update as Keras writes it: keras.optimizers.RMSprop, rho .9, epsilon 1e-7."""
    velocity = np.zeros_like(weight)
    for gradient in gradients:
        velocity = 0.9 * velocity + 0.1 * gradient**2
        weight = weight - rate * gradient / np.sqrt(velocity + 1e-7)
    return weight


@pytest.mark.parametrize("size", [1e-6, 1e-4, 1e-2, 10.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_rmsprop_is_that_of_keras_for_gradients_of_any_size(size: float, layout: torch.memory_format) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(3, 4, 5, 5))
    gradients = [rng.normal(size=start.shape) * size for _ in range(20)]
    weight = nn.Parameter(torch.from_numpy(start).float().contiguous(memory_format=layout))
    optimiser = RMSprop([weight], lr=1e-2)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient).float()  # in an order of its own
        optimiser.step()
    wanted = torch.from_numpy(keras_rmsprop(start, gradients, 1e-2)).float()
    torch.testing.assert_close(weight.detach().contiguous(), wanted, rtol=1e-4, atol=2e-6)


def test_rmsprop_adds_the_decay_to_the_gradient_and_passes_by_what_has_none() -> None:
    weights = [nn.Parameter(torch.full((3,), 2.0)) for _ in range(2)]
    weights[0].grad = torch.full((3,), 0.5)
    optimiser = RMSprop([{"params": weights, "weight_decay": 0.25}], lr=0.1)
    optimiser.step()
    pull = 0.5 + 0.25 * 2
    wanted = 2 - 0.1 * pull / (0.1 * pull**2 + 1e-7) ** 0.5
    torch.testing.assert_close(weights[0].detach(), torch.full((3,), wanted))
    assert torch.equal(weights[1].detach(), torch.full((3,), 2.0))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_a_schedule_never_exceeds_its_rate_and_warms_up(schedule: str) -> None:
    plan = fit("sgd", schedule=schedule, learning_rate=1.0, warmup=0.2)
    rates: list[float] = [rate_at(plan, s, 100) for s in range(101)]
    assert max(rates) == pytest.approx(1.0)
    if schedule != "constant":
        assert rates[0] < 0.1 and rates[-1] == pytest.approx(0.0, abs=1e-12)
        assert rates[:20] == sorted(rates[:20]) and rates[20:] == sorted(rates[20:], reverse=True)


def test_a_plain_module_has_an_optimiser_too() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)

    assert len(optimiser_of(Plain(), fit("adam", layer_decay=0.5)).param_groups) == 2
