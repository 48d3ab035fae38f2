"""Integrated gradients add up to the change of the logit, and are what the definition says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hounsfield.core.plan import Network
from hounsfield.explainers.integrated_gradients import attribute, integrated_gradients
from hounsfield.networks import build

torch.set_num_threads(1)


def images(n: int = 2, channels: int = 2, side: int = 12) -> Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(4))


def test_a_linear_network_gives_weight_times_distance_from_the_mean() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2, 12, 12, generator=torch.Generator().manual_seed(5)))

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.weight).sum((1, 2, 3))[:, None]

    x, network = images(), Linear()
    found = attribute(network, x, output=0, steps=1)
    wanted = network.weight * (x - x.mean((2, 3), keepdim=True))
    np.testing.assert_allclose(found.values, wanted.detach().numpy(), atol=1e-5)
    assert (found.gap < 1e-4).all()


def test_a_product_is_shared_as_the_definition_has_it() -> None:
    class Product(nn.Module):
        """a * b of two pixels: both baselines are 1, so each pixel's share is an integral that is known."""

        def forward(self, x: Tensor) -> Tensor:
            return (x[:, 0, 0, 0] * x[:, 0, 0, 1])[:, None]

    x = torch.tensor([[[[4.0, -2.0]]]])  # the way is (1 + 3 t, 1 - 3 t)
    found = attribute(Product(), x, output=0, steps=50)
    # 3 times the integral of 1 - 3 t, and -3 times that of 1 + 3 t
    np.testing.assert_allclose(found.values.ravel(), [-1.5, -7.5], atol=1e-5)
    assert found.change[0] == -9.0


@pytest.mark.parametrize("name", ["compact", "article-a"])
def test_the_attributions_of_a_network_add_up(name: str) -> None:
    network = build(
        Network(name=name, width=4, depth=2), channels=2, outputs=3, size=(1, 24, 24), seed=1
    ).eval()
    x = 3 * images(side=24)
    found = attribute(network, x, output=2)
    with torch.no_grad():
        ends = network(x)[:, 2] - network(x.mean((2, 3), keepdim=True).expand_as(x))[:, 2]
    np.testing.assert_allclose(found.change, ends.numpy(), atol=1e-5)
    sums = found.values.reshape(2, -1).sum(1)
    np.testing.assert_allclose(sums, found.change, atol=0.021 * np.maximum(1, np.abs(found.change)).max())


def test_a_gap_calls_for_finer_steps_and_is_told() -> None:
    class Step(nn.Module):
        """Jumps within a hundredth of the way: no midpoint of a few lies in it."""

        def __init__(self) -> None:
            super().__init__()
            self.asked = 0

        def forward(self, x: Tensor) -> Tensor:
            self.asked += len(x)
            return 5 * ((x.flatten(1).amax(1, keepdim=True) - 0.971) * 100).clamp(0, 1)

    x = torch.zeros(1, 1, 4, 4)
    x[..., 0, 0] = 1.0
    network = Step()
    found = attribute(network, x, output=0, steps=3)
    assert network.asked == 2 + 3 + 12
    assert found.gap[0] == pytest.approx(abs(found.values.sum() - found.change[0]) / 5)
    assert found.gap[0] > 0.5


def test_smoothing_spreads_a_pixel_and_keeps_its_place() -> None:
    class Dot(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, 8, 20]

    x = torch.zeros(1, 1, 40, 40)
    x[..., 8, 20] = 1
    sharp = integrated_gradients(Dot(), x, output=0, smooth=0.0)[0]
    soft = integrated_gradients(Dot(), x, output=0)[0]
    assert (sharp > 0).sum() == 1
    assert (soft > 0).sum() > 9
    assert np.unravel_index(soft.argmax(), soft.shape) == (8, 20)
