"""What every explainer must do, in 2D and 3D."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hounsfield.core.errors import BadInput
from hounsfield.explainers import EXPLAINERS

torch.set_num_threads(1)


class Corner(nn.Module):
    """Output 0 is the brightness of the first corner, output 1 its darkness, output 2 nothing."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.axes = axes
        self.scale = nn.Parameter(torch.ones(1))
        self.inner = nn.Sequential(nn.Dropout(0.5))

    def features(self, x: Tensor) -> Tensor:
        corner = torch.zeros_like(x)
        quarter = tuple(slice(0, n // 2) for n in x.shape[2:])
        corner[:, :, *quarter] = x[:, :, *quarter]
        return corner.relu()

    def head(self, feature_map: Tensor) -> Tensor:
        bright = 4 * self.inner(feature_map).flatten(1).mean(1) * self.scale
        return torch.stack([bright, -bright, 0 * bright], 1)

    def shares(self, feature_map: Tensor) -> Tensor:
        places = 4 * feature_map.flatten(2).mean(1) * self.scale
        return torch.stack([places, -places, 0 * places], 1) / places.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def spotted(axes: int, n: int = 2) -> Tensor:
    """A bright spot in the first corner and one, brighter, in the last."""
    x = torch.zeros(n, 1, *(20,) * axes)
    x[:, :, *(slice(2, 7),) * axes] = 1.0
    x[:, :, *(slice(13, 18),) * axes] = 3.0
    return x


def mass_in_corner(maps: np.ndarray) -> np.ndarray:
    inside = maps[:, *(slice(0, 10),) * (maps.ndim - 1)]
    return inside.reshape(len(maps), -1).sum(1) / maps.reshape(len(maps), -1).sum(1)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", EXPLAINERS.names)
def test_the_evidence_lies_where_the_network_looks(name: str, axes: int) -> None:
    maps = EXPLAINERS[name](Corner(axes), spotted(axes), output=0)
    assert maps.shape == (2, *(20,) * axes)
    assert maps.dtype == np.float32
    assert maps.min() == 0
    assert maps.max() == 1
    assert (mass_in_corner(maps) > 0.9).all()


@pytest.mark.parametrize("name", EXPLAINERS.names)
def test_an_output_that_nothing_moves_gives_an_empty_map(name: str) -> None:
    assert not EXPLAINERS[name](Corner(2), spotted(2), output=2).any()


@pytest.mark.parametrize("name", EXPLAINERS.names)
def test_evidence_towards_negative_is_that_of_the_logit_turned_over(name: str) -> None:
    against = EXPLAINERS[name](Corner(2), spotted(2), output=1, towards="negative")
    np.testing.assert_allclose(against, EXPLAINERS[name](Corner(2), spotted(2), output=0), atol=1e-6)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", EXPLAINERS.names)
def test_an_empty_image_holds_no_evidence(name: str, axes: int) -> None:
    assert not EXPLAINERS[name](Corner(axes), torch.zeros(1, 1, *(20,) * axes), output=0).any()


@pytest.mark.parametrize("name", EXPLAINERS.names)
def test_each_image_is_explained_alone(name: str) -> None:
    dim, bright = spotted(2, 1) * 0.01, spotted(2, 1)
    together = EXPLAINERS[name](Corner(2), torch.cat([dim, bright]), output=0)
    alone = EXPLAINERS[name](Corner(2), dim, output=0)
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


@pytest.mark.parametrize("name", EXPLAINERS.names)
def test_the_network_is_left_as_it_was_found(name: str) -> None:
    network = Corner(2).train()
    network.inner.eval()
    x = spotted(2)
    before = x.clone()
    with torch.no_grad():
        first = EXPLAINERS[name](network, x, output=0)
    assert network.training
    assert not network.inner.training
    assert network.scale.grad is None
    assert torch.equal(x, before)
    np.testing.assert_array_equal(first, EXPLAINERS[name](network, x, output=0))


@pytest.mark.parametrize("name", EXPLAINERS.names)
def test_an_output_that_is_not_there_is_refused(name: str) -> None:
    for wrong in (-1, 3):
        with pytest.raises(BadInput, match="outputs 0 to 2"):
            EXPLAINERS[name](Corner(2), spotted(2), output=wrong)


@pytest.mark.parametrize("name", EXPLAINERS.names)
def test_a_shape_that_is_no_batch_of_images_is_refused(name: str) -> None:
    for wrong in (torch.zeros(20, 20), torch.zeros(0, 1, 20, 20)):
        with pytest.raises(BadInput, match="stack them first"):
            EXPLAINERS[name](Corner(2), wrong, output=0)


@pytest.mark.parametrize("name", EXPLAINERS.names)
def test_values_that_are_not_finite_count_as_no_evidence(name: str) -> None:
    x = spotted(2)
    x[0, 0, 0, 0] = float("nan")
    maps = EXPLAINERS[name](Corner(2), x, output=0)
    assert np.isfinite(maps).all()
