"""The networks of the inference rows: random weights, but statistics and scales as training leaves them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pictures import pictures
from torch import nn

from hounsfield.core import plan
from hounsfield.networks import build

__all__ = ["OUTPUTS", "network_with_statistics", "request"]

OUTPUTS = 10


def network_with_statistics(name: str) -> nn.Module:
    """A network with the same numbers in every process; no batch normalisation is left at 0 and 1."""
    size = (1, 224, 224)
    made = build(plan.Network(name=name), channels=3, outputs=OUTPUTS, size=size, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor, low, high in (
                    (module.weight, 0.5, 1.0),
                    (module.bias, -0.1, 0.1),
                    (module.running_mean, -0.1, 0.1),
                    (module.running_var, 0.5, 1.5),
                ):
                    assert tensor is not None
                    tensor.uniform_(low, high, generator=generator)
    return made


def request(batch: int, side: int) -> NDArray[Any]:
    """Images (batch, 3, side, side) of float32, about mean 0 and spread 1."""
    grey = pictures(batch, (side, side))[:, None]
    return np.repeat((grey - grey.mean()) / grey.std(), 3, 1).astype(np.float32)
