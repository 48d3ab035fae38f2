"""Ours: the training step of `hounsfield.steps`, on the batches that Keras is given.

Each step goes through `Learner.step` and `Guard` as `steps.member` calls them. Writes the weights that it
starts from, in Keras's layout, so that the other side can take the same first steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from article import CHECKED_STEPS, SETTINGS, batches
from contender import versions_of
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.plan import Plan
from hounsfield.steps.article_plans import named_plan
from hounsfield.steps.batches import Piece
from hounsfield.steps.compute import computing
from hounsfield.steps.guard import EVERY, Guard, Place
from hounsfield.steps.job import Job
from hounsfield.steps.learner import Learner
from hounsfield.steps.prepare import Prepared
from hounsfield.tasks.classification import loss_of

Array = NDArray[Any]


def _plan(net: str, precision: str) -> Plan:
    """The article's plan with weights from random numbers, in the optimiser's and precision's own words."""
    plan = named_plan(f"article-{net}")
    how = SETTINGS[net]
    assert plan.input.size == (1, how.side, how.side) and plan.input.channels == how.channels
    assert (plan.fit.optimiser, plan.fit.learning_rate) == (how.optimiser, how.rate)
    assert plan.network.trainable_layers == how.trainable
    return plan.model_copy(
        update={
            "device": "cpu",
            "network": plan.network.model_copy(update={"weights": ""}),
            "fit": plan.fit.model_copy(update={"precision": precision, "batch_size": how.batch}),
        }
    )


class OurTraining:
    """Steps over four batches in turn."""

    def __init__(self, net: str, precision: str, exchange: Path) -> None:
        self._settings = computing(1)
        self._settings.__enter__()
        self.net, self.exchange = net, exchange
        self.plan = _plan(net, precision)
        self.learner, self.guard = self._learner(), Guard()
        self.pieces = [_piece(*b) for b in batches(net)]
        self.place, self.loss = Place(), 0.0

    def _learner(self) -> Learner:
        none = np.zeros(0, np.int64)
        empty = Prepared((), np.zeros((0, 1, 1, 1, 1), np.uint8), np.zeros((0, 4), np.float32))
        encoding = LabelEncoding("binary", ("0", "1"))
        job = Job(self.exchange, self.plan, encoding, empty, none, none, none)
        targets = np.array([[0.0], [1.0]], np.float32)
        made = Learner(job, 0, loss_of(self.plan.fit, encoding, targets), torch.device("cpu"))
        made.enter_stage(None, cache=False, compile_it=False)
        return made

    def run(self, items: int) -> None:
        for _ in range(items):
            if self.place.step % EVERY == 0:
                self.guard.keep(self.learner, self.place)
            self.loss = _step(self.learner, self.pieces[self.place.step % 4], self.plan, self.place.step)
            if fault := self.guard.fault(self.loss):
                raise RuntimeError(fault)
            self.place = self.place.after(self.loss, len(self.pieces[0].images))

    def digest(self) -> dict[str, Any]:
        return {"loss": self.loss, "dtype": "bfloat16" if self.learner.mixed else "float32"}

    def facts(self) -> dict[str, Any]:
        parameters = list(self.learner.network.parameters())
        return {
            "versions": versions_of("torch"),
            "parameters": sum(p.numel() for p in parameters),
            "learning": sum(p.numel() for p in parameters if p.requires_grad),
            "losses": self._losses(),
        }

    def _losses(self) -> list[float]:
        """Of the first steps without dropout; the weights before them are written for the other side."""
        learner = self._learner()
        for module in learner.network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if not learner.mixed:
            np.savez(self.exchange / f"weights-{self.net}.npz", *_as_keras(learner.network))
        pieces = [_piece(*b) for b in batches(self.net, CHECKED_STEPS)]
        return [_step(learner, piece, self.plan, k) for k, piece in enumerate(pieces)]


def _step(learner: Learner, piece: Piece, plan: Plan, number: int) -> float:
    return learner.step([piece], count=1, rate=plan.fit.learning_rate, number=number, seed=number)


def _piece(images: Array, answers: Array) -> Piece:
    first = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return Piece(first, torch.from_numpy(answers), 0, len(images), len(images))


def _as_keras(network: torch.nn.Module) -> list[Array]:
    """Kernels and biases in Keras's order and layout: the flattened map is rows, columns, channels there."""
    found, channels = [], 0
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            channels = module.out_channels
            found.append(module.weight.detach().numpy().transpose(2, 3, 1, 0))
        elif isinstance(module, torch.nn.Linear):
            weight = module.weight.detach().numpy()
            if channels:
                side = round((weight.shape[1] / channels) ** 0.5)
                weight = weight.reshape(len(weight), channels, side, side).transpose(0, 2, 3, 1)
                weight, channels = weight.reshape(len(weight), -1), 0
            found.append(weight.T)
        else:
            continue
        assert module.bias is not None
        found.append(module.bias.detach().numpy())
    return [np.ascontiguousarray(f) for f in found]


def make(*, net: str, exchange: str, precision: str = "float32") -> OurTraining:
    return OurTraining(net, precision, Path(exchange))
