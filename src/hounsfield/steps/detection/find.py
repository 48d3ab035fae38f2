"""What networks find in an image: maps over windows, candidates of every member, fused, in native voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hounsfield.core.plan import Plan
from hounsfield.networks.detector import Detector
from hounsfield.steps.detection.candidates import fused, in_voxels_of_image
from hounsfield.steps.regions.grid_store import Placed
from hounsfield.steps.regions.windows import answer_of, tensor_of
from hounsfield.tasks.detection import Candidates, decoded, unmirrored

__all__ = ["candidates_of", "found_in", "window_divisor"]


def found_in(
    networks: Sequence[nn.Module],
    data: NDArray[Any],
    levels: Sequence[Sequence[float]],
    place: Placed,
    plan: Plan,
    device: torch.device,
) -> Candidates:
    """Candidates in voxels of the image that lies at `place`, best first, of stored numbers (C, K, J, I)."""
    best = candidates_of(networks, data, levels, plan, device)
    return in_voxels_of_image(best, place)


def candidates_of(
    networks: Sequence[nn.Module],
    data: NDArray[Any],
    levels: Sequence[Sequence[float]],
    plan: Plan,
    device: torch.device,
) -> Candidates:
    """Candidates in voxels of the grid, best first, of stored numbers (C, K, J, I) on it.

    Mirrored views of one network are averaged as maps; networks are views that are fused (`candidates`).
    """
    detection, classes = plan.detection, len(plan.detection.classes)
    image = tensor_of(data, levels, device)
    views = []
    for network in networks:
        outputs = answer_of(
            [network], image, plan,
            divisor=window_divisor(network, plan), finish=_as_it_is, stride=detection.stride,
            mirrored=lambda found, axes: unmirrored(found, axes, classes=classes),
        )  # fmt: skip
        views.append(
            decoded(
                outputs.cpu().numpy(), stride=detection.stride, classes=classes,
                least_score=detection.least_score, most=2 * detection.most,
            )
        )  # fmt: skip
    return fused(views, overlap=detection.fuse, least_score=detection.least_score, most=detection.most)


def window_divisor(network: nn.Module, plan: Plan) -> tuple[int, int, int]:
    """What windows must be divisible by: the strides of the network, and those of its map."""
    assert isinstance(network, Detector)
    steps = [(1, *s) if len(s) == 2 else s for s in network.strides]
    k, j, i = (math.lcm(math.prod(s[axis] for s in steps), plan.detection.stride[axis]) for axis in range(3))
    return k, j, i


def _as_it_is(outputs: Tensor) -> Tensor:
    return outputs
