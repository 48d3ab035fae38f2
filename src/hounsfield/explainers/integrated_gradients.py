"""Integrated gradients: each pixel's share of the way a logit goes from an empty image to this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hounsfield.explainers.contract import at_once, evaluating, own_mean, signed_logit, unit_maps

__all__ = ["BASELINE", "Attributed", "attribute", "integrated_gradients"]

BASELINE = "the image's own mean in each channel"
"""What the logit is compared with, in words."""

STEPS = 16
_FINER = 4
"""Images whose sum is off are integrated again with so many times the steps."""

_OFF = 0.02
_EVEN = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Attributed:
    """What each value adds to a logit, (N, C, …), and whether it adds up.

    `change` (N,) is the logit of each image less that of its baseline; `gap` (N,) how far the sum of the
    values lies from it, as a share of it (of 1 where the change is smaller than that).
    """

    values: NDArray[np.float32]
    change: NDArray[np.float64]
    gap: NDArray[np.float64]


def integrated_gradients(
    network: nn.Module,
    images: Tensor,
    *,
    output: int,
    towards: Literal["positive", "negative"] = "positive",
    steps: int = STEPS,
    smooth: float = 0.02,
) -> NDArray[np.float32]:
    """Evidence maps (N, J, I) or (N, K, J, I) in [0, 1] (Sundararajan, Taly & Yan 2017, equation 1).

    What a pixel's channels add to the logit, summed, and blurred by a Gaussian of the fraction `smooth` of
    the longest axis, since single pixels of opposite sign say nothing to a reader; what then lowers the
    logit is left out. Works on any network that can be differentiated; raises BadInput as `Explainer` says.

    >>> class Corner(nn.Module):
    ...     def forward(self, x): return x[:, :, :2, :2].sum((2, 3))
    >>> image = torch.zeros(1, 1, 10, 10)
    >>> image[..., 0, 0] = 1
    >>> maps = integrated_gradients(Corner(), image, output=0, smooth=0.0)
    >>> maps[0, 0, 0], int((maps > 0).sum())
    (np.float32(1.0), 1)
    """
    from scipy.ndimage import gaussian_filter

    values = attribute(network, images, output=output, towards=towards, steps=steps).values.sum(1)
    if smooth > 0:
        sigma = smooth * max(values.shape[1:])
        values = np.stack([gaussian_filter(np.nan_to_num(v), sigma, mode="constant") for v in values])
    return unit_maps(torch.from_numpy(values))


def attribute(
    network: nn.Module,
    images: Tensor,
    *,
    output: int,
    towards: Literal["positive", "negative"] = "positive",
    steps: int = STEPS,
) -> Attributed:
    """The signed attributions against `BASELINE`, by the midpoint rule over `steps` points of the way.

    By completeness (Sundararajan 2017, section 3) they add up to the change of the logit. Images where they
    are off by more than 2 % are done again with four times the steps; the gap that is left is told. Raises
    BadInput as `Explainer` says.

    >>> class Squared(nn.Module):
    ...     def forward(self, x): return (x ** 2).flatten(1).sum(1, keepdim=True)
    >>> found = attribute(Squared(), torch.tensor([[[[0.0, 2.0]]]]), output=0)
    >>> found.values.tolist(), found.change.tolist()
    ([[[[-1.0, 3.0]]]], [2.0])
    """
    with evaluating(network, images) as given:
        found = [_one(network, image, output, towards, steps) for image in given]
    values, change, gap = zip(*found, strict=True)
    return Attributed(np.stack(values), np.array(change, np.float64), np.array(gap, np.float64))


def _one(
    network: nn.Module, image: Tensor, output: int, towards: str, steps: int
) -> tuple[NDArray[np.float32], float, float]:
    """Values (C, …), change and gap of one image (C, …)."""
    baseline = own_mean(image[None]).expand_as(image[None])[0]
    way = image - baseline
    # an even image differs from its mean by rounding only
    way = torch.where(way.abs() <= _EVEN * image.abs().nan_to_num().max(), 0.0, way)
    with torch.no_grad():
        ends = signed_logit(network(torch.stack([baseline, image])), output, towards).double()
    change = float(ends[1] - ends[0])
    for finer in (1, _FINER):
        values = (way * _mean_gradient(network, baseline, way, output, towards, finer * steps)).float()
        gap = abs(float(values.double().nan_to_num().sum()) - change) / max(abs(change), 1.0)
        if not gap > _OFF:
            break
    return values.cpu().numpy(), change, gap


def _mean_gradient(
    network: nn.Module, baseline: Tensor, way: Tensor, output: int, towards: str, steps: int
) -> Tensor:
    """The gradient of the logit (C, …), averaged over the middles of `steps` equal parts of the way."""
    total = torch.zeros_like(way)
    places = (torch.arange(steps, device=way.device, dtype=way.dtype) + 0.5) / steps
    for some in places.split(at_once(way)):
        with torch.inference_mode(False), torch.enable_grad():
            between = baseline + some.reshape(-1, *(1,) * way.ndim) * way
            between = between.clone().requires_grad_()
            logit = signed_logit(network(between), output, towards)
            (gradient,) = torch.autograd.grad(logit.sum(), between)
        total += gradient.sum(0)
    return total / steps
