"""The gradient of every row of a batch, in one backward pass: Opacus's hooks, with quicker convolutions.

Opacus (Yousefpour 2021) keeps what a layer saw and what came back to it, and makes the gradients of the rows
of both. It unfolds every convolution into a matrix, and lets autograd find the sum of the gradients as well,
which nobody needs. Here each row has its own convolution backwards, and autograd is not told that a
convolution learns. A layer that Opacus does not know goes through torch.func, as it does there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from opacus.grad_sample.grad_sample_module import GradSampleHooks
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hounsfield.core.errors import BadInput

__all__ = ["RowGradients", "refuse_shared_statistics"]

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)

Sampler = Callable[[nn.Module, Sequence[Tensor], Tensor], dict[nn.Parameter, Tensor]]


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
    """Hooks on a network that leave the gradient of every row, (rows, …), at each parameter.

    The loss of a backward pass is a sum over rows. `close` takes the hooks off again. Raises BadInput for a
    network whose rows are not independent.

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
        self._convolutions: list[Any] = [
            m for m in network.modules() if type(m) in _CONVOLUTIONS and _plain(m)
        ]
        for module in self._convolutions:
            module._unwatched, module._conv_forward = module._conv_forward, partial(_watched, module)
        self._hooks = _Hooks(network, loss_reduction="sum")

    def taken(self) -> list[Tensor]:
        """The gradients (rows, …) of the last backward pass, in the order of `learning`; they are let go."""
        found = []
        for parameter in self.learning:
            rows = getattr(parameter, "grad_sample", None)
            if rows is None or isinstance(rows, list):
                raise RuntimeError("a parameter without one gradient a row: it was not passed exactly once")
            parameter.grad_sample = None  # type: ignore[attr-defined]
            found.append(rows)
        return found

    def close(self) -> None:
        """Leave the network as it was found."""
        self._hooks.cleanup()
        for module in self.network.modules():
            for left in ("activations", "max_batch_len"):
                vars(module).pop(left, None)
        for module in self._convolutions:
            del module._conv_forward, module._unwatched


def _plain(module: Any) -> bool:
    """Whether a convolution pads with zeros, by as many as it says."""
    return module.padding_mode == "zeros" and not isinstance(module.padding, str)


class _Unlearned(torch.autograd.Function):
    """A convolution of which autograd finds no more than the gradient of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, module: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.module = module
        back: Tensor = module._unwatched(x, weight, bias)
        return back

    @staticmethod
    def backward(ctx: Any, *back: Tensor) -> tuple[Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        found: Tensor = _backwards(ctx.module, x, weight, back[0], [True, False, False])[0]
        return found, None, None, None


def _watched(module: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = _Unlearned.apply(x, weight, bias, module)  # type: ignore[no-untyped-call]
    return found


def _backwards(module: Any, x: Tensor, weight: Tensor, back: Tensor, wanted: list[bool]) -> Any:
    none = [0] * len(module.kernel_size)
    padding = module.padding if _plain(module) else none
    return torch.ops.aten.convolution_backward(
        back, x, weight, None, module.stride, padding, module.dilation, False, none, module.groups, wanted
    )


def _by_row(module: Any, seen: Sequence[Tensor], back: Tensor) -> dict[nn.Parameter, Tensor]:
    """The gradients of a convolution's weight (rows, …) and bias, each row by itself."""
    x, found = seen[0], dict[nn.Parameter, Tensor]()
    if not _plain(module) and module.padding != "valid":
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        x = nn.functional.pad(x, module._reversed_padding_repeated_twice, mode)
    if module.weight.requires_grad:
        weight = module.weight.detach()
        rows = torch.empty((len(x), *weight.shape), dtype=back.dtype, device=back.device)
        for n in range(len(x)):
            rows[n] = _backwards(module, x[n : n + 1], weight, back[n : n + 1], [False, True, False])[1]
        found[module.weight] = rows
    if module.bias is not None and module.bias.requires_grad:
        found[module.bias] = back.flatten(2).sum(2)
    return found


class _Hooks(GradSampleHooks):  # type: ignore[misc]
    GRAD_SAMPLERS: ClassVar[dict[type[nn.Module], Sampler]] = {
        **GradSampleHooks.GRAD_SAMPLERS,
        **dict.fromkeys(_CONVOLUTIONS, _by_row),
    }
