"""Grad-CAM follows the paper's equations, for every class in one pass, and says so when it cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Network
from hounsfield.explainers import gradcam as module
from hounsfield.explainers.gradcam import gradcam, gradcam_classes
from hounsfield.networks import build

torch.set_num_threads(1)


class Pooled(nn.Module):
    """Two channels of a coarse map, averaged and weighed by 1 and -2: the class activation map is known."""

    def features(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 4)

    def head(self, feature_map: Tensor) -> Tensor:
        return feature_map.mean((2, 3)) @ torch.tensor([[1.0], [-2.0]])


class Headed(nn.Module):
    """A convolution, what `pool` makes of its map, and a linear layer for three classes."""

    def __init__(self, pool: nn.Module, axes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Conv2d(1, 6, 3, 2, 1) if axes == 2 else nn.Conv3d(1, 6, 3, 2, 1)
        self.pool = pool
        self.classifier = nn.Linear(6, 3)
        self.passes = 0

    def features(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        return self.body(x).relu()

    def head(self, feature_map: Tensor) -> Tensor:
        return self.classifier(self.pool(feature_map).flatten(1))


def by_autograd(network: nn.Module, x: Tensor, output: int, sign: float = 1.0) -> np.ndarray:
    """Equations 1 and 2 by differentiating the whole network, one image at a time, as the paper has them."""
    made = []
    for image in x.split(1):
        maps = network.features(image)
        (gradient,) = torch.autograd.grad(sign * network.head(maps)[0, output], maps)
        weights = gradient.flatten(2).mean(2)
        coarse = torch.einsum("nf,nf...->n...", weights, maps).relu()[None]
        mode = "bilinear" if x.ndim == 4 else "trilinear"
        fine = nn.functional.interpolate(coarse, size=x.shape[2:], mode=mode, align_corners=False)[0, 0]
        made.append((fine / fine.max().clamp_min(1e-12)).detach().numpy())
    return np.stack(made)


def test_with_average_pooling_it_is_the_class_activation_map() -> None:
    # Selvaraju 2017, section 3.1: Grad-CAM generalises CAM, the classifier's weights times the maps
    x = torch.rand(3, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    x[:, 0] += 0.5
    coarse = nn.functional.avg_pool2d(x, 4)
    cam = (coarse[:, :1] - 2 * coarse[:, 1:]).clamp_min(0)
    fine = nn.functional.interpolate(cam, size=(16, 16), mode="bilinear", align_corners=False)[:, 0].numpy()
    assert (cam == 0).any()
    wanted = fine / fine.max((1, 2), keepdims=True)
    np.testing.assert_allclose(gradcam(Pooled(), x, output=0), wanted, atol=1e-6)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("towards", ["positive", "negative"])
@pytest.mark.parametrize("pool", ["average", "maximum", "square"])
def test_every_class_is_what_differentiating_the_network_gives(pool: str, towards: str, axes: int) -> None:
    class Squared(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.flatten(2).mean(2).square()

    average = nn.AdaptiveAvgPool2d(1) if axes == 2 else nn.AdaptiveAvgPool3d(1)
    maximum = nn.AdaptiveMaxPool2d(1) if axes == 2 else nn.AdaptiveMaxPool3d(1)
    network = Headed({"average": average, "maximum": maximum, "square": Squared()}[pool], axes)
    x = torch.randn(3, 1, *(17, 14, 11)[:axes], generator=torch.Generator().manual_seed(1))
    maps = gradcam_classes(network, x, towards=towards)  # type: ignore[arg-type]
    assert maps.shape == (3, 3, *x.shape[2:])
    for k in range(3):
        wanted = by_autograd(network, x, k, 1.0 if towards == "positive" else -1.0)
        np.testing.assert_allclose(maps[:, k], wanted, atol=2e-6)
        alone = gradcam(network, x, output=k, towards=towards)  # type: ignore[arg-type]
        np.testing.assert_allclose(maps[:, k], alone, atol=1e-6)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)])
def test_all_classes_cost_one_pass_through_the_features(pool: nn.Module) -> None:
    network = Headed(pool)
    gradcam_classes(network, torch.randn(4, 1, 12, 12))
    assert network.passes == 4


def test_nothing_is_differentiated_behind_average_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("differentiated")

    monkeypatch.setattr(module.torch.autograd, "grad", refuse)
    x = torch.randn(2, 1, 12, 12)
    assert gradcam_classes(Headed(nn.AdaptiveAvgPool2d(1)), x).any()
    with pytest.raises(AssertionError, match="differentiated"):
        gradcam_classes(Headed(nn.AdaptiveMaxPool2d(1)), x)


@pytest.mark.parametrize("name", ["compact", "plain", "article-a"])
def test_our_own_networks_are_explained_for_every_class(name: str) -> None:
    network = build(
        Network(name=name, width=4, depth=2), channels=1, outputs=5, size=(1, 20, 24), seed=0
    ).eval()
    x = torch.randn(2, 1, 20, 24, generator=torch.Generator().manual_seed(2))
    maps = gradcam_classes(network, x)
    for k in range(5):
        np.testing.assert_allclose(maps[:, k], by_autograd(network, x, k), atol=2e-5)


def test_a_channel_weighs_by_the_mean_of_its_gradient() -> None:
    class Ramp(nn.Module):
        """Channel 0 helps at one place and hurts more elsewhere; channel 1 always helps a little."""

        def features(self, x: Tensor) -> Tensor:
            return x

        def head(self, feature_map: Tensor) -> Tensor:
            ramp = torch.tensor([[[2.0, -1.0], [-1.0, -1.0]], [[0.5, 0.5], [0.5, 0.5]]])
            return (feature_map * ramp).sum((1, 2, 3))[:, None]

    x = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [2.0, 4.0]]]])
    # equation 1: weights -1/4 and 1/2; equation 2: relu of their sum
    assert gradcam(Ramp(), x, output=0).tolist() == [[[0.0, 0.0], [0.5, 1.0]]]


def test_a_network_in_one_piece_is_refused() -> None:
    with pytest.raises(BadInput, match="without features and head"):
        gradcam(nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), torch.zeros(1, 1, 4, 4), output=0)


def test_features_without_a_map_are_refused() -> None:
    class Tokens(nn.Module):
        def features(self, x: Tensor) -> Tensor:
            return x.flatten(2)

        def head(self, feature_map: Tensor) -> Tensor:
            return feature_map.mean(2)

    with pytest.raises(BadInput, match="expected a map of 4 axes"):
        gradcam(Tokens(), torch.zeros(1, 1, 4, 4), output=0)


def test_frozen_networks_are_explained_in_inference_mode_too() -> None:
    network = nn.Module()
    network.scale = nn.Parameter(torch.ones(1), requires_grad=False)
    network.features = lambda x: x * network.scale  # type: ignore[assignment]
    network.head = lambda m: m.mean((2, 3))  # type: ignore[assignment]
    with torch.inference_mode():
        assert gradcam(network, torch.ones(1, 1, 4, 4), output=0).any()
