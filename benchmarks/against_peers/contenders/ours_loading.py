"""Ours: batches from the prepared images of a class folder, which were decoded and shrunk once."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contender import versions_of

from hounsfield.core.plan import Input
from hounsfield.steps.batches import images_of
from hounsfield.steps.decode import decode
from hounsfield.steps.gather import Question, gather
from hounsfield.steps.prepare import prepare
from hounsfield.steps.scan import scan


class OurLoading:
    """An item is a batch: float32 (32, 1, side, side) in [0, 1], shuffled, as a training step gets it."""

    def __init__(self, folder: str, side: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        cache = Path(self._folder.name)
        began = time.process_time()
        index = scan(folder)
        cases = gather(index, Question()).cases
        store = decode(index, index.series, cache, threads=1)
        plan = Input(size=(1, side, side), normalise="unit")
        self.prepared = prepare(cases, plan, store, cache, threads=1)
        self.once = time.process_time() - began
        # As Keras orders them: by class folder, then by name.
        self.in_order = np.argsort([str(c.images[0].files[0]) for c in cases])
        self.rng = np.random.default_rng(0)
        self.order = np.zeros(0, np.int64)
        self.batch = torch.zeros(0)

    def run(self, items: int) -> None:
        cpu = torch.device("cpu")
        for _ in range(items):
            if len(self.order) < 32:
                self.order = self.rng.permutation(len(self.prepared.ids))
            self.batch = images_of(self.prepared, self.order[:32], cpu)
            self.order = self.order[32:]

    def digest(self) -> dict[str, Any]:
        shape, dtype = list(self.batch.shape), str(self.batch.dtype).removeprefix("torch.")
        return {"shape": shape, "dtype": dtype}

    def facts(self) -> dict[str, Any]:
        means = self.prepared.batch(self.in_order).mean((1, 2, 3))
        return {
            "versions": versions_of("hounsfield", "opencv-python-headless"),
            "means": [round(float(m), 5) for m in means],
            "once": self.once / len(means),
        }


def make(*, folder: str, side: int) -> OurLoading:
    return OurLoading(folder, side)
