"""Optimiser and learning rate: what moves the weights, and how far at each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from hounsfield.core.plan import Fit

__all__ = ["optimiser_of", "rate_at", "set_rate"]


def optimiser_of(network: torch.nn.Module, plan: Fit) -> torch.optim.Optimizer:
    """The plan's optimiser over what may be trained; norms and biases are not decayed."""
    decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups: Iterable[dict[str, Any]] = [
        {"params": decayed, "weight_decay": plan.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    rate = plan.learning_rate
    if plan.optimiser == "sgd":
        return torch.optim.SGD(
            groups, lr=rate, momentum=plan.momentum, nesterov=plan.momentum > 0, fused=True
        )
    if plan.optimiser == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, alpha=0.9, eps=1e-7)
    kind = torch.optim.Adam if plan.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=rate, fused=True)


def rate_at(plan: Fit, step: int, steps: int) -> float:
    """The learning rate at a step: warm-up to the plan's rate, then what the schedule says.

    >>> [round(rate_at(Fit(learning_rate=1.0, schedule="cosine", warmup=0), s, 4), 2) for s in (0, 2, 4)]
    [1.0, 0.5, 0.0]
    """
    if plan.schedule == "constant":
        return plan.learning_rate
    done = step / max(1, steps)
    if done < plan.warmup:
        start = 0.04 if plan.schedule == "onecycle" else 0.0
        rise = done / plan.warmup
        if plan.schedule == "onecycle":
            rise = 0.5 - 0.5 * math.cos(math.pi * rise)
        return plan.learning_rate * (start + (1 - start) * max(rise, 1e-3))
    rest = (done - plan.warmup) / max(1e-9, 1 - plan.warmup)
    return plan.learning_rate * (0.5 + 0.5 * math.cos(math.pi * min(1.0, rest)))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate
