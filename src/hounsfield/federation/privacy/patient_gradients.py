"""The gradient of every row of a batch in one backward pass, as Opacus's hooks find it, and quicker.

Opacus (Yousefpour 2021) keeps what a layer saw and what came back to it, and makes the gradients of the rows
of both; it unfolds every convolution into a matrix, and autograd finds the sum of the gradients as well,
which nobody needs. Here convolutions, group normalisations and linear layers leave the gradients of their
rows in their own backward pass, and nothing else; every other layer goes through Opacus's hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import Any

import torch
from opacus.grad_sample.grad_sample_module import GradSampleHooks
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.modules.batchnorm import _BatchNorm

from hounsfield.core.errors import BadInput

__all__ = ["RowGradients", "refuse_shared_statistics"]

Kept = dict[nn.Parameter, Tensor]
Saved = Sequence[Tensor]
Found = tuple[Tensor | None, Tensor, Tensor | None]
"""The gradient of the input, and of weight and bias the gradients of the rows."""


def refuse_shared_statistics(network: nn.Module) -> None:
    """BadInput where an image's answer depends on the others of its batch, or statistics leave unprotected.

    Frozen batch normalisations keep their statistics and may stay.

    >>> refuse_shared_statistics(nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2)))
    >>> refuse_shared_statistics(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
    Traceback (most recent call last):
    hounsfield.core.errors.BadInput: the network normalises by statistics of the batch ("1"), which mixes \
patients and leaves the site without noise; expected group normalisation where federation.epsilon is set; \
set network.norm=group
    """
    for name, module in network.named_modules():
        learns = any(p.requires_grad for p in module.parameters(recurse=False))
        by_batch = isinstance(module, _BatchNorm) and (learns or module.training)
        if by_batch or (learns and any(True for _ in module.buffers(recurse=False))):
            raise BadInput(
                f'the network normalises by statistics of the batch ("{name}"), which mixes patients and '
                "leaves the site without noise; expected group normalisation where federation.epsilon is "
                "set; set network.norm=group"
            )


class RowGradients:
    """Layers of a network that leave the gradient of every row, (rows, …), of each parameter.

    The loss of a backward pass is a sum over rows, and each layer is passed once. `close` leaves the network
    as it was found. Raises BadInput for a network whose rows are not independent.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> rows = RowGradients(layer)
    >>> layer(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    >>> [g.tolist() for g in rows.taken()]
    [[[[1.0, 2.0]], [[3.0, 4.0]]]]
    >>> rows.close()
    """

    def __init__(self, network: nn.Module) -> None:
        refuse_shared_statistics(network)
        self.network = network
        self.learning = [p for p in network.parameters() if p.requires_grad]
        self._kept: Kept = {}
        self._own: list[Any] = [m for m in network.modules() if type(m) in _ROWS and _learns_at_all(m)]
        for module in self._own:
            module.forward = partial(_passed, module, self._kept)
        self._hooks = _Hooks(network, {id(m) for m in self._own})

    def taken(self) -> list[Tensor]:
        """The gradients (rows, …) of the last backward pass, in the order of `learning`; they are let go."""
        found = []
        for parameter in self.learning:
            rows = self._kept.pop(parameter, None)
            if rows is None:
                rows = getattr(parameter, "grad_sample", None)
                parameter.grad_sample = None  # type: ignore[attr-defined]
            if rows is None or isinstance(rows, list):
                raise RuntimeError("a parameter without one gradient a row: it was not passed exactly once")
            found.append(rows)
        return found

    def close(self) -> None:
        """Take the layers' own backward passes and the hooks off again."""
        self._hooks.cleanup()
        for module in self.network.modules():
            for left in ("activations", "max_batch_len"):
                vars(module).pop(left, None)
        for module in self._own:
            del module.forward
        self._kept.clear()


class _Hooks(GradSampleHooks):  # type: ignore[misc]
    """Opacus's hooks on the layers that are not in `others`."""

    def __init__(self, network: nn.Module, others: set[int]) -> None:
        self._others = others
        super().__init__(network, loss_reduction="sum")

    def iterate_submodules(self, module: nn.Module) -> Iterable[nn.Module]:
        """Opacus's walk, without the others."""
        return (m for m in super().iterate_submodules(module) if id(m) not in self._others)


def _learns_at_all(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters(recurse=False))


def _passed(module: Any, kept: Kept, x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        found: Tensor = type(module).forward(module, x)
        return found
    found = _Rows.apply(x, module.weight, module, kept)  # type: ignore[no-untyped-call]
    return found


class _Rows(torch.autograd.Function):
    """A layer whose backward pass keeps the gradients of its rows; autograd gets that of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, module: Any, kept: Kept) -> Tensor:
        del weight  # it stands here so that the answer has a gradient although the images have none
        found: Tensor
        if isinstance(module, nn.GroupNorm):
            found, *more = torch.native_group_norm(
                x, module.weight, module.bias, *_sizes(module, x), module.eps
            )
        else:
            found, more = type(module).forward(module, x), []
        ctx.save_for_backward(x, *more)
        ctx.module, ctx.kept = module, kept
        return found

    @staticmethod
    def backward(ctx: Any, *back: Tensor) -> tuple[Tensor | None, None, None, None]:
        module = ctx.module
        of_input, *found = _ROWS[type(module)](
            module, ctx.saved_tensors, back[0], bool(ctx.needs_input_grad[0])
        )
        for parameter, rows in zip((module.weight, module.bias), found, strict=True):
            if parameter is not None and parameter.requires_grad:
                if parameter in ctx.kept:
                    raise RuntimeError("a layer was passed twice in one batch; its rows have no one gradient")
                ctx.kept[parameter] = rows
        return of_input, None, None, None


def _sizes(module: nn.GroupNorm, x: Tensor) -> tuple[int, int, int, int]:
    channels = module.num_channels
    return len(x), channels, x.numel() // (len(x) * channels), module.num_groups


def _linear(module: Any, saved: Saved, back: Tensor, wanted: bool) -> Found:
    weight = torch.einsum("n...o,n...i->noi", back, saved[0])
    bias = back.flatten(1, -2).sum(1) if back.ndim > 2 else back
    return back @ module.weight if wanted else None, weight, bias


def _group_norm(module: Any, saved: Saved, back: Tensor, wanted: bool) -> Found:
    """Both sums of a channel give the gradient of its scale: the normalised image need not be made again."""
    x, mean, rate = saved
    of_input: Tensor | None = None
    if wanted:
        of_input = torch.ops.aten.native_group_norm_backward(
            back, x, mean, rate, module.weight.detach(), *_sizes(module, x), [True, False, False]
        )[0]
    axes = tuple(range(2, x.ndim))
    total = back.sum(axes)
    each = module.num_channels // module.num_groups
    mean, rate = mean.repeat_interleave(each, 1), rate.repeat_interleave(each, 1)
    return of_input, rate * ((back * x).sum(axes) - mean * total), total


def _convolution(module: Any, saved: Saved, back: Tensor, wanted: bool) -> Found:
    x = saved[0]
    weight, none = module.weight.detach(), [0] * len(module.kernel_size)
    numbers = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    padding = module.padding if numbers else none
    of_input: Tensor | None = None
    if wanted and numbers:
        of_input = torch.ops.aten.convolution_backward(
            back, x, weight, None, module.stride, padding, module.dilation, False, none, module.groups,
            [True, False, False],
        )[0]  # fmt: skip
    elif wanted:
        with torch.enable_grad():
            again = x.detach().requires_grad_()
            (of_input,) = torch.autograd.grad(type(module).forward(module, again), again, back)
    whole = back[0, 0].numel() < 1.5 * back.shape[1]  # which of the two copies less
    rows = _by_row if module.groups > 1 else _unfolded_whole if whole else _unfolded
    bias = None if module.bias is None else back.sum(tuple(range(2, back.ndim)))
    return of_input, rows(module, _padded(module, x), back), bias


def _padded(module: Any, x: Tensor) -> Tensor:
    """The images with the border that the convolution sees."""
    if module.padding == "valid":
        return x
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    if isinstance(module.padding, str) or mode != "constant":
        return pad(x, module._reversed_padding_repeated_twice, mode)
    sides = [side for width in reversed(module.padding) for side in (width, width)]
    return pad(x, sides) if any(sides) else x


def _by_row(module: Any, x: Tensor, back: Tensor) -> Tensor:
    """The gradients of a convolution's weight, each row by itself."""
    weight, none = module.weight.detach(), [0] * len(module.kernel_size)
    rows = torch.empty((len(x), *weight.shape), dtype=back.dtype, device=back.device)
    for n in range(len(x)):
        rows[n] = torch.ops.aten.convolution_backward(
            back[n : n + 1], x[n : n + 1], weight, None, module.stride, none, module.dilation, False, none,
            module.groups, [False, True, False],
        )[1]  # fmt: skip
    return rows


def _unfolded_whole(module: Any, x: Tensor, back: Tensor) -> Tensor:
    """The gradients of a convolution's weight as one matrix product of all rows, for images of few places."""
    n, outputs, extent = len(x), back.shape[1], back.shape[2:]
    kernel, wide = tuple(module.kernel_size), x.movedim(1, -1)
    own = wide.stride()[1:-1]
    steps = [a * b for a, b in zip(own, module.stride, strict=True)]
    apart = [a * b for a, b in zip(own, module.dilation, strict=True)]
    seen = wide.as_strided(
        (n, *extent, *kernel, x.shape[1]), (wide.stride(0), *steps, *apart, wide.stride(-1))
    )
    given = back.movedim(1, -1).reshape(n, -1, outputs).transpose(1, 2)
    places = given.shape[-1]
    return torch.bmm(given, seen.reshape(n, places, -1)).view(n, outputs, *kernel, x.shape[1]).movedim(-1, 2)


def _unfolded(module: Any, x: Tensor, back: Tensor) -> Tensor:
    """The gradients of a convolution's weight as matrix products of all rows, unfolded along the last axis.

    The rest of the kernel is walked through: for each place the images are the same memory, shifted.
    """
    n, outputs, extent = len(x), back.shape[1], back.shape[2:]
    channels, kernel = x.shape[1], tuple(module.kernel_size)
    wide = x.movedim(1, -1)
    strides = wide.stride()
    along = (*wide.shape[:-2], extent[-1], kernel[-1], channels)
    step, apart = strides[-2] * module.stride[-1], strides[-2] * module.dilation[-1]
    seen = wide.as_strided(along, (*strides[:-2], step, apart, strides[-1]))
    seen = seen.reshape(*wide.shape[:-2], extent[-1], kernel[-1] * channels)
    given = back.movedim(1, -1).reshape(n, -1, outputs).transpose(1, 2)
    rows = back.new_empty((n, outputs, *kernel, channels))
    for place in product(*map(range, kernel[:-1])):
        cut = tuple(
            slice(p * d, p * d + (size - 1) * s + 1, s)
            for p, d, s, size in zip(place, module.dilation, module.stride, extent, strict=False)
        )
        shifted = seen[(slice(None), *cut)].reshape(n, -1, kernel[-1] * channels)
        there: tuple[Any, ...] = (slice(None), slice(None), *place)
        rows[there] = torch.bmm(given, shifted).view(n, outputs, kernel[-1], channels)
    return rows.movedim(-1, 2)


_ROWS: dict[type[nn.Module], Callable[[Any, Saved, Tensor, bool], Found]] = {
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.GroupNorm: _group_norm,
    nn.Linear: _linear,
}
