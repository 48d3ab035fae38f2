"""A network as one vector of float32, and back: the same names and shapes in the same order on both sides.

Counters are not numbers to average and stay where they are. FedBN leaves the normalisation layers out (Li
2021): each site keeps its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from hounsfield.core.errors import BadInput

__all__ = ["Layout"]

Vector = NDArray[np.float32]
Norms = Literal["with", "without", "only"]

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Layout:
    """Which tensors of a network are shared, with their shapes; `learned` says which are parameters.

    >>> network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    >>> whole, without = Layout.of(network), Layout.of(network, norms="without")
    >>> whole.size, without.size, Layout.of(network, norms="only").size, whole.names[-1]
    (21, 9, 12, '1.running_var')
    >>> whole.give(network, np.ones(21, np.float32)); float(whole.take(network).sum())
    21.0
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    learned: tuple[bool, ...]

    @classmethod
    def of(cls, network: nn.Module, *, norms: Norms = "with") -> Layout:
        """The tensors of a network in the order of its state: all, without its normalisation layers, or these
        only.
        """
        parameters = {name for name, _ in network.named_parameters()}
        layers = {name for name, module in network.named_modules() if isinstance(module, _NORMS)}
        wanted = {"with": (True, False), "without": (False,), "only": (True,)}[norms]
        shared = {
            name: tuple(tensor.shape)
            for name, tensor in network.state_dict().items()
            if tensor.is_floating_point() and (name.rpartition(".")[0] in layers) in wanted
        }
        return cls(tuple(shared), tuple(shared.values()), tuple(name in parameters for name in shared))

    @property
    def size(self) -> int:
        """Numbers in the vector."""
        return sum(self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of each tensor."""
        return tuple(int(np.prod(shape)) for shape in self.shapes)

    def is_learned(self) -> NDArray[np.bool_]:
        """For each number (P,) whether it is of a parameter, not of a statistic."""
        return np.repeat(np.array(self.learned, np.bool_), self.sizes)

    def take(self, network: nn.Module) -> Vector:
        """The network's shared numbers (P,)."""
        state = network.state_dict()
        parts = [
            state[name].detach().to("cpu", torch.float32).contiguous().reshape(-1) for name in self.names
        ]
        return np.asarray(torch.cat(parts).numpy(), np.float32)

    @torch.no_grad()
    def give(self, network: nn.Module, vector: Vector) -> None:
        """Put shared numbers (P,) into the network; BadInput where their count is another."""
        if vector.shape != (self.size,):
            raise BadInput(
                f"{vector.size} weights came for a network of {self.size}; expected the plan's own network; "
                "compare the plan's hash and the versions on both sides"
            )
        state = network.state_dict()
        for name, part in self.parts(vector).items():
            state[name].copy_(torch.from_numpy(np.ascontiguousarray(part)))

    def parts(self, vector: Vector) -> dict[str, Vector]:
        """A vector (P,) as tensors by name."""
        cut = np.split(vector, np.cumsum(self.sizes)[:-1])
        return {n: p.reshape(s) for n, p, s in zip(self.names, cut, self.shapes, strict=True)}
