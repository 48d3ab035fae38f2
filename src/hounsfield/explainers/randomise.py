"""A network whose weights are drawn anew from the head downwards: what a map must not survive."""

from __future__ import annotations

from copy import deepcopy
from math import sqrt

import torch
from torch import Generator, nn

__all__ = ["randomised"]


def randomised(network: nn.Module, *, layers: int | None = None, seed: int = 0) -> nn.Module:
    """A copy whose last `layers` modules with parameters are as before training; None: all of them.

    That is the cascading randomisation of Adebayo et al. 2018 (section 3.1), the layers counted in the order
    of their definition. Kernels are normal with the variance of He et al. 2015, which keeps a signal's size
    through a deep network; biases are 0; normalisations and their statistics are those of a new network; a
    parameter that belongs to no layer (a class token) keeps the spread it had.

    >>> net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> other = randomised(net, layers=1)
    >>> [torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters())]
    [True, True, False, False]
    """
    copy = deepcopy(network)
    owners = [m for m in copy.modules() if any(True for _ in m.parameters(recurse=False))]
    chosen = owners if layers is None else owners[len(owners) - min(layers, len(owners)) :]
    generator = Generator().manual_seed(seed)
    with torch.no_grad():
        for module in chosen:
            _draw(module, generator)
    return copy


def _draw(module: nn.Module, generator: Generator) -> None:
    kernel = isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
    reset = getattr(module, "reset_running_stats", None)
    if callable(reset):
        reset()
    for name, parameter in module.named_parameters(recurse=False):
        drawn = torch.randn(parameter.shape, generator=generator)
        if kernel and name == "weight":
            drawn *= sqrt(2 / max(1, parameter[0].numel()))
        elif name == "bias":
            drawn.zero_()
        elif parameter.ndim == 1 and name == "weight":  # the scale of a normalisation
            drawn.fill_(1)
        else:
            spread = float(parameter.float().std()) if parameter.numel() > 1 else 0.0
            drawn *= spread or 1.0
        parameter.copy_(drawn)
