"""Ours: inference by `OnnxEngine` of the 8-bit form that `in_int8` makes, calibrated on a dozen images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from contender import versions_of
from pictures import pictures
from weighted import network_with_statistics, request

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Model, OperatingPoint
from hounsfield.core.plan import Input, Network, Plan
from hounsfield.networks.onnx_form import to_onnx
from hounsfield.steps.engine import OnnxEngine
from hounsfield.steps.int8 import Development, in_int8
from hounsfield.steps.prepare import Prepared

CALIBRATED_ON = 12


class EngineInt8:
    """An item is a call on a batch (n, 3, side, side)."""

    def __init__(self, network: str, batch: int, side: int) -> None:
        self.given = request(batch, side)
        plain = to_onnx(network_with_statistics(network), self.given.shape[1:], facts={})
        plan = Plan(input=Input(size=(1, side, side), channels=3), network=Network(name=network))
        encoding = LabelEncoding("binary", ("0", "1"))
        point = OperatingPoint((0.5,), "half", "nothing")
        model = Model(Path(), plan, encoding, ("member",), point)
        self.engine = OnnxEngine(in_int8(plain, model, _development(side), 0, threads=1, facts={}), threads=1)
        self.out = np.zeros(0)

    def run(self, items: int) -> None:
        for _ in range(items):
            self.out = self.engine.logits(self.given)

    def digest(self) -> dict[str, Any]:
        return {"shape": list(self.out.shape), "dtype": str(self.out.dtype)}

    def facts(self) -> dict[str, Any]:
        return {"versions": versions_of("onnxruntime", "onnx")}


def _development(side: int) -> Development:
    """Images from which the ranges are taken; fold 0 is held back and holds none."""
    grey = pictures(CALIBRATED_ON, (side, side))
    images = np.repeat(np.rint(grey * 255).astype(np.uint8)[:, None, None], 3, 1)
    scale = 1 / (255 * grey.std())
    levels = np.tile(
        np.array([scale, -grey.mean() / grey.std(), -np.inf, np.inf], np.float32), (CALIBRATED_ON, 1)
    )
    ids = tuple(f"c{k}" for k in range(CALIBRATED_ON))
    rows = np.arange(CALIBRATED_ON)
    return Development(Prepared(ids, images, levels), rows, np.zeros_like(rows), np.ones_like(rows), ids)


def make(*, network: str, batch: int, side: int) -> EngineInt8:
    return EngineInt8(network, batch, side)
