"""Keras: batches of `flow_from_directory` over a folder of PNGs, decoded and shrunk again in every epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from contender import versions_of
from keras.src.legacy.preprocessing.image import DirectoryIterator, ImageDataGenerator


class KerasLoading:
    """An item is a batch: float32 (32, side, side, 1) in [0, 1], shuffled, by Keras's own interpolation."""

    def __init__(self, folder: str, side: int) -> None:
        self.folder, self.side = folder, side
        self.flow = self._flow(shuffle=True)
        self.batch = np.zeros(0)

    def _flow(self, **options: Any) -> DirectoryIterator:
        return ImageDataGenerator(rescale=1 / 255).flow_from_directory(
            self.folder,
            target_size=(self.side, self.side),
            color_mode="grayscale",
            class_mode="binary",
            batch_size=32,
            seed=0,
            **options,
        )

    def run(self, items: int) -> None:
        for _ in range(items):
            self.batch, _ = next(self.flow)

    def digest(self) -> dict[str, Any]:
        return {"shape": list(self.batch.shape), "dtype": str(self.batch.dtype)}

    def facts(self) -> dict[str, Any]:
        flow = self._flow(shuffle=False, interpolation="bilinear")  # over areas, as ours
        means = np.concatenate([next(flow)[0].mean((1, 2, 3)) for _ in range(len(flow))])
        return {"versions": versions_of("keras", "pillow"), "means": [round(float(m), 5) for m in means]}


def make(*, folder: str, side: int) -> KerasLoading:
    return KerasLoading(folder, side)
