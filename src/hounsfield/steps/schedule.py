"""Optimiser and learning rate: what moves the weights, and how far at each step."""

from __future__ import annotations

import math
from typing import Any

import torch

from hounsfield.core.plan import Fit
from hounsfield.networks.classifier import Classifier
from hounsfield.networks.links import distances
from hounsfield.steps.rmsprop import RMSprop

__all__ = ["optimiser_of", "rate_at", "set_rate"]


def optimiser_of(network: torch.nn.Module, plan: Fit) -> torch.optim.Optimizer:
    """The plan's optimiser over all parameters, frozen ones too; norms and biases are not decayed.

    A frozen parameter has no gradient and is passed by until it thaws, so that one optimiser lasts through
    staged unfreezing. With `layer_decay` below 1 a group's rate is the plan's times that decay once for
    each layer between it and the head (`networks.links.distances`), kept in the group's "scale".
    """
    away: dict[str, int] = {}
    if plan.layer_decay < 1 and isinstance(network, Classifier):
        away = distances(network)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        distance, decayed = away.get(name, 0), parameter.ndim > 1
        made = {
            "params": [],
            "weight_decay": plan.weight_decay if decayed else 0.0,
            "scale": plan.layer_decay**distance,
            "lr": plan.learning_rate * plan.layer_decay**distance,
        }
        groups.setdefault((distance, decayed), made)["params"].append(parameter)
    ordered = [groups[key] for key in sorted(groups, key=lambda k: (k[0], not k[1]))]
    return _made(ordered, plan)


def _made(groups: list[dict[str, Any]], plan: Fit) -> torch.optim.Optimizer:
    rate = plan.learning_rate
    if plan.optimiser == "sgd":
        made = torch.optim.SGD(
            groups, lr=rate, momentum=plan.momentum, nesterov=plan.momentum > 0, fused=True
        )
        if plan.momentum > 0:
            made.register_step_pre_hook(_at_rest)
        return made
    if plan.optimiser == "rmsprop":
        return RMSprop(groups, lr=rate)
    kind = torch.optim.Adam if plan.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=rate, fused=True)


def _at_rest(optimiser: torch.optim.Optimizer, *_: Any) -> None:
    """A weight that thaws starts with a momentum of 0; torch's fused SGD breaks down where some have none."""
    for group in optimiser.param_groups:
        for p in group["params"]:
            if p.grad is not None and optimiser.state[p].get("momentum_buffer") is None:
                optimiser.state[p]["momentum_buffer"] = torch.zeros_like(p)


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
    """Give every parameter group this learning rate, times its scale."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
