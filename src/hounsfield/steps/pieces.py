"""In how many pieces a batch passes through the network, so that memory suffices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hounsfield.core.errors import BadInput, HounsfieldError
from hounsfield.core.plan import Plan
from hounsfield.networks.memory import bytes_per_image
from hounsfield.steps.compute import free_memory
from hounsfield.steps.job import Job
from hounsfield.steps.learner import Learner

if TYPE_CHECKING:
    from torch import nn

__all__ = ["halved", "pieces_of"]

_SHARE = 0.7
"""Of the free memory, how much activations may take: gradients and work space take the rest."""


def pieces_of(job: Job, learner: Learner, size: int) -> tuple[int, str]:
    """How many pieces a batch of `size` images is cut into, and what is said about it ("" for nothing).

    `fit.micro_batch` decides; where it is 0, what the network keeps for one image against the memory that is
    free. Raises BadInput where there are fewer images in a batch than processes.
    """
    fit, world = job.plan.fit, learner.group.world
    if size < world:
        raise BadInput(
            f"a batch has {size} image(s) for {world} processes; expected at least one for each; raise "
            "fit.batch_size or start fewer processes"
        )
    share = size // world
    if _normed(learner.network):
        share = max(1, share // 2)  # a batch of one has no spread to normalise by
    if fit.micro_batch:
        return min(share, math.ceil(size / world / fit.micro_batch)), ""
    free = free_memory(learner.device)
    if free is None:
        return 1, ""
    shape = learner.network.input_shape
    each, voxels = bytes_per_image(learner.network, shape, learner.device), shape[1:]
    fits = int(_SHARE * free / job.beside / max(1, each))
    if fits >= math.ceil(size / world):
        return 1, ""
    if fits < 1:
        raise HounsfieldError(
            f"one image of {'×'.join(map(str, voxels))} needs {each / 1e9:.1f} GB in this network, where "
            f"{free / job.beside / 1e9:.1f} GB are free; make input.size or network.width smaller"
        )
    pieces = _power(math.ceil(size / world / fits), share)
    said = "; batch normalisation sees the smaller batches" if _normed(learner.network) else ""
    return pieces, (
        f"a batch of {size} images needs {each * size / 1e9:.1f} GB, where {free / job.beside / 1e9:.1f} GB "
        f"are free: {math.ceil(size / world / pieces)} at a time, gradients accumulated{said}"
    )


def halved(pieces: int, share: int, plan: Plan) -> tuple[int, str]:
    """Twice as many pieces after memory ran out. Raises HounsfieldError where one image is too much."""
    if pieces >= share:
        raise HounsfieldError(
            "memory does not suffice for one image at a time; make input.size or network.width smaller, or "
            "train on a machine with more memory"
        )
    pieces = min(2 * pieces, share)
    return pieces, (
        f"a batch of {plan.fit.batch_size} did not fit into memory: {math.ceil(share / pieces)} images at a "
        "time, gradients accumulated"
    )


def _power(wanted: int, most: int) -> int:
    """The next power of two, at most `most`."""
    return min(most, 1 << (wanted - 1).bit_length())


def _normed(network: nn.Module) -> bool:
    """Whether a batch normalisation learns from the batch that passes."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return any(isinstance(m, _BatchNorm) and m.training for m in network.modules())
