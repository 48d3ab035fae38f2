"""Counterfactual edits cross the threshold where a small smooth change can, within limits, or say no."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hounsfield.explainers.counterfactual import DRAWS, MOST, MOST_VARIATION, Edit, smooth_edits

torch.set_num_threads(1)


class Patch(nn.Module):
    """The brightness of one quarter."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        return x[..., :half, :half].mean((1, 2, 3))[:, None]


def images(n: int = 2, channels: int = 1, side: int = 32) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def below(threshold: float) -> object:
    return lambda logits: logits[:, 0] - threshold


def variation(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image, axis=1)).mean() + np.abs(np.diff(image, axis=2)).mean())


def test_an_edit_crosses_and_only_just() -> None:
    network, x = Patch(), images()
    threshold = float(network(x).min()) - 0.03
    for image, edit in zip(x, smooth_edits(network, x, below(threshold)), strict=True):  # type: ignore[arg-type]
        with torch.no_grad():
            after = float(network(torch.from_numpy(edit.image)[None]))
            halfway = float(network((image + 0.9 * torch.from_numpy(edit.change))[None]))
        assert edit.crossed
        assert after <= threshold < halfway
        assert edit.size == pytest.approx(np.sqrt((edit.change**2).mean()) / image.numpy().std(), rel=1e-4)
        np.testing.assert_allclose(image.numpy() + edit.change, edit.image, atol=1e-6)


def limits_hold(image: np.ndarray, edit: Edit) -> bool:
    within = image.min() - 1e-6 <= edit.image.min() and edit.image.max() <= image.max() + 1e-6
    return (
        edit.size <= MOST * 1.001
        and within
        and variation(edit.change) <= 1.001 * MOST_VARIATION * variation(image)
    )


@pytest.mark.parametrize("threshold", [0.47, 0.4, -1.0])
def test_limits_hold_whether_it_crosses_or_not(threshold: float) -> None:
    x = images(1)
    (edit,) = smooth_edits(Patch(), x, below(threshold))  # type: ignore[arg-type]
    assert limits_hold(x[0].numpy(), edit)
    assert edit.crossed == (threshold > 0)


def test_the_change_lies_where_the_network_looks() -> None:
    (edit,) = smooth_edits(Patch(), images(1), below(0.45))  # type: ignore[arg-type]
    inside = np.abs(edit.change[:, :16, :16]).mean()
    assert inside > 10 * np.abs(edit.change[:, 18:, 18:]).mean()


def test_random_edits_miss_a_direction_and_not_a_call_that_any_change_turns_over() -> None:
    class Fragile(nn.Module):
        """Positive for the very image it knows, negative for any other; a slope leads away from it."""

        def forward(self, x: Tensor) -> Tensor:
            other = (x != known).flatten(1).any(1)
            return (1e-3 * x.mean((1, 2, 3)) + 1 - 2 * other)[:, None]

    known = images(1)
    (firm,) = smooth_edits(Patch(), known, below(float(Patch()(known)) - 0.05))  # type: ignore[arg-type]
    (fragile,) = smooth_edits(Fragile(), known, below(0.0))  # type: ignore[arg-type]
    assert firm.crossed and firm.random == 0
    assert fragile.crossed and fragile.random == DRAWS


def test_channels_are_edited_alike_and_the_network_is_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    x = images(1, 3)
    before = x.clone()
    (edit,) = smooth_edits(network, x, lambda logits: logits[:, 0] - logits[:, 1] + 1)
    assert edit.image.shape == (3, 32, 32)
    free = (edit.image > x[0].numpy().min()).all(0) & (edit.image < x[0].numpy().max()).all(0)
    assert np.abs(edit.change - edit.change[:1])[:, free].max() < 1e-6
    assert network.training and torch.equal(x, before)
    assert all(p.grad is None for p in network.parameters())
