"""Occlusion: cover a patch of the image and see how far a logit falls."""

from __future__ import annotations

from itertools import product
from math import ceil
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hounsfield.explainers.contract import at_once, evaluating, own_mean, signed_logit, unit_maps

__all__ = ["MOST_PATCHES", "occlusion"]

MOST_PATCHES = 200
"""No image is shown to the network more often than this, covered, plus once as it is."""

_ROUNDING = 1e-5
"""A fall smaller than this, relative to the logit (or to 1), is a rounding error."""

Window = tuple[slice, ...]


def occlusion(
    network: nn.Module,
    images: Tensor,
    *,
    output: int,
    towards: Literal["positive", "negative"] = "positive",
    patch: float = 0.2,
    stride: float = 0.14,
) -> NDArray[np.float32]:
    """Evidence maps (N, J, I) or (N, K, J, I) in [0, 1] (Zeiler & Fergus 2014, section 4.2).

    A patch of the fraction `patch` of each axis, moved by the fraction `stride`, is set to the
    image's own mean (by channel). A pixel shows the mean fall of the logit over the patches that
    cover it. The stride grows where there would be more than 200 patches, and the patch with it.
    Works on any network; raises BadInput as `Explainer` says.

    >>> class Corner(nn.Module):
    ...     def forward(self, x): return x[:, :, :2, :2].mean((2, 3))
    >>> image = torch.zeros(1, 1, 10, 10)
    >>> image[..., :2, :2] = 1
    >>> (100 * occlusion(Corner(), image, output=0, stride=0.1))[0, :4, :4].round().astype(int).tolist()
    [[100, 75, 25, 0], [75, 56, 19, 0], [25, 19, 6, 0], [0, 0, 0, 0]]
    """
    windows = _windows(tuple(images.shape[2:]), patch, stride)
    with evaluating(network, images) as given, torch.no_grad():
        whole = signed_logit(network(given), output, towards).float()
        falls = torch.stack(
            [_falls(network, image, whole[n], windows, output, towards) for n, image in enumerate(given)]
        )
    covered = torch.zeros(images.shape[2:])
    evidence = torch.zeros(len(images), *images.shape[2:])
    for position, window in enumerate(windows):
        covered[window] += 1
        evidence[:, *window] += falls[:, position].reshape(-1, *(1,) * len(window))
    return unit_maps(evidence / covered, floor=_ROUNDING * whole.abs().clamp_min(1).cpu())


def _falls(
    network: nn.Module, image: Tensor, whole: Tensor, windows: list[Window], output: int, towards: str
) -> Tensor:
    """How far the logit of one image (C, …) falls with each window covered, on the CPU."""
    mean = own_mean(image[None])[0]
    falls, size = [], at_once(image)
    for start in range(0, len(windows), size):
        some = windows[start : start + size]
        copies = image.repeat(len(some), *(1,) * image.ndim)
        for copy, window in zip(copies, some, strict=True):
            copy[:, *window] = mean
        falls.append(whole - signed_logit(network(copies), output, towards).float())
    return torch.cat(falls).cpu()


def _windows(shape: tuple[int, ...], patch: float, stride: float) -> list[Window]:
    """The patches: every voxel is covered by at least one, and they are at most MOST_PATCHES."""
    moving = sum(n > 1 for n in shape)
    most = int(MOST_PATCHES ** (1 / max(moving, 1)) + 1e-9)
    return list(product(*(_spans(n, patch, stride, most) for n in shape)))


def _spans(extent: int, patch: float, stride: float, most: int) -> list[slice]:
    """At most `most` overlapping or touching spans that cover one axis.

    >>> _spans(10, 0.4, 0.3, 14)
    [slice(0, 4, None), slice(3, 7, None), slice(6, 10, None)]
    """
    length = min(max(round(patch * extent), ceil(extent / most), 1), extent)
    step = min(max(stride * extent, 1), length)
    count = min(ceil((extent - length) / step) + 1, most)
    starts = np.linspace(0, extent - length, count).round().astype(int)
    return [slice(int(a), int(a) + length) for a in np.unique(starts)]
