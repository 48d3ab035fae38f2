"""Grad-CAM follows the paper's equations and says so when it cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hounsfield.core.errors import BadInput
from hounsfield.explainers.gradcam import gradcam

torch.set_num_threads(1)


class Pooled(nn.Module):
    """Two channels of a coarse map, averaged and weighed by 1 and -2: the class activation map is known."""

    def features(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 4)

    def head(self, feature_map: Tensor) -> Tensor:
        return feature_map.mean((2, 3)) @ torch.tensor([[1.0], [-2.0]])


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
