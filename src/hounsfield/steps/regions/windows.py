"""What networks answer for a whole image: windows over it, weighed by a Gaussian, mirrored, averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hounsfield.core.plan import Plan
from hounsfield.networks.lean import lean_answer
from hounsfield.steps.compute import mixed_precision
from hounsfield.steps.regions.tiles import tiles_along

__all__ = ["answer_of", "tensor_of"]

_SIGMA = 0.125
_LEAST_WEIGHT = 1e-3


def tensor_of(data: NDArray[Any], levels: Sequence[Sequence[float]], device: torch.device) -> Tensor:
    """Stored numbers (C, K, J, I) as the normalised tensor (C, K, J, I) that a network sees."""
    held = torch.from_numpy(np.ascontiguousarray(data).astype(np.float32)).to(device)
    scale, offset, low, high = (
        torch.tensor([row[n] for row in levels], device=device)[:, None, None, None] for n in range(4)
    )
    return torch.clamp(held * scale + offset, low, high)


def answer_of(
    networks: Sequence[nn.Module],
    image: Tensor,
    plan: Plan,
    *,
    divisor: Sequence[int],
    finish: Callable[[Tensor], Tensor],
    stride: Sequence[int] = (1, 1, 1),
    mirrored: Callable[[Tensor, tuple[int, ...]], Tensor] | None = None,
) -> Tensor:
    """The mean over networks and mirrored images of `finish`ed answers, (outputs, k, j, i) for (C, K, J, I).

    A cell of the answer is `stride` voxels wide; `divisor` (k, j, i) is what windows must be divisible by.
    `mirrored` undoes what a mirroring does to the answer's channels. Computed on the image's device in
    inference mode; the image is padded with its edge to whole cells, and where it is smaller than a window.
    """
    whole = [-(-n // s) * s for n, s in zip(image.shape[1:], stride, strict=True)]
    tiles = [
        tiles_along(n, w, overlap=plan.grid.overlap, divisor=d, least=p, cell=s)
        for n, w, d, p, s in zip(whole, plan.grid.window, divisor, plan.grid.patch, stride, strict=True)
    ]
    padded, before = _padded(
        image, [max(n, along[0][1]) for n, along in zip(whole, tiles, strict=True)], stride
    )
    full = [n // s for n, s in zip(padded.shape[1:], stride, strict=True)]
    windows = list(product(*tiles))
    weight_of = lru_cache(None)(lambda sides: _gaussian(sides, image.device))
    total: Tensor | None = None
    sums = torch.zeros(full, device=image.device) if len(windows) > 1 else None
    with torch.inference_mode():
        for window in windows:
            cut = tuple(slice(a, a + w) for a, w in window)
            found = _window_answer(networks, padded[(slice(None), *cut)], plan, finish, mirrored)
            if sums is None:
                total = found
                break
            if total is None:
                total = torch.zeros((len(found), *full), device=image.device)
            place = tuple(slice(a // s, (a + w) // s) for (a, w), s in zip(window, stride, strict=True))
            weight = weight_of(tuple(w // s for (_, w), s in zip(window, stride, strict=True)))
            total[(slice(None), *place)] += found.mul_(weight)
            sums[place] += weight
        assert total is not None
        if sums is not None:
            total /= sums
    kept = [slice(b // s, -(-(b + n) // s)) for b, n, s in zip(before, image.shape[1:], stride, strict=True)]
    return total[(slice(None), *kept)]


def _window_answer(
    networks: Sequence[nn.Module],
    cut: Tensor,
    plan: Plan,
    finish: Callable[[Tensor], Tensor],
    mirrored: Callable[[Tensor, tuple[int, ...]], Tensor] | None,
) -> Tensor:
    flat = plan.grid.patch[0] == 1
    form = torch.channels_last if flat else torch.channels_last_3d
    total: Tensor | None = None
    count = 0
    for axes in _mirrorings(plan.grid.mirror, flat):
        turned = (cut.flip([a + 1 for a in axes]) if axes else cut)[None]
        turned = (turned[:, :, 0] if flat else turned).contiguous(memory_format=form)
        for network in networks:
            mixed = mixed_precision(plan, cut.device)
            with torch.autocast(cut.device.type, torch.bfloat16) if mixed else nullcontext():
                answer = lean_answer(network, turned)
            found = finish(answer.float())[0]
            found = found[:, None] if flat else found
            if axes:
                found = found.flip([a + 1 for a in axes])
                found = mirrored(found, axes) if mirrored else found
            total = found if total is None else total.add_(found)
            count += 1
    assert total is not None
    return total / count if count > 1 else total


def _mirrorings(axes: Sequence[int], flat: bool) -> Iterator[tuple[int, ...]]:
    """Every combination of the plan's mirrored axes, none first."""
    use = [a for a in axes if not (flat and a == 0)]
    for chosen in product((False, True), repeat=len(use)):
        yield tuple(a for a, on in zip(use, chosen, strict=True) if on)


def _padded(image: Tensor, sides: Sequence[int], stride: Sequence[int]) -> tuple[Tensor, list[int]]:
    """The image with its edge repeated to these sides, and what was put before it.

    Whole cells are put before it, so that a cell of the answer lies where it would without them.
    """
    missing = [w - n for n, w in zip(image.shape[1:], sides, strict=True)]
    if not any(missing):
        return image, [0, 0, 0]
    before = [m // 2 // s * s for m, s in zip(missing, stride, strict=True)]
    pads: list[int] = []
    for b, m in zip(reversed(before), reversed(missing), strict=True):
        pads += [b, m - b]
    made: Tensor = functional.pad(image[None], pads, mode="replicate")[0]
    return made, before


def _gaussian(window: tuple[int, ...], device: torch.device) -> Tensor:
    """Weights of a window's cells: 1 in the middle, falling to its edges, nowhere 0 (Isensee 2021)."""
    made = torch.ones((), device=device)
    for n in window:
        at = torch.arange(n, device=device) - (n - 1) / 2
        made = made[..., None] * torch.exp(-0.5 * (at / max(_SIGMA * n, 0.5)) ** 2)
    return (made / made.max()).clamp(min=_LEAST_WEIGHT)
