"""One site's part of a round: some epochs on its own cases, from the common weights, by the very steps of
`hu train`.

Every round and site draws from seeds of its own and begins with a fresh optimiser, so that a round that is
repeated ends at the same weights.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import HounsfieldError
from hounsfield.core.plan import Plan
from hounsfield.federation.layout import Layout, Vector
from hounsfield.steps.batches import Batches
from hounsfield.steps.compute import computing, pick_device
from hounsfield.steps.engine import logits_of
from hounsfield.steps.job import Job
from hounsfield.steps.learner import Learner, network_of_plan
from hounsfield.steps.prepare import Prepared
from hounsfield.steps.schedule import rate_at
from hounsfield.tasks.classification import loss_of, targets_of

__all__ = ["LocalTraining", "Trained", "Walked", "first_weights", "layout_of", "number_of"]

_MOST_JUDGED = 256
"""So many training cases tell what the common weights lose here."""

_TUNING = 0.1
"""Fine-tuning takes a tenth of the plan's learning rate: it starts from weights that are good already."""


@dataclass(frozen=True)
class Walked:
    """The losses of a round's steps, as far as they may be told, and the learning rate of each step."""

    losses: tuple[float, ...]
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Trained:
    """What a round left at a site: weights (P,), cases learned from, numbers for the coordinator, and
    SCAFFOLD's control (P,) where it was asked for.
    """

    weights: Vector
    n: int
    metrics: dict[str, float]
    control: Vector | None = None


def number_of(name: str) -> int:
    """A site's number for its seeds, from its name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def first_weights(plan: Plan, encoding: LabelEncoding) -> Vector:
    """The weights (P,) that a federation starts from: of the plan and its seed alone."""
    network = network_of_plan(plan, encoding.outputs, seed=plan.seed)
    return layout_of(plan, network).take(network)


def layout_of(plan: Plan, network: torch.nn.Module) -> Layout:
    """What sites of this plan share of a network."""
    return Layout.of(network, norms="without" if plan.federation.strategy == "fedbn" else "with")


class LocalTraining:
    """A site's network, cases and batches, kept from round to round.

    `rows` (N,) are the training cases' rows in `prepared`, `answers` (N,) their classes. `patients` (N,) are
    numbers that say which cases belong together.
    """

    def __init__(
        self,
        plan: Plan,
        encoding: LabelEncoding,
        prepared: Prepared,
        rows: NDArray[np.int64],
        answers: NDArray[np.int64],
        *,
        name: str,
        patients: NDArray[np.int64] | None = None,
        threads: int = 1,
    ) -> None:
        everyone = np.full(len(rows), -1, np.int64)  # of no fold: all are learned from
        self.plan, self.number, self.threads = plan, number_of(name), threads
        self.job = Job(
            Path(), plan, encoding, prepared, rows, answers, everyone, threads=threads, patients=patients
        )
        self.targets = targets_of(answers, encoding)
        self.loss = loss_of(plan.fit, encoding, self.targets)
        device = pick_device(plan.device)
        self.batches = Batches(self.job, self.number, self.targets, device, threads=threads)
        self.learner = Learner(self.job, self.number, self.loss, device)
        self.layout = layout_of(plan, self.learner.network)
        self.walk: Callable[[Vector, int, int, float], Walked] = self._walk
        self.control: tuple[Vector, Vector] | None = None
        self._stage: int | str | None = "none entered"

    def round(
        self,
        weights: Vector,
        number: int,
        *,
        epochs: int = 0,
        control: tuple[Vector, Vector] | None = None,
        fresh: bool = True,
        rate: float = 0.0,
    ) -> Trained:
        """Train the plan's local epochs (or `epochs`) of round `number`, counted from 1, from `weights`.

        The learning rate follows the plan's schedule over all rounds; a `rate` above 0 stands in its place.

        `control` are SCAFFOLD's common and own corrections. Without `fresh` the optimiser goes on as it was,
        as it does where nobody is waited for. Raises HounsfieldError where no step gave finite numbers.
        """
        with computing(self.threads):
            self.layout.give(self.learner.network, weights)
            self._enter(number)
            if fresh:
                self.learner.optimiser.state.clear()
            told = {} if self.plan.federation.private else self._told()
            self.control = control
            self._corrections(weights, control)
            epochs = epochs or self.plan.federation.local_epochs
            walked = self.walk(weights, number, epochs, rate)
            self.learner.corrected = None
            after = self.layout.take(self.learner.network)
        if not self.plan.federation.private:
            told["loss"] = self._mean_loss(walked.losses, number)
        moved = self._control(weights, after, control, sum(walked.rates))
        return Trained(after, len(self.job.rows), {**told, "steps": float(len(walked.rates))}, moved)

    def fine_tuned(self, weights: Vector, *, epochs: int) -> Vector:
        """The common weights (P,) after some epochs more on this site's cases alone, at a tenth of the rate.

        They stay at the site: no noise of a budget is laid on them.
        """
        walk, self.walk = self.walk, self._walk
        try:
            rate = _TUNING * self.plan.fit.learning_rate
            return self.round(weights, self.plan.federation.rounds + 1, epochs=epochs, rate=rate).weights
        finally:
            self.walk = walk

    def logits(self, weights: Vector, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits (n, outputs) of prepared images by these weights."""
        with computing(self.threads):
            self.layout.give(self.learner.network, weights)
            plan = self.plan.changed({"validation.test_time": "none"})
            found = logits_of(self.learner.network.eval(), self.job.prepared, rows, plan)
        return np.asarray(found, np.float32)

    def kept(self) -> dict[str, NDArray[np.float32]]:
        """What is the site's own of the network, by name: what the layout does not share (FedBN's layers)."""
        state = self.learner.network.state_dict()
        own = [k for k, v in state.items() if k not in self.layout.names and v.is_floating_point()]
        return {name: np.array(state[name].cpu().numpy(), np.float32) for name in own}

    @torch.no_grad()
    def give_kept(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Take up what `kept` laid down; without it the layers begin as the plan's seed draws them."""
        state = self.learner.network.state_dict()
        if not arrays and self.plan.federation.strategy == "fedbn":
            fresh = network_of_plan(self.plan, self.job.encoding.outputs, seed=self.plan.seed).state_dict()
            arrays = {k: fresh[k].numpy() for k in fresh if k not in self.layout.names}
        for name, array in arrays.items():
            if name in state:
                state[name].copy_(torch.from_numpy(np.array(array)))

    def _walk(self, _: Vector, number: int, epochs: int, fixed: float) -> Walked:
        """The steps of a round as `hu train` makes them."""
        losses, rates = [], []
        federation, steps = self.plan.federation, self.batches.steps
        whole = federation.rounds * federation.local_epochs * steps
        for epoch in range(epochs):
            place = (number - 1) * federation.local_epochs + epoch
            drawn = self.batches.epoch(place)
            for step in range(steps):
                done = min(place * steps + step, whole)
                rate = fixed or rate_at(self.plan.fit, done, whole)
                seed = int(self.job.seed(self.number, 2, place, step).generate_state(1)[0])
                pieces = self.batches.pieces(drawn, step, (0, self.batches.size), 1)
                losses.append(self.learner.step(pieces, count=1, rate=rate, number=done, seed=seed))
                rates.append(rate)
        return Walked(tuple(losses), tuple(rates))

    def _mean_loss(self, losses: Sequence[float], number: int) -> float:
        """The mean loss of the last epoch; HounsfieldError where no step of the round gave finite numbers."""
        finite = [x for x in losses if math.isfinite(x)]
        if not finite:
            raise HounsfieldError(
                f"no step of round {number} gave finite numbers here; expected images without extreme "
                "values; look for them with hu audit, or lower fit.learning_rate"
            )
        return float(np.mean(finite[-self.batches.steps :]))

    def _enter(self, number: int) -> None:
        """Freeze and thaw as the plan says for the first epoch of a round."""
        epoch = (number - 1) * self.plan.federation.local_epochs
        stages = [layers for start, layers in self.plan.fit.unfreeze if start <= epoch]
        stage = stages[-1] if stages else None
        if stage != self._stage:
            self._stage = stage
            self.learner.enter_stage(stage, cache=False, compile_it=False)

    def _told(self) -> dict[str, float]:
        """What the common weights lose here before they learn, and what the prevalences alone would."""
        pick = np.unique(np.linspace(0, len(self.job.rows) - 1, _MOST_JUDGED).astype(np.int64))
        plan = self.plan.changed({"validation.test_time": "none"})
        logits = logits_of(self.learner.network.eval(), self.job.prepared, self.job.rows[pick], plan)
        wanted = torch.from_numpy(self.targets[pick])
        share = np.clip(self.targets.mean(0, keepdims=True), 1e-3, 1 - 1e-3)
        several = self.job.encoding.kind == "multiclass"
        known = np.log(share) if several else np.log(share / (1 - share))
        with torch.no_grad():
            before = float(self.loss(torch.from_numpy(np.asarray(logits, np.float32)), wanted))
            constant = torch.from_numpy(np.repeat(known, len(pick), 0).astype(np.float32))
            chance = float(self.loss(constant, wanted))
        return {"loss-before": before, "loss-of-prevalence": chance}

    def _corrections(self, weights: Vector, control: tuple[Vector, Vector] | None) -> None:
        """Set the learner's corrections of gradients: FedProx's pull, SCAFFOLD's drift."""
        federation, network = self.plan.federation, self.learner.network
        mu = federation.mu if federation.strategy == "fedprox" else 0.0
        if not mu and control is None:
            return
        origin = self._tensors(weights)
        drift = None if control is None else self._tensors(control[0] - control[1])

        @torch.no_grad()
        def correct() -> None:
            for name, parameter in network.named_parameters():
                if parameter.grad is None or name not in origin:
                    continue
                if mu:
                    parameter.grad.add_(parameter - origin[name], alpha=mu)
                if drift is not None:
                    parameter.grad.add_(drift[name])

        self.learner.corrected = correct

    def _tensors(self, vector: Vector) -> dict[str, torch.Tensor]:
        device = self.learner.device
        parts = self.layout.parts(vector).items()
        return {name: torch.from_numpy(np.array(part, np.float32)).to(device) for name, part in parts}

    def _control(
        self, before: Vector, after: Vector, control: tuple[Vector, Vector] | None, moved: float
    ) -> Vector | None:
        """SCAFFOLD's own correction after a round (its option II): what the steps were on average."""
        if control is None:
            return None
        common, own = control
        found = own - common + (before - after) / np.float32(max(moved, 1e-12))
        return np.where(self.layout.is_learned(), found, 0.0).astype(np.float32)
