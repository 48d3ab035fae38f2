"""Small sites of made-up pictures for the tests: a corner tells the answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from hounsfield.core.case import LabelEncoding
from hounsfield.core.plan import Augment, Federation, Fit, Input, Network, Plan, Validation
from hounsfield.federation.local_training import LocalTraining
from hounsfield.steps.prepare import Prepared
from hounsfield.transforms.normalise import levels_of
from phantoms import pictures

ENCODING = LabelEncoding("binary", ("a", "b"))


def plan(changes: dict[str, Any] | None = None, **federation: Any) -> Plan:
    """Binary, 12 x 12, group normalisation, two local epochs of four rounds."""
    made = Plan(
        input=Input(size=(1, 12, 12)),
        augment=Augment(rotation_deg=10, noise=0.1),
        network=Network(name="plain", norm="group", width=4, depth=2),
        fit=Fit(
            optimiser="adamw", learning_rate=0.01, epochs=8, batch_size=8, loss="binary_cross_entropy",
            class_weights=False, schedule="cosine", choose="last", precision="float32",
        ),
        validation=Validation(folds=2, members=1),
        federation=Federation(
            **{"strategy": "fedavg", "rounds": 4, "local_epochs": 2, "smallest_n": 5, **federation}
        ),
        device="cpu",
        threads=1,
    )  # fmt: skip
    return made.changed(changes) if changes else made


def prepared(made: Plan, answers: list[int], *, seed: int = 0) -> Prepared:
    """Pictures of these answers as the plan wants them."""
    side = made.input.size[1]
    images = pictures(answers, side=side, seed=seed)[:, None, None]
    levels = np.array([levels_of(x, made.input, bits=8) for x in images], np.float32)
    return Prepared(tuple(map(str, range(len(answers)))), images, levels)


def training(
    made: Plan, *, n: int = 24, name: str = "Kiel", seed: int = 0, flip: bool = False
) -> LocalTraining:
    """A site with `n` pictures; `flip` exchanges its labels."""
    answers = np.arange(n) % 2
    images = prepared(made, answers.tolist(), seed=seed)
    told = 1 - answers if flip else answers
    return LocalTraining(made, ENCODING, images, np.arange(n), told, name=name)
