"""torch eager: inference in float32 of a network of timm, as it is written, contiguous (NCHW)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from contender import versions_of
from weighted import network_with_statistics, request


class Eager:
    """An item is a call on a batch (n, 3, side, side)."""

    def __init__(self, network: str, batch: int, side: int) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.network = network_with_statistics(network).eval()
        self.given = torch.from_numpy(request(batch, side))
        self.out = np.zeros(0)

    def run(self, items: int) -> None:
        with torch.inference_mode():
            for _ in range(items):
                self.out = self.network(self.given).numpy()

    def digest(self) -> dict[str, Any]:
        return {"logits": [round(float(v), 7) for v in self.out.ravel()]}

    def facts(self) -> dict[str, Any]:
        return {"versions": versions_of("torch", "timm")}


def make(*, network: str, batch: int, side: int) -> Eager:
    return Eager(network, batch, side)
