"""Models that an attacker looks at, trained by the package's own private steps, with and without protection.

"Without" is the same step with a noise of nothing and a clip that cuts nothing: a build whose protection was
switched off. Every attack here must succeed on that one, or it could not see the difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from hounsfield.federation.privacy.accounting import noise_for
from hounsfield.federation.privacy.private_step import PrivateStep, secret_rng
from hounsfield.steps.batches import Piece

DELTA = 1e-5


@dataclass(frozen=True)
class Protection:
    """A budget of epsilon (infinite: switched off) and the length of a patient's gradient."""

    epsilon: float = math.inf
    clip: float = 1e9

    def noise(self, rate: float, steps: int) -> float:
        """The noise that the accountant asks for."""
        if math.isinf(self.epsilon):
            return 0.0
        return noise_for(self.epsilon, delta=DELTA, rate=rate, steps=steps)


OFF = Protection()


def rows_lost(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits, wanted, reduction="none")


def train(
    net: nn.Module, images: torch.Tensor, wanted: torch.Tensor, protection: Protection, *,
    who: Sequence[int] | None = None, rate: float, steps: int, speed: float, seed: int,
) -> nn.Module:  # fmt: skip
    """`steps` private steps of SGD in which each patient of `who` is seen with the chance `rate`."""
    owner = np.arange(len(images)) if who is None else np.asarray(who)
    patients = len(np.unique(owner))
    optimiser = torch.optim.SGD(net.parameters(), lr=speed)
    private = PrivateStep(
        net, rows_lost, clip=protection.clip, noise=protection.noise(rate, steps), expected=rate * patients
    )
    with private:
        for step in range(steps):
            rng = secret_rng(bytes(32), seed, step)
            coins = rng.random(patients) < rate
            seen = np.flatnonzero(coins[np.unique(owner, return_inverse=True)[1]])
            piece = Piece(images[seen], wanted[seen], 0, len(seen), len(seen), who=owner[seen])
            private.gradient([piece] if len(seen) else [], rng)
            optimiser.step()
    return net.eval()


def losses(net: nn.Module, images: torch.Tensor, wanted: torch.Tensor) -> NDArray[np.float64]:
    with torch.no_grad():
        return rows_lost(net(images), wanted).mean(1).double().numpy()


def noise_pictures(seed: int, n: int, side: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of noise with answers by chance: whatever a model knows of them, it knows by heart."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.standard_normal((n, 1, side, side)).astype(np.float32))
    return images, torch.from_numpy(rng.integers(0, 2, (n, 1)).astype(np.float32))


def linear(side: int = 12, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(side * side, 1))
    nn.init.zeros_(net[1].weight)
    return net
