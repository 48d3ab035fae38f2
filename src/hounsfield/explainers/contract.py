"""What every explainer keeps to: the network left as found, an output that exists, a map in [0, 1], and what
an image without anything to see is: its own mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hounsfield.core.errors import BadInput

__all__ = ["at_once", "evaluating", "own_mean", "signed_logit", "unit_maps"]

_VALUES_AT_ONCE = 1 << 22
_MOST_AT_ONCE = 32


@contextmanager
def evaluating(network: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """The images on the network's device while it is in evaluation mode; every module's mode is restored.

    >>> net = nn.Dropout()
    >>> with evaluating(net, torch.zeros(1, 1, 4, 4)):
    ...     net.training
    False
    >>> net.training
    True
    """
    if images.ndim not in (4, 5) or not len(images):
        raise BadInput(
            f"images of shape {tuple(images.shape)} were given to an explainer; expected (N, C, J, I) or "
            "(N, C, K, J, I) with at least one image; stack them first"
        )
    modes = [(module, module.training) for module in network.modules()]
    parameter = next(network.parameters(), None)
    network.eval()
    try:
        yield images.detach() if parameter is None else images.detach().to(parameter.device)
    finally:
        for module, mode in modes:
            module.training = mode


def at_once(image: Tensor) -> int:
    """How many copies of an image (C, …) pass the network together: at most 32, fewer of a large one.

    >>> at_once(torch.zeros(1, 64, 64)), at_once(torch.zeros(1, 128, 128, 128))
    (32, 2)
    """
    return max(1, min(_MOST_AT_ONCE, _VALUES_AT_ONCE // max(1, image.numel())))


def own_mean(images: Tensor) -> Tensor:
    """What stands for nothing to see: of each channel of each image its mean, (N, C, 1, …) of (N, C, …).

    Values that are not finite do not count. A map is a statement against such a reference (Sundararajan
    2017, section 2), so all explainers and their tests share this one.

    >>> own_mean(torch.tensor([[[[1.0, 3.0], [float("nan"), 5.0]]]])).tolist()
    [[[[3.0]]]]
    """
    finite = torch.isfinite(images)
    axes = tuple(range(2, images.ndim))
    total = torch.where(finite, images.float(), 0.0).sum(axes, keepdim=True)
    return (total / finite.sum(axes, keepdim=True).clamp_min(1)).to(images.dtype)


def signed_logit(logits: Tensor, output: int, towards: str) -> Tensor:
    """The logit (N,) that is explained, turned over for "negative"; BadInput if there is none such.

    >>> signed_logit(torch.tensor([[1.0, 2.0]]), 1, "negative")
    tensor([-2.])
    """
    if not 0 <= output < logits.shape[1]:
        raise BadInput(
            f"output {output} was to be explained; the network has outputs 0 to {logits.shape[1] - 1}; "
            "name one of them"
        )
    if towards not in ("positive", "negative"):
        raise BadInput(f'towards="{towards}" is unknown; use "positive" or "negative"')
    return logits[:, output] if towards == "positive" else -logits[:, output]


def unit_maps(evidence: Tensor, *, floor: float | Tensor = 0.0) -> NDArray[np.float32]:
    """Maps (N, …) with what is negative cut off, each divided by its largest value.

    A map whose largest value does not exceed `floor` (a number, or one a map) is all 0, so that
    rounding errors are not blown up into evidence; values that are not finite count as none.

    >>> unit_maps(torch.tensor([[[-1.0, 2.0, 4.0]], [[-1.0, 0.0, 0.0]]])).tolist()
    [[[0.0, 0.5, 1.0]], [[0.0, 0.0, 0.0]]]
    """
    positive = torch.nan_to_num(evidence.detach().float(), nan=0.0, posinf=0.0, neginf=0.0).clamp_min(0)
    axes = tuple(range(1, positive.ndim))
    largest = positive.amax(axes, keepdim=True)
    limits = torch.as_tensor(floor, device=positive.device).reshape(-1, *(1,) * len(axes))
    maps = torch.where(largest > limits, positive / largest.clamp_min(torch.finfo(torch.float32).tiny), 0.0)
    unit: NDArray[np.float32] = maps.clamp(0, 1).cpu().numpy().astype(np.float32)
    return unit
