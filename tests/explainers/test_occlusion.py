"""Occlusion stays within its number of looks, covers every voxel, and is blind to an even image."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hounsfield.explainers.occlusion import MOST_PATCHES, _spans, _windows, occlusion

torch.set_num_threads(1)


class Counting(nn.Module):
    """Sums the image and counts the images it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = 0

    def forward(self, x: Tensor) -> Tensor:
        self.shown += len(x)
        return x.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize("shape", [(64, 64), (512, 300), (16, 16, 16), (128, 128, 128), (5, 64, 64), (1, 40)])
@pytest.mark.parametrize("stride", [0.001, 0.1])
def test_there_are_never_more_patches_than_promised(shape: tuple[int, ...], stride: float) -> None:
    assert 1 < len(_windows(shape, 0.05, stride)) <= MOST_PATCHES


@given(
    extent=st.integers(1, 200),
    patch=st.floats(0.001, 1.5),
    stride=st.floats(0.001, 1.5),
    most=st.integers(1, 200),
)
def test_spans_leave_no_gap(extent: int, patch: float, stride: float, most: int) -> None:
    spans = _spans(extent, patch, stride, most)
    assert len(spans) <= most
    assert spans[0].start == 0
    assert spans[-1].stop == extent
    assert all(a.stop >= b.start for a, b in pairwise(spans))


@pytest.mark.parametrize("level", [0.7, -3.3, 1000.1])
def test_an_even_image_is_blank(level: float) -> None:
    assert not occlusion(Counting(), torch.full((2, 3, 24, 24), level), output=0).any()


def test_each_image_is_shown_once_whole_and_once_a_patch() -> None:
    network = Counting()
    occlusion(network, torch.randn(3, 1, 30, 30), output=0)
    assert network.shown == 3 * (1 + 49)


def test_a_channel_is_covered_with_its_own_mean() -> None:
    class Gap(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x[:, 0] - x[:, 1]).abs().flatten(1).sum(1, keepdim=True)

    x = torch.stack([torch.full((20, 20), 1.0), torch.full((20, 20), 5.0)])[None]
    assert not occlusion(Gap(), x, output=0).any()


def test_evidence_spread_evenly_is_even_to_the_border() -> None:
    class Bright(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x > 0.6).flatten(1).sum(1, keepdim=True).float()

    board = (torch.arange(20)[:, None] + torch.arange(20)) % 2
    assert (occlusion(Bright(), board[None, None].float(), output=0) == 1).all()


def test_a_finer_patch_draws_a_finer_map() -> None:
    class Dot(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, 10, 10]

    x = torch.zeros(1, 1, 40, 40)
    x[..., 10, 10] = 1
    coarse = (occlusion(Dot(), x, output=0, patch=0.4, stride=0.2) > 0.5).sum()
    fine = (occlusion(Dot(), x, output=0, patch=0.1, stride=0.1) > 0.5).sum()
    assert 0 < fine < coarse
