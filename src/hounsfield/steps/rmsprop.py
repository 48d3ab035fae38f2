"""RMSprop as Keras defines it, through torch's fused Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

__all__ = ["RMSprop"]

_LATE = 1e6
"""A step number at which Adam corrects its means no more."""


class RMSprop(torch.optim.Optimizer):
    """Gradients over the root of their mean square (Hinton 2012), with epsilon under the root as in Keras.

    torch's own adds epsilon to the root, which for small gradients is another method: at a gradient of
    1e-4 Keras' first step is 0.3 of the rate, torch's 3.2. torch's has no fused form either, but Adam
    without a mean of gradients is RMSprop: with a state u = v + eps, which begins as eps and receives
    (1 - decay) eps more at each step, Adam's second moment is v + eps and its step g / sqrt(v + eps).
    That is one pass over the memory and a sum. `weight_decay` is added to the gradient.

    >>> weight = torch.nn.Parameter(torch.tensor([10.0]))
    >>> optimiser = RMSprop([weight], lr=0.1)
    >>> (weight**2 / 2).sum().backward(); optimiser.step(); round(weight.item(), 6)
    9.683772
    """

    def __init__(
        self,
        groups: Iterable[Any],
        *,
        lr: float,
        decay: float = 0.9,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(groups, {"lr": lr, "decay": decay, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every weight that has a gradient; what `closure` returns, if it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._move([p for p in group["params"] if p.grad is not None], group)
        return loss

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        if not weights:
            return
        decay, eps = group["decay"], group["eps"]
        for p in weights:
            if "square_mean" not in self.state[p]:
                self.state[p]["square_mean"] = torch.full_like(p, eps)
        means = [self.state[p]["square_mean"] for p in weights]
        torch._foreach_add_(means, (1 - decay) / decay * eps)
        gradients = [_laid_as(p.grad, p) for p in weights]
        adam(
            weights,
            gradients,
            gradients,  # as the mean of gradients, which with beta1 0 is the gradient itself
            means,
            [],
            [torch.full((), _LATE, device=p.device) for p in weights],
            fused=True,
            amsgrad=False,
            beta1=0.0,
            beta2=decay,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=0.0,
            maximize=False,
        )


def _laid_as(gradient: Tensor | None, weight: Tensor) -> Tensor:
    """The gradient in the memory order of its weight: the fused kernel walks both as flat memory."""
    assert gradient is not None
    if gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)
