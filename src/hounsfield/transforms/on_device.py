"""The changes of `augment` by batched torch on the images' own device: the same parameters, the same images.

Results differ from the compiled engine's by what single precision leaves of a place in the image, some 1e-5
of the range.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hounsfield.transforms.artefacts import coarse_size, k_space_ramps
from hounsfield.transforms.augment import refuse_unfit
from hounsfield.transforms.counted import NOISE, keys_of
from hounsfield.transforms.draw import Draw
from hounsfield.transforms.intensity import LEAST_SPREAD, gaussian_kernel
from hounsfield.transforms.separable import weights
from hounsfield.transforms.spline import spline_weights

__all__ = ["augmented_on_device"]

_BITS = 0xFFFFFFFF


@torch.no_grad()
def augmented_on_device(images: Tensor, levels: Tensor, draw: Draw, *, standardise: bool = False) -> Tensor:
    """What `augmented` does, on the device of `images` (n, C, K, J, I); `levels` (n, 4).

    Gives float32 (n, C, J, I) if the draw is of (J, I), else (n, C, K, J, I). Raises BadInput where images,
    levels and draw do not fit together.

    >>> from hounsfield.core.plan import Augment
    >>> from hounsfield.transforms.draw import draw
    >>> images = torch.arange(32, dtype=torch.uint8).view(2, 1, 1, 4, 4)
    >>> levels = torch.tensor([[1, 0, -torch.inf, torch.inf]] * 2)
    >>> bool((augmented_on_device(images, levels, draw(Augment(), 2, (4, 4), 0)) == images[:, :, 0]).all())
    True
    """
    refuse_unfit(tuple(images.shape), tuple(levels.shape), draw)
    levels = levels.to(images.device, torch.float32)
    scale, offset, least, greatest = (levels[:, c].view(-1, 1, 1, 1, 1) for c in range(4))
    out = images.to(torch.float32)
    if draw.mirrored is not None:
        out = _mirrored(out, draw.mirrored)
    else:
        outside = torch.where(scale == 0, 0.0, (draw.fill_value - offset) / scale)
        out = _resampled(out, draw, outside)
    out = (out * scale + offset).clamp(least, greatest)
    for amounts, change in _CHANGES:
        chosen = amounts(draw)
        if chosen.any():
            rows = torch.from_numpy(np.flatnonzero(chosen)).to(out.device)
            out[rows] = change(out[rows], draw.of(chosen))
    if standardise:
        out = (out - _mean(out)) / _spread(out).clamp_min(LEAST_SPREAD)
    if draw.cutout.any():
        out = _cut_out(out, draw.cutout)
    return out.reshape(*out.shape[:2], *draw.shape)


def _mirrored(x: Tensor, turned: NDArray[np.bool_]) -> Tensor:
    for axis in range(3):
        if turned[:, axis].any():
            x = torch.where(_rows(turned[:, axis], x), x.flip(2 + axis), x)
    return x


def _resampled(x: Tensor, draw: Draw, outside: Tensor) -> Tensor:
    d, shape = len(draw.shape), draw.shape
    moved = x.reshape(*x.shape[:2], *shape)
    background = outside.view(-1, *[1] * (d + 1))
    places = _places(draw, x.device)
    sizes = [s + 1 if draw.fill == "wrap" else s for s in shape]
    if draw.fill == "constant":
        moved = moved - background
    elif draw.fill == "wrap":
        moved = functional.pad(moved, (0, 1) * d, mode="circular")
    grid = torch.stack(
        [
            (2 * _folded(p, shape[axis], draw.fill) + 1) / sizes[axis] - 1
            for axis, p in reversed(list(enumerate(places)))
        ],
        -1,
    )
    padding = "zeros" if draw.fill == "constant" else "border"
    moved = functional.grid_sample(moved, grid, mode="bilinear", padding_mode=padding, align_corners=False)
    if draw.fill == "constant":
        moved = moved + background
    return moved.reshape(x.shape)


def _places(draw: Draw, device: torch.device) -> list[Tensor]:
    """Where each voxel lies in the image: one tensor (n, [K,] J, I) an axis."""
    d = len(draw.shape)
    matrix = torch.from_numpy(draw.matrix.astype(np.float32)).to(device)
    lines = [torch.arange(s, dtype=torch.float32, device=device) for s in draw.shape]
    lines = [line.view(*[-1 if b == a else 1 for b in range(d)]) for a, line in enumerate(lines)]
    found = []
    for axis in range(d):
        terms = [matrix[:, axis, a].view(-1, *[1] * d) * lines[a] for a in range(d)]
        found.append(sum(terms, matrix[:, axis, d].view(-1, *[1] * d)))
    if draw.displacement is not None:
        field = _field(draw.displacement, draw.shape, device)
        found = [p + field[:, axis] for axis, p in enumerate(found)]
    return found


def _folded(place: Tensor, size: int, fill: str) -> Tensor:
    """Bring places beyond the edge back into the image, or to where it is certainly outside."""
    if fill == "constant":
        return place.clamp(-2, size + 1)
    if fill == "wrap":
        return (place - torch.floor(place / size) * size).clamp(0, size)
    if fill == "reflect":
        place = place - torch.floor((place + 0.5) / (2 * size)) * (2 * size)
        place = torch.where(place > size - 0.5, 2 * size - 1 - place, place)
    return place.clamp(0, size - 1)


def _field(points: NDArray[np.float32], shape: tuple[int, ...], device: torch.device) -> Tensor:
    """The spline (n, …, *shape) of control points (n, …, p[, p], p)."""
    field = torch.from_numpy(points).to(device)
    for axis, size in enumerate(shape):
        at = field.ndim - len(shape) + axis
        held = torch.from_numpy(spline_weights(size, points.shape[-1]).astype(np.float32)).to(device)
        field = torch.tensordot(field, held, ([at], [1])).movedim(-1, at)
    return field


def _moved_halfway(x: Tensor, draw: Draw) -> Tensor:
    least = x.amin((1, 2, 3, 4), keepdim=True)
    height, width = x.shape[3:]
    rows, columns = (torch.from_numpy(r).to(x.device) for r in k_space_ramps((height, width), draw.motion))
    factor = rows[:, :, None] * columns[:, None]
    early = torch.fft.fftfreq(height, device=x.device)[:, None] < 0
    left = torch.fft.fftfreq(width, device=x.device)[None] < 0
    by_rows = torch.from_numpy(draw.phase_axis == 0).to(x.device)[:, None, None]
    factor = torch.where(torch.where(by_rows, early, left), 1.0, factor)
    return torch.fft.ifft2(torch.fft.fft2(x - least) * factor[:, None, None]).abs() + least


def _ghosted(x: Tensor, draw: Draw) -> Tensor:
    made = x.clone()
    for axis in (0, 1):
        chosen = draw.phase_axis == axis
        if not chosen.any():
            continue
        rows = torch.from_numpy(np.flatnonzero(chosen)).to(x.device)
        part, size = x[rows], x.shape[3 + axis]
        strength = _rows(draw.ghosting[chosen], part)
        distance = torch.from_numpy(np.rint(draw.ghost_move[chosen] * size).astype(np.int64)).to(x.device)
        at = torch.arange(size, device=x.device)
        form = (-1, 1, 1, size, 1) if axis == 0 else (-1, 1, 1, 1, size)
        ghosts = [
            part.gather(3 + axis, ((at + s * distance[:, None]) % size).view(form).expand_as(part))
            for s in (-1, 1)
        ]
        made[rows] = (1 - 2 * strength) * part + strength * (ghosts[0] + ghosts[1])
    return made


def _toned_by_field(x: Tensor, draw: Draw) -> Tensor:
    least = x.amin((1, 2, 3, 4), keepdim=True)
    field = _field(draw.bias_points, draw.shape, x.device).reshape(-1, 1, *x.shape[2:])
    return (x - least) * field.exp() + least


def _coarsened(x: Tensor, draw: Draw) -> Tensor:
    for axis in range(3):
        size = x.shape[2 + axis]
        smaller = [coarse_size((size,), float(f))[0] for f in draw.low_resolution]
        there_and_back = torch.from_numpy(np.stack([_coarse(size, s) for s in smaller])).to(x.device)
        moved = x.movedim(2 + axis, -1)
        x = torch.einsum("nckji,nmi->nckjm", moved, there_and_back).movedim(-1, 2 + axis)
    return x


@lru_cache(maxsize=1024)
def _coarse(size: int, smaller: int) -> NDArray[np.float32]:
    """The matrix (size, size) that averages an axis to fewer voxels and interpolates it back."""
    return _dense(smaller, size) @ _dense(size, smaller)


def _dense(before: int, after: int) -> NDArray[np.float32]:
    if before == after:
        return np.eye(before, dtype=np.float32)
    first, held = weights(before, after, "linear")
    made = np.zeros((after, before), np.float32)
    np.add.at(made, (np.arange(after)[:, None], first[:, None] + np.arange(held.shape[1])), held)
    return made


def _blurred(x: Tensor, draw: Draw) -> Tensor:
    kernels = [gaussian_kernel(float(sigma)) for sigma in draw.blur]
    table = np.zeros((len(kernels), max(map(len, kernels))), np.float32)
    for row, kernel in zip(table, kernels, strict=True):
        row[: len(kernel)] = kernel
    return _filtered(x, torch.from_numpy(table).to(x.device))


def _filtered(x: Tensor, kernels: Tensor) -> Tensor:
    """Symmetric filters (n or 1, taps: the middle, then one side) along every axis; edges repeat."""
    reach = kernels.shape[1] - 1
    share = kernels.view(*kernels.shape, 1, 1, 1, 1)
    for axis in (2, 3, 4):
        size = x.shape[axis]
        if size == 1:
            continue
        at = torch.arange(-reach, size + reach, device=x.device).clamp(0, size - 1)
        wide = x.index_select(axis, at)
        made = share[:, 0] * x
        for t in range(1, reach + 1):
            both = wide.narrow(axis, reach - t, size) + wide.narrow(axis, reach + t, size)
            made = made + share[:, t] * both
        x = made
    return x


def _sharpened(x: Tensor, draw: Draw) -> Tensor:
    half = torch.tensor([[0.5, 0.25]], device=x.device)
    return x + _rows(draw.sharpness, x) * (x - _filtered(_filtered(x, half), half))


def _raised(x: Tensor, draw: Draw) -> Tensor:
    least, most = x.amin((1, 2, 3, 4), keepdim=True), x.amax((1, 2, 3, 4), keepdim=True)
    spread = (most - least).clamp_min(1e-6)
    return ((x - least) / spread).clamp(0, 1) ** _rows(draw.gamma, x) * spread + least


def _contrasted(x: Tensor, draw: Draw) -> Tensor:
    mean, factor = _mean(x), _rows(draw.contrast, x)
    return (x - mean) * factor + mean


def _brightened(x: Tensor, draw: Draw) -> Tensor:
    return x + _rows(draw.brightness, x) * _spread(x)


def _noisy(x: Tensor, draw: Draw) -> Tensor:
    size = x[0].numel()
    half = (size + 1) // 2
    keys = torch.from_numpy(keys_of(draw.seed, NOISE).astype(np.int64)).to(x.device)[:, None]
    pairs = torch.arange(half, device=x.device)
    above = _mixed((_mixed(2 * pairs) + keys) & _BITS) >> 8
    turn = _mixed((_mixed(2 * pairs + 1) + keys) & _BITS) >> 8
    far = torch.sqrt(-2 * torch.log((above + 1).to(torch.float32) * 2.0**-24))
    angle = turn.to(torch.float32) * (2 * np.pi * 2.0**-24)
    noise = torch.cat((far * angle.cos(), far * angle.sin()), 1)[:, :size].reshape(x.shape)
    return x + noise * (_rows(draw.noise, x) * _spread(x))


def _mixed(x: Tensor) -> Tensor:
    """The hash of `counted`, in whole numbers of 64 bits."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _BITS
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _BITS
    return x ^ (x >> 16)


def _cut_out(x: Tensor, boxes: NDArray[np.int64]) -> Tensor:
    inside = torch.ones((len(x), 1, 1, 1, 1), dtype=torch.bool, device=x.device)
    held = torch.from_numpy(boxes).to(x.device)
    for axis in range(boxes.shape[2]):
        at = 5 - boxes.shape[2] + axis
        form = [-1 if b == at else 1 for b in range(5)]
        place = torch.arange(x.shape[at], device=x.device).view(form)
        low, high = (held[:, side, axis].view(-1, 1, 1, 1, 1) for side in (0, 1))
        inside = inside & (place >= low) & (place < high)
    return torch.where(inside, _mean(x), x)


def _mean(x: Tensor) -> Tensor:
    return x.mean((1, 2, 3, 4), keepdim=True)


def _spread(x: Tensor) -> Tensor:
    return x.std((1, 2, 3, 4), correction=0, keepdim=True)


def _rows(values: NDArray[Any], x: Tensor) -> Tensor:
    """One value a row, to be combined with (n, C, K, J, I)."""
    kept = values.astype(np.float32) if values.dtype.kind == "f" else values
    return torch.from_numpy(kept).to(x.device).view(-1, 1, 1, 1, 1)


# In their order: which rows change, and how.
_CHANGES: tuple[tuple[Callable[[Draw], Any], Callable[[Tensor, Draw], Tensor]], ...] = (
    (lambda d: d.motion.any(1), _moved_halfway),
    (lambda d: d.ghosting != 0, _ghosted),
    (lambda d: d.bias_field != 0, _toned_by_field),
    (lambda d: d.low_resolution > 1, _coarsened),
    (lambda d: d.blur > 0, _blurred),
    (lambda d: d.sharpness != 0, _sharpened),
    (lambda d: d.gamma != 1, _raised),
    (lambda d: d.contrast != 1, _contrasted),
    (lambda d: d.brightness != 0, _brightened),
    (lambda d: d.noise != 0, _noisy),
)
