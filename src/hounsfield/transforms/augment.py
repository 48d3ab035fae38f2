"""Random changes to a batch of training images: every spatial part composes into one resampling.

Batched torch, 2D and 3D, on whatever device the batch lies. Parameters are drawn from a generator, so
the same seed gives the same images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from hounsfield.core.plan import Augment

__all__ = ["augment", "mix", "sample_affine"]

PADDING = {"nearest": "border", "constant": "zeros", "reflect": "reflection", "wrap": "border"}


def augment(
    images: Tensor, plan: Augment, generator: torch.Generator, *, standardise: bool = False
) -> Tensor:
    """Change a batch (N, C, H, W) or (N, C, K, J, I) of normalised images as the plan allows.

    `standardise` brings each changed image back to mean 0 and spread 1, as it will be when predicted.

    >>> x = torch.rand(2, 1, 8, 8)
    >>> bool((augment(x, Augment(), torch.Generator().manual_seed(0)) == x).all())
    True
    """
    out = _resample(images, plan, generator) if _is_spatial(plan) else images
    out = _intensity(out, plan, generator)
    if standardise:
        axes = tuple(range(1, out.ndim))
        out = (out - out.mean(axes, True)) / out.std(axes, keepdim=True).clamp_min(1e-3)
    return _cut_out(out, plan, generator) if plan.cutout > 0 else out


def mix(images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blend each image and its target with another of the batch (mixup, Zhang 2018)."""
    n = len(images)
    share = _beta(alpha, n, generator).to(images.device)
    share = torch.maximum(share, 1 - share)
    other = torch.randperm(n, generator=generator).to(images.device)
    spread = share.view(-1, *[1] * (images.ndim - 1))
    kept = share.view(-1, *[1] * (targets.ndim - 1))
    return (
        images * spread + images[other] * (1 - spread),
        targets * kept + targets[other] * (1 - kept),
    )


def sample_affine(n: int, dims: int, plan: Augment, generator: torch.Generator) -> Tensor:
    """Matrices (N, dims, dims + 1) from output to input in normalised coordinates (x first).

    Rotation, shear, zoom, flips and shifts, in this order, multiplied into one.
    """
    a = plan.rotation_deg * math.pi / 180
    angle = _uniform(n, -a, a, generator)
    s = math.tan(plan.shear_deg * math.pi / 180)
    shear = _uniform(n, -s, s, generator)
    zoom = _uniform(n, 1 - plan.zoom, 1 + plan.zoom, generator)
    shift = _uniform(n * dims, -2 * plan.shift, 2 * plan.shift, generator).view(n, dims)
    flips = [plan.flip_left_right, plan.flip_up_down, plan.flip_slices][:dims]
    matrix = torch.eye(dims).repeat(n, 1, 1)
    cos, sin = angle.cos(), angle.sin()
    matrix[:, 0, 0], matrix[:, 0, 1] = cos, -sin
    matrix[:, 1, 0], matrix[:, 1, 1] = sin, cos
    sheared = torch.eye(dims).repeat(n, 1, 1)
    sheared[:, 0, 1] = shear
    matrix = matrix @ sheared / zoom.view(-1, 1, 1)
    for axis, allowed in enumerate(flips):
        if allowed:
            matrix[:, axis] *= torch.where(_uniform(n, 0, 1, generator) < 0.5, -1.0, 1.0).view(-1, 1)
    return torch.cat((matrix, shift[..., None]), 2)


def _is_spatial(plan: Augment) -> bool:
    amounts = plan.rotation_deg, plan.shift, plan.shear_deg, plan.zoom
    return any(amounts) or plan.flip_left_right or plan.flip_up_down or plan.flip_slices


def _resample(images: Tensor, plan: Augment, generator: torch.Generator) -> Tensor:
    n, dims = len(images), images.ndim - 2
    theta = sample_affine(n, dims, plan, generator).to(images)
    # A rotation of a plane that is not square needs the aspect ratio put in and taken out.
    aspect = images.shape[-1] / images.shape[-2]
    theta[:, 0, 1] /= aspect
    theta[:, 1, 0] *= aspect
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    if plan.fill == "wrap":
        grid = torch.remainder(grid + 1, 2) - 1
    mode = "bicubic" if dims == 2 else "bilinear"
    return functional.grid_sample(
        images, grid, mode=mode, padding_mode=PADDING[plan.fill], align_corners=False
    )


def _intensity(x: Tensor, plan: Augment, generator: torch.Generator) -> Tensor:
    shape = (-1, *[1] * (x.ndim - 1))
    n, axes = len(x), tuple(range(1, x.ndim))
    if plan.sharpness > 0:
        amount = _uniform(n, -plan.sharpness, plan.sharpness, generator).to(x).view(shape)
        x = x + amount * (x - _smooth(x))
    if plan.gamma > 0:
        low, high = x.amin(axes, True), x.amax(axes, True)
        spread = (high - low).clamp_min(1e-6)
        power = torch.exp(_uniform(n, -plan.gamma, plan.gamma, generator)).to(x).view(shape)
        x = ((x - low) / spread).clamp(0, 1) ** power * spread + low
    if plan.contrast > 0:
        factor = _uniform(n, 1 - plan.contrast, 1 + plan.contrast, generator).to(x).view(shape)
        mean = x.mean(axes, True)
        x = (x - mean) * factor + mean
    if plan.brightness > 0:
        spread = x.std(axes, keepdim=True)
        x = x + _uniform(n, -plan.brightness, plan.brightness, generator).to(x).view(shape) * spread
    if plan.noise > 0:
        amount = _uniform(n, 0, plan.noise, generator).to(x).view(shape) * x.std(axes, keepdim=True)
        x = x + torch.randn(x.shape, generator=generator).to(x) * amount
    return x


def _smooth(x: Tensor) -> Tensor:
    """A binomial [1, 4, 6, 4, 1] / 16 along every axis, as [1, 2, 1] / 4 twice; edges repeat."""
    for axis in (a for a in range(2, x.ndim) for _ in range(2)):
        size = x.shape[axis]
        if size < 2:
            continue
        before = torch.cat((x.narrow(axis, 0, 1), x.narrow(axis, 0, size - 1)), axis)
        after = torch.cat((x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)), axis)
        x = 0.5 * x + 0.25 * (before + after)
    return x


def _cut_out(x: Tensor, plan: Augment, generator: torch.Generator) -> Tensor:
    """A box a sample is set to the image's mean (DeVries 2017)."""
    n, dims = len(x), x.ndim - 2
    inside = torch.ones((n, *[1] * dims), dtype=torch.bool, device=x.device)
    for axis in range(dims):
        size = x.shape[2 + axis]
        side = _uniform(n, 0.3 * plan.cutout, plan.cutout, generator) * size
        centre = _uniform(n, 0, 1, generator) * size
        place = torch.arange(size)[None]
        hit = (place - centre[:, None]).abs() <= side[:, None] / 2
        inside = inside & hit.to(x.device).view(n, *[size if a == axis else 1 for a in range(dims)])
    chosen = (_uniform(n, 0, 1, generator) < plan.cutout_chance).to(x.device)
    inside = inside & chosen.view(-1, *[1] * dims)
    mean = x.mean(tuple(range(1, x.ndim)), keepdim=True)
    return torch.where(inside[:, None], mean, x)


def _beta(a: float, n: int, generator: torch.Generator) -> Tensor:
    """Beta(a, a) variates by Jöhnk's rejection; torch's own distribution takes no generator."""
    found: list[float] = []
    while len(found) < n:
        u, v = torch.rand(2, 4 * n, generator=generator).double() ** (1 / a)
        total = u + v
        good = (total <= 1) & (total > 0)
        found += (u[good] / total[good]).tolist()
    return torch.tensor(found[:n], dtype=torch.float32)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low
