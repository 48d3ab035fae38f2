"""Train one member of the ensemble, from any step on: every step has its own seed and every epoch its own
draws.

Killed at any moment it goes on from its last checkpoint and ends at the same weights. It runs in the process
of `fit`, or as `python -m hounsfield.steps.member FOLDER NUMBER` beside its siblings.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hounsfield.core.errors import HounsfieldError
from hounsfield.io.files import write_text
from hounsfield.networks.weights import save_weights
from hounsfield.steps.checkpoint import read_checkpoint, write_checkpoint
from hounsfield.steps.compute import computing, pick_device, short_of_memory
from hounsfield.steps.frozen import cached_features, caches
from hounsfield.steps.group import ALONE, Group
from hounsfield.steps.guard import EVERY, Guard, Place
from hounsfield.steps.job import Job, read_job
from hounsfield.steps.learner import Learner, compiles
from hounsfield.steps.member_task import MemberBatches, task_of_member
from hounsfield.steps.pieces import halved, pieces_of
from hounsfield.steps.schedule import rate_at
from hounsfield.steps.stop import Stop, listening

__all__ = ["train_member"]

Report = Callable[[dict[str, Any]], None]

_SAVE_SECONDS = 60.0
_SAVE_SHARE = 10.0
"""Saving may take a tenth of the time; an epoch longer than a minute is saved on the way as well."""


def train_member(job: Job, number: int, report: Report, group: Group = ALONE) -> None:
    """Train member `number`: leave its fold out, learn from the others, keep its logits on that fold.

    Writes weights.safetensors, validation.npz (rows, logits) and history.json into the member's folder; does
    nothing if they are there already. In a `group` every process trains and rank 0 writes. Raises Interrupted
    where the process was asked to end, and HounsfieldError where training diverges again and again.
    """
    folder = job.member_folder(number)
    if (folder / "history.json").is_file():
        report({"member": number, "epoch": job.plan.fit.epochs - 1, "of": job.plan.fit.epochs})
        return
    folder.mkdir(parents=True, exist_ok=True)
    with computing(job.threads), listening() as stop:
        _Training(job, number, report, group, stop).run()


class _Training:
    """Where one member's training stands, and how it goes on."""

    def __init__(self, job: Job, number: int, report: Report, group: Group, stop: Stop) -> None:
        self.job, self.number, self.plan = job, number, job.plan
        self.report, self.group, self.stop = report, group, stop
        device = pick_device(job.plan.device)
        self.task = task_of_member(job, number, device, group)
        self.batches: MemberBatches = self.task.batches
        self.learner = Learner(job, number, self.task.loss, device, group)
        self.task.begin(self.learner)
        self.guard = Guard()
        self.history: list[dict[str, Any]] = []
        self.events: list[str] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.stage: int | str | None = "none entered"
        self.saved, self.save_cost = time.monotonic(), 0.0
        self.pieces, said = pieces_of(job, self.learner, self.batches.size)
        self._happened(said)

    def run(self) -> None:
        """From where the last checkpoint stands to the end."""
        place = self._resumed()
        while place.epoch < self.plan.fit.epochs and not (place.step == 0 and self._out_of_patience()):
            self._enter(place.epoch)
            began = time.perf_counter()
            place, rate = self._epoch(place)
            self._close(place, rate, time.perf_counter() - began)
            place = Place(place.epoch + 1)
            if place.epoch < self.plan.fit.epochs and self._time_to_save(0.0):
                self._save(place)
        self._finish()

    def _epoch(self, place: Place) -> tuple[Place, float]:
        """The steps of an epoch from `place` on; the place behind its last step, and the last rate."""
        drawn = self.batches.epoch(place.epoch)
        fresh = True
        rate = self._rate(Place(place.epoch, max(0, place.step - 1)))
        while place.step < self.batches.steps:
            if fresh or place.step % EVERY == 0:
                self.guard.keep(self.learner, place)
                fresh = False
            rate = self._rate(place)
            value = self._step(drawn, place, rate)
            if fault := self.guard.fault(value):
                where = f"epoch {place.epoch + 1}, step {place.step + 1}"
                place = self.guard.recover(self.learner, f"{fault} at {where}", rate)
                self._happened(
                    f"{fault} at {where}: back to step {place.step + 1}, learning rate halved "
                    f"to {rate / 2:.3g}"
                )
                continue
            place = place.after(value, self.batches.size)
            self._end_if_asked(place)
            if place.step < self.batches.steps and self._time_to_save(_SAVE_SECONDS):
                self._save(place)
        return place, rate

    def _step(self, drawn: Any, place: Place, rate: float) -> float:
        """One step; where memory does not suffice, again in twice as many pieces."""
        seed = int(self.job.seed(self.number, 2, place.epoch, place.step).generate_state(1)[0])
        share = self.group.share(self.batches.size)
        while True:
            try:
                return self.learner.step(
                    self.batches.pieces(drawn, place.step, share, self.pieces),
                    count=self.pieces, rate=rate, number=self._count(place), seed=seed,
                )  # fmt: skip
            except (RuntimeError, MemoryError) as error:
                if not short_of_memory(error):
                    raise
                self.pieces, said = halved(self.pieces, share[1] - share[0], self.plan)
                self._happened(said)
                if self.learner.device.type == "cuda":
                    torch.cuda.empty_cache()

    def _rate(self, place: Place) -> float:
        """The learning rate of the step at a place."""
        last = self._count(Place(self.plan.fit.epochs))
        return self.guard.scale * rate_at(self.plan.fit, self._count(place), last)

    def _count(self, place: Place) -> int:
        """Steps of the whole run before a place."""
        return place.epoch * self.batches.steps + place.step

    def _enter(self, epoch: int) -> None:
        """Freeze and thaw as the plan says for this epoch, and lay out the forward pass anew where that
        changes.
        """
        stages = [layers for start, layers in self.plan.fit.unfreeze if start <= epoch]
        stage = stages[-1] if stages else None
        if stage == self.stage:
            return
        self.stage = stage
        steps = self._count(Place(self.plan.fit.epochs))
        self.learner.enter_stage(
            stage,
            cache=caches(self.job, self.group.world),
            compile_it=compiles(self.job, self.learner.device, steps),
        )
        self.batches.features = cached_features(self.job, self.learner)
        if self.batches.features is None and self.learner.prefix is not None:  # no room on the disk
            self.learner.enter_stage(stage, cache=False, compile_it=False)

    def _close(self, place: Place, rate: float, seconds: float) -> None:
        """Validate, remember the epoch and the best weights, and report."""
        began = time.perf_counter()
        measured = self.task.measured(self.learner)
        self.task.closed(self.learner, place.epoch, lambda: self._end_if_asked(place, alone=True))
        epoch: dict[str, Any] = {
            "epoch": place.epoch,
            "train_loss": place.total / max(1, place.seen),
            **measured,
            "learning_rate": rate,
            "seconds": round(seconds + time.perf_counter() - began, 3),
        }
        if self.events:
            epoch["events"], self.events = self.events, []
        if epoch[self._judge] < min((h[self._judge] for h in self.history), default=np.inf):
            self.best = {k: v.detach().clone() for k, v in self.learner.judged().state_dict().items()}
        self.history.append(epoch)
        self.report({"member": self.number, "of": self.plan.fit.epochs, **epoch})

    @property
    def _judge(self) -> str:
        """By which number, the least of it, the best epoch is known."""
        return self.task.judge

    def _out_of_patience(self) -> bool:
        patience, losses = self.plan.fit.patience, [h[self._judge] for h in self.history]
        return patience > 0 and bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= patience

    def _happened(self, said: str) -> None:
        """Remember something that the user must know, and say it at once."""
        if said:
            self.events.append(said)
            self.report({"member": self.number, "event": said})

    def _end_if_asked(self, place: Place, *, alone: bool = False) -> None:
        """Save and end where this process, or another of its group, was asked to.

        `alone` is said where the others do not ask with it: a group then goes on to where all of them do.
        """
        if alone and self.group.world > 1:
            return
        if self.group.world > 1 and self.group.sum(np.array(float(bool(self.stop.asked))))[()] > 0:
            self.stop.asked = self.stop.asked or "a signal to another process"
        if self.stop.asked:
            self._save(place)
            self.stop.refuse_to_go_on(
                f"member {self.number} is saved at epoch {place.epoch + 1}, step {place.step} of "
                f"{self.batches.steps}"
            )

    def _time_to_save(self, least: float) -> bool:
        since = time.monotonic() - self.saved
        return not self.save_cost or (since >= least and since >= _SAVE_SHARE * self.save_cost)

    @property
    def _checkpoint(self) -> Path:
        return self.job.member_folder(self.number) / "checkpoint.safetensors"

    def _save(self, place: Place) -> None:
        began = time.monotonic()
        if self.group.leads:
            parts = {"network": self.learner.network.state_dict()}
            if self.learner.averaged is not None:
                parts["averaged"] = self.learner.averaged.state_dict()
            if self.best is not None:
                parts["best"] = self.best
            if self.learner.balance is not None:
                parts["balance"] = {"q": self.learner.balance.q}
            facts = {
                "history": self.history,
                "place": [place.epoch, place.step, place.total, place.seen],
                "guard": self.guard.facts(),
                "events": self.events,
            }
            write_checkpoint(self._checkpoint, parts=parts, optimiser=self.learner.optimiser, facts=facts)
        self.saved, self.save_cost = time.monotonic(), time.monotonic() - began

    def _resumed(self) -> Place:
        """The place of the last checkpoint, with everything as it was there; the beginning without one."""
        self._enter(0)
        if not self._checkpoint.is_file():
            return Place()
        parts, facts = read_checkpoint(self._checkpoint, optimiser=self.learner.optimiser)
        self.learner.network.load_state_dict(parts["network"])
        if self.learner.averaged is not None:
            self.learner.averaged.load_state_dict(parts["averaged"])
        self.best = parts.get("best")
        if self.learner.balance is not None:
            self.learner.balance.q.copy_(parts["balance"]["q"])
        self.history, self.events = list(facts["history"]), list(facts["events"])
        self.guard.resume(facts["guard"])
        return Place(*facts["place"])

    def _finish(self) -> None:
        """Keep the weights, and what is said of the fold that this member has not seen; the history comes
        last.
        """
        folder = self.job.member_folder(self.number)
        final = self.learner.judged()
        if self.plan.fit.choose == "best" and self.best is not None:
            final.load_state_dict(self.best)
        self.task.keep(self.learner, folder)
        if not self.group.leads:
            return
        save_weights(final, folder / "weights.safetensors")
        write_text(folder / "history.json", json.dumps(self.history))
        self._checkpoint.unlink(missing_ok=True)


def _main(folder: str, number: str) -> None:
    def leave_with_parent() -> None:
        sys.stdin.read()
        os._exit(130)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    out = os.fdopen(os.dup(1), "w")

    def say(facts: dict[str, Any]) -> None:
        out.write(json.dumps(facts) + "\n")
        out.flush()

    try:
        train_member(read_job(Path(folder)), int(number), say)
    except HounsfieldError as error:
        say({"error": str(error), "exit_code": error.exit_code})
        os._exit(error.exit_code)
    os._exit(0)


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
