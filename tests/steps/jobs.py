"""A small job that trains in a second, for the tests of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hounsfield.core.case import LabelEncoding
from hounsfield.core.plan import Augment, Fit, Input, Network, Plan, Validation
from hounsfield.steps.job import Job
from hounsfield.steps.prepare import Prepared
from hounsfield.transforms.normalise import levels_of
from phantoms import pictures

EXACT = {"precision": "float32", "optimiser": "sgd"}
"""Keys of `fit` by which two ways to one result differ by rounding alone: AdamW makes a whole step of a
gradient that is nothing but rounding.
"""


def plan(changes: dict[str, Any] | None = None, **fit: Any) -> Plan:
    """Binary, 12 x 12, two folds; `fit` are keys of the section, `changes` dotted keys of any."""
    made = Plan(
        input=Input(size=(1, 12, 12)),
        augment=Augment(rotation_deg=10, noise=0.1, mixup=0.2),
        network=Network(width=4, depth=2, dropout=0.2),
        fit=Fit(
            **{"epochs": 4, "batch_size": 8, "loss": "binary_cross_entropy", "weight_average": 0.9, **fit}
        ),
        validation=Validation(folds=2, members=2),
        device="cpu",
    )
    return made.changed(changes) if changes else made


def job(folder: Path, made: Plan, *, n: int = 32, **more: Any) -> Job:
    """The plan on `n` pictures whose corner tells the answer."""
    answers = np.arange(n) % 2
    side = made.input.size[1]
    images = np.repeat(pictures(answers.tolist(), side=side)[:, None, None], made.input.channels, 1)
    levels = np.array([levels_of(x, made.input, bits=8) for x in images], np.float32)
    prepared = Prepared(tuple(map(str, range(n))), images, levels)
    folder.mkdir(parents=True, exist_ok=True)
    encoding = LabelEncoding("binary", ("a", "b"))
    return Job(folder, made, encoding, prepared, np.arange(n), answers, np.arange(n) // 2 % 2, **more)


def history(job: Job, number: int = 0) -> list[dict[str, Any]]:
    """What a member has written of its epochs."""
    found = json.loads((job.member_folder(number) / "history.json").read_text())
    assert isinstance(found, list)
    return found


def weights(job: Job, number: int = 0) -> bytes:
    """The member's weight file, byte for byte."""
    return (job.member_folder(number) / "weights.safetensors").read_bytes()
