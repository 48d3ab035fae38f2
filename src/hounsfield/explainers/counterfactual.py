"""Counterfactual edits: the least smooth change of brightness found that turns a call over.

What comes out is synthetic: it says how near the image lies to the other call, and in which direction, not
what another patient looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hounsfield.explainers.contract import at_once, evaluating

__all__ = ["CELLS", "MOST", "Edit", "smooth_edits"]

CELLS = 12
"""An edit is a grid of so many values along the longer side, interpolated: it moves nothing."""

MOST = 0.3
"""The largest edit, as its root mean square in units of the image's own standard deviation."""

MOST_VARIATION = 0.25
"""The largest total variation of an edit, as a share of that of the image."""

STEPS = 20
DRAWS = 20
_HALVINGS = 7


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """An edited image (C, J, I) and the `change` (C, J, I) that made it.

    `size` is the root mean square of the change in standard deviations of the image; `crossed` whether the
    call is turned over, and `random` of how many of `DRAWS` random edits of that size, as smooth, the same
    is true. Where it is not crossed, the change is the largest that was allowed.
    """

    image: NDArray[np.float32]
    change: NDArray[np.float32]
    size: float
    crossed: bool
    random: int


def smooth_edits(
    network: nn.Module, images: Tensor, margin: Callable[[Tensor], Tensor], *, seed: int = 0
) -> list[Edit]:
    """An edit of each image (N, C, J, I) that brings `margin` of its logits to 0 or below, or fails to.

    `margin` turns logits (n, outputs) into numbers (n,), above 0 where the call is as it is. Steps along the
    gradient of the grid, held within `MOST` and `MOST_VARIATION` and within the image's own least and
    greatest value; then the shortest part of that edit which crosses, by halving (after Wachter,
    Mittelstadt & Russell 2018, with a smoothness that pixel-wise adversarial changes lack).

    >>> class Bright(nn.Module):
    ...     def forward(self, x): return x.mean((2, 3))
    >>> image = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    >>> (edit,) = smooth_edits(Bright(), image, lambda logits: logits[:, 0] - 0.48)
    >>> edit.crossed, 0 < edit.size < MOST
    (True, True)
    """
    with evaluating(network, images) as given:
        return [_edit(network, image[None], margin, seed + n) for n, image in enumerate(given)]


def _edit(network: nn.Module, image: Tensor, margin: Callable[[Tensor], Tensor], seed: int) -> Edit:
    limits = _Limits.of(image)
    grid = image.new_zeros(1, 1, *limits.cells)
    with torch.inference_mode(False), torch.enable_grad():
        image = image.clone()
        for _ in range(STEPS):
            leaf = grid.clone().requires_grad_()
            left = margin(network(limits.applied(image, leaf)))
            if float(left.detach()) <= 0:
                break
            (gradient,) = torch.autograd.grad(left.sum(), leaf)
            step = gradient / gradient.square().mean().sqrt().clamp_min(1e-12)
            grid = limits.held(grid - 3 * MOST / STEPS * limits.spread * step)
    with torch.no_grad():
        grid, crossed = _shortest(network, image, grid, margin, limits)
        change = limits.applied(image, grid) - image
        size = float(change.square().mean().sqrt() / limits.spread)
        random = _random_crossings(network, image, grid, margin, limits, seed) if crossed else 0
    made = (image + change)[0].float().cpu().numpy()
    return Edit(made, change[0].float().cpu().numpy(), size, crossed, random)


def _shortest(
    network: nn.Module,
    image: Tensor,
    grid: Tensor,
    margin: Callable[[Tensor], Tensor],
    limits: _Limits,
) -> tuple[Tensor, bool]:
    """The edit scaled down to where it only just crosses, and whether it crosses at all."""
    if float(margin(network(limits.applied(image, grid)))) > 0:
        return grid, False
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if float(margin(network(limits.applied(image, middle * grid)))) > 0:
            low = middle
        else:
            high = middle
    return high * grid, True


def _random_crossings(
    network: nn.Module,
    image: Tensor,
    grid: Tensor,
    margin: Callable[[Tensor], Tensor],
    limits: _Limits,
    seed: int,
) -> int:
    """How many random edits of the same root mean square, as smooth, turn the call over as well."""
    generator = torch.Generator().manual_seed(seed)
    size = limits.change(grid).square().mean().sqrt()
    crossed = 0
    draws = torch.randn(DRAWS, 1, *limits.cells, generator=generator).to(grid)
    for some in draws.split(at_once(image[0])):
        raw = limits.change(some)
        rms = raw.square().mean((1, 2, 3), keepdim=True).sqrt()
        edited = (image + raw * (size / rms)).clamp(limits.least, limits.greatest)
        crossed += int((margin(network(edited)) <= 0).sum())
    return crossed


@dataclass(frozen=True, slots=True)
class _Limits:
    """What an edit of one image (1, C, J, I) keeps to."""

    size: tuple[int, int]
    cells: tuple[int, int]
    spread: float
    variation: float
    least: float
    greatest: float

    @classmethod
    def of(cls, image: Tensor) -> _Limits:
        rows, columns = image.shape[2:]
        longest = max(rows, columns)
        cells = (max(2, round(CELLS * rows / longest)), max(2, round(CELLS * columns / longest)))
        spread = float(image.float().std(correction=0)) or 1.0
        return cls((rows, columns), cells, spread, _variation(image), float(image.min()), float(image.max()))

    def change(self, grid: Tensor) -> Tensor:
        return functional.interpolate(grid, size=self.size, mode="bilinear", align_corners=True)

    def applied(self, image: Tensor, grid: Tensor) -> Tensor:
        return (image + self.change(grid)).clamp(self.least, self.greatest)

    def held(self, grid: Tensor) -> Tensor:
        """The grid scaled down until its edit keeps both limits."""
        change = self.change(grid)
        size = float(change.square().mean().sqrt()) / (MOST * self.spread)
        variation = _variation(change) / max(MOST_VARIATION * self.variation, 1e-12)
        return grid / max(1.0, size, variation)


def _variation(image: Tensor) -> float:
    """Total variation: the mean absolute step to the next row and to the next column."""
    if min(image.shape[2:]) < 2:
        return 0.0
    return float(image.diff(dim=2).abs().mean() + image.diff(dim=3).abs().mean())
