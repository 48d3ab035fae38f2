"""Ours: inference by `OnnxEngine` of the file that `to_onnx` makes of the network."""

from __future__ import annotations

from typing import Any

import numpy as np
from contender import versions_of
from weighted import network_with_statistics, request

from hounsfield.networks.onnx_form import to_onnx
from hounsfield.steps.engine import OnnxEngine


class Engine:
    """An item is a call on a batch (n, 3, side, side)."""

    def __init__(self, network: str, batch: int, side: int) -> None:
        self.given = request(batch, side)
        content = to_onnx(network_with_statistics(network), self.given.shape[1:], facts={})
        self.engine = OnnxEngine(content, threads=1)
        self.out = np.zeros(0)

    def run(self, items: int) -> None:
        for _ in range(items):
            self.out = self.engine.logits(self.given)

    def digest(self) -> dict[str, Any]:
        return {"logits": [round(float(v), 7) for v in self.out.ravel()]}

    def facts(self) -> dict[str, Any]:
        return {"versions": versions_of("onnxruntime", "onnx")}


def make(*, network: str, batch: int, side: int) -> Engine:
    return Engine(network, batch, side)
