"""Keras on TensorFlow: `train_on_batch` of the article's networks, with and without XLA.

`train_on_batch` was faster here than `fit`, whether that ran one or four steps an execution. No metric but
the loss is computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from article import CHECKED_STEPS, SETTINGS, batches
from contender import versions_of
from keras import layers


def _network(net: str, *, dropout: float) -> keras.Model:
    how = SETTINGS[net]
    shape = (how.side, how.side, how.channels)
    if net == "c":
        backbone = keras.applications.VGG16(include_top=False, weights=None, input_shape=shape)
        for layer in backbone.layers[: -how.trainable]:
            layer.trainable = False
        first, hidden = [backbone], 1024
    else:
        first = [
            layers.Input(shape),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
        ]
        hidden = 128 if net == "a" else 64
    head = [layers.Flatten(), layers.Dense(hidden, activation="relu")]
    if dropout:
        head.append(layers.Dropout(dropout))
    return keras.Sequential([*first, *head, layers.Dense(1, activation="sigmoid")])


def _compiled(net: str, *, dropout: float, jit: bool) -> keras.Model:
    how = SETTINGS[net]
    made = _network(net, dropout=dropout)
    # Keras adds Adam's epsilon before the correction of the bias: this is torch's 1e-8 at the first step.
    optimisers = {
        "adam": lambda: keras.optimizers.Adam(how.rate, epsilon=3.2e-10),
        "rmsprop": lambda: keras.optimizers.RMSprop(how.rate),
        "sgd": lambda: keras.optimizers.SGD(how.rate, momentum=0.9, nesterov=True),
    }
    made.compile(optimisers[how.optimiser](), loss="binary_crossentropy", jit_compile=jit)
    return made


class KerasTraining:
    """Steps over four batches in turn."""

    def __init__(self, net: str, jit: bool, exchange: Path) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        keras.utils.set_random_seed(0)
        self.net, self.jit, self.exchange = net, jit, exchange
        self.model = _compiled(net, dropout=0.0 if net == "a" else 0.5, jit=jit)
        self.batches = batches(net)
        self.loss = 0.0

    def run(self, items: int) -> None:
        step, given = self.model.train_on_batch, self.batches
        for k in range(items):
            self.loss = float(step(*given[k % len(given)]))

    def digest(self) -> dict[str, Any]:
        return {"loss": self.loss, "dtype": self.model.compute_dtype}

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = {"versions": versions_of("keras", "tensorflow_cpu")}
        found["parameters"] = self.model.count_params()
        learning = (w.shape for w in self.model.trainable_variables)
        found["learning"] = int(sum(np.prod(shape) for shape in learning))
        if not self.jit:
            found["losses"] = self._losses()
        return found

    def _losses(self) -> list[float]:
        """Of the first steps from the weights that the other side wrote, without dropout."""
        made = _compiled(self.net, dropout=0.0, jit=False)
        with np.load(self.exchange / f"weights-{self.net}.npz") as given:
            for variable, name in zip(made.weights, given.files, strict=True):
                variable.assign(given[name])
        return [float(made.train_on_batch(*b)) for b in batches(self.net, CHECKED_STEPS)]


def make(*, net: str, jit: bool, exchange: str) -> KerasTraining:
    return KerasTraining(net, jit, Path(exchange))
