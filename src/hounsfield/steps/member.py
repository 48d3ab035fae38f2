"""Train one member of the ensemble: every epoch starts from a saved state and its own seeds.

Killed at any moment it goes on from the last whole epoch and ends at the same weights. It runs in
the process of `fit`, or as `python -m hounsfield.steps.member FOLDER NUMBER` beside its siblings.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput, HounsfieldError
from hounsfield.core.plan import Plan
from hounsfield.io.files import whole_file, write_text
from hounsfield.metrics.discrimination import area
from hounsfield.networks import build
from hounsfield.networks.weights import save_weights
from hounsfield.steps.checkpoint import read_checkpoint, write_checkpoint
from hounsfield.steps.prepare import Prepared
from hounsfield.steps.schedule import optimiser_of, rate_at, set_rate
from hounsfield.tasks.classification import loss_of, targets_of
from hounsfield.transforms.augment import augment, mix

__all__ = ["Job", "network_logits", "read_job", "train_member", "write_job"]

VIEWS = 4
"""Augmented views of each validation image from which the calibration is fitted."""

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """All that the members need: the plan, the images, and who is in which fold."""

    folder: Path
    plan: Plan
    encoding: LabelEncoding
    prepared: Prepared
    rows: NDArray[np.int64]
    answers: NDArray[np.int64]
    fold: NDArray[np.int64]
    threads: int = 1

    def member_folder(self, number: int) -> Path:
        return self.folder / f"member-{number}"


def write_job(job: Job) -> None:
    """Put the job into its folder so that a process of its own can read it."""
    with whole_file(job.folder / "rows.npz") as temporary, temporary.open("wb") as stream:
        np.savez(stream, rows=job.rows, answers=job.answers, fold=job.fold)
    facts = {
        "plan": job.plan.model_dump(mode="json"),
        "encoding": [job.encoding.kind, job.encoding.classes, job.encoding.target],
        "threads": job.threads,
    }
    write_text(job.folder / "job.json", json.dumps(facts))


def read_job(folder: Path) -> Job:
    """The job that `write_job` wrote."""
    facts = json.loads((folder / "job.json").read_text())
    kind, classes, target = facts["encoding"]
    prepared = Prepared.open(folder.parent / "cache")
    if prepared is None:
        raise HounsfieldError("the prepared images of this run are gone; train again without --resume")
    with np.load(folder / "rows.npz", allow_pickle=False) as z:
        rows, answers, fold = z["rows"], z["answers"], z["fold"]
    encoding = LabelEncoding(kind, tuple(classes), tuple(target))
    plan = Plan.checked(facts["plan"])
    return Job(folder, plan, encoding, prepared, rows, answers, fold, facts["threads"])


def train_member(job: Job, number: int, report: Report) -> None:
    """Train member `number`: leave its fold out, learn from the others, keep its logits on that fold.

    Writes weights.safetensors, validation.npz (rows, logits) and history.json into the member's
    folder; does nothing if they are there already.
    """
    folder = job.member_folder(number)
    if (folder / "history.json").is_file():
        report({"member": number, "epoch": job.plan.fit.epochs - 1, "of": job.plan.fit.epochs})
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _computing(job.threads):
        _train(_Run(job, number), report)


@contextmanager
def _computing(threads: int) -> Iterator[None]:
    """Torch's settings while a member trains; the process is left as it was found."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads))
    torch.set_flush_denormal(True)  # vanishing numbers cost a hundredfold on a CPU
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def _train(run: _Run, report: Report) -> None:
    job = run.job
    history = run.resume()
    start, best = len(history), min((h["val_loss"] for h in history), default=np.inf)
    for epoch in range(start, job.plan.fit.epochs):
        if run.out_of_patience(history):
            break
        began = time.perf_counter()
        train_loss, rate = run.epoch(epoch)
        logits = run.validate()
        val_loss = run.loss_on(logits, run.validation)
        history.append(
            {
                "epoch": epoch,
                "train_loss": train_loss,
                "val_loss": val_loss,
                "val_auroc": run.discrimination(logits),
                "learning_rate": rate,
                "seconds": round(time.perf_counter() - began, 3),
            }
        )
        if val_loss < best:
            best = val_loss
            run.best = {k: v.detach().clone() for k, v in run.judged().state_dict().items()}
        if epoch + 1 < job.plan.fit.epochs:
            run.save(history)
        report({"member": run.number, "of": job.plan.fit.epochs, **history[-1]})
    run.finish(history)


class _Run:
    """The moving parts of one member's training."""

    def __init__(self, job: Job, number: int) -> None:
        self.job, self.number, self.plan = job, number, job.plan
        held_out = job.fold == number % job.plan.validation.folds
        self.training, self.validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        self.targets = targets_of(job.answers, job.encoding)
        self.loss = loss_of(job.plan.fit, job.encoding, self.targets[self.training])
        self.device = pick_device(job.plan.device)
        torch.manual_seed(self.seed(0xB1))
        self.network = _network(job).to(self.device)
        self.format = torch.channels_last if job.plan.input.size[0] == 1 else torch.channels_last_3d
        self.network = self.network.to(memory_format=self.format)  # type: ignore[call-overload]
        self.averaged: nn.Module | None = None
        if job.plan.fit.weight_average > 0:
            self.averaged = _network(job).to(self.device)
            self.averaged.load_state_dict(self.network.state_dict())
        self.optimiser = optimiser_of(self.network, job.plan.fit)
        self.best: dict[str, Tensor] | None = None
        batch = job.plan.fit.batch_size
        self.steps = max(1, len(self.training) // batch)

    def seed(self, salt: int) -> int:
        sequence = np.random.SeedSequence([self.plan.seed, self.number, salt])
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))

    def judged(self) -> nn.Module:
        return self.network if self.averaged is None else self.averaged

    def epoch(self, epoch: int) -> tuple[float, float]:
        fit = self.plan.fit
        torch.manual_seed(self.seed(2 * epoch + 0x100))
        generator = torch.Generator().manual_seed(self.seed(2 * epoch + 0x101))
        order = torch.randperm(len(self.training), generator=generator).numpy()
        self.network.train()
        total, seen, rate = 0.0, 0, 0.0
        size = min(fit.batch_size, len(order))
        for step in range(self.steps):
            rate = rate_at(fit, epoch * self.steps + step, fit.epochs * self.steps)
            set_rate(self.optimiser, rate)
            pick = self.training[order[step * size : (step + 1) * size]]
            total += self._step(pick, generator, epoch * self.steps + step) * len(pick)
            seen += len(pick)
        return total / max(1, seen), rate

    def _step(self, pick: NDArray[np.int64], generator: torch.Generator, step: int) -> float:
        fit = self.plan.fit
        images = torch.from_numpy(self.job.prepared.batch(self.job.rows[pick])).to(self.device)
        wanted = torch.from_numpy(self.targets[pick]).to(self.device)
        images = augment(
            images, self.plan.augment, generator, standardise=self.plan.input.normalise == "zscore"
        )
        if self.plan.augment.mixup > 0:
            images, wanted = mix(images, wanted, self.plan.augment.mixup, generator)
        images = images.contiguous(memory_format=self.format)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=mixed_precision(self.plan, self.device)
        ):
            loss = self.loss(self.network(images), wanted)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise HounsfieldError(
                f"training diverged: the loss of member {self.number} is not finite; rerun with a lower "
                f"fit.learning_rate (it is {fit.learning_rate:g})"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if fit.gradient_clip > 0:
            nn.utils.clip_grad_norm_(self.network.parameters(), fit.gradient_clip)
        self.optimiser.step()
        if self.averaged is not None:
            _average(self.averaged, self.network, min(fit.weight_average, (1 + step) / (10 + step)))
        return value

    def validate(self, test_time: str = "none") -> NDArray[np.float32]:
        rows = self.job.rows[self.validation]
        return network_logits(self.judged(), self.job.prepared, rows, device=self.device, test_time=test_time)

    def stressed(self) -> NDArray[np.float32]:
        """Logits (VIEWS, n, outputs) of the validation fold under the plan's own augmentation."""
        if not len(self.validation):
            return np.zeros((VIEWS, 0, self.targets.shape[1]), np.float32)
        network, generator = self.judged().eval(), torch.Generator().manual_seed(self.seed(0x57))
        rows, found = self.job.rows[self.validation], []
        standardise = self.plan.input.normalise == "zscore"
        with torch.inference_mode():
            for _ in range(VIEWS):
                for start in range(0, len(rows), 64):
                    images = torch.from_numpy(self.job.prepared.batch(rows[start : start + 64])).to(
                        self.device
                    )
                    images = augment(images, self.plan.augment, generator, standardise=standardise)
                    found.append(network(images).float().cpu().numpy())
        return np.concatenate(found).reshape(VIEWS, len(rows), -1)

    def loss_on(self, logits: NDArray[np.float32], rows: NDArray[np.int64]) -> float:
        with torch.no_grad():
            return float(self.loss(torch.from_numpy(logits), torch.from_numpy(self.targets[rows])))

    def discrimination(self, logits: NDArray[np.float32]) -> float | None:
        """Mean one-against-rest AUROC on the validation fold, None where a class is absent."""
        wanted = self.targets[self.validation]
        areas = [area(logits[:, c].astype(np.float64), wanted[:, c] > 0.5) for c in range(wanted.shape[1])]
        known = [a for a in areas if a is not None]
        return float(np.mean(known)) if known else None

    def out_of_patience(self, history: list[dict[str, Any]]) -> bool:
        patience = self.plan.fit.patience
        losses = [h["val_loss"] for h in history]
        return patience > 0 and bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= patience

    def save(self, history: list[dict[str, Any]]) -> None:
        parts = {"network": self.network.state_dict()}
        if self.averaged is not None:
            parts["averaged"] = self.averaged.state_dict()
        if self.best is not None:
            parts["best"] = self.best
        path = self.job.member_folder(self.number) / "checkpoint.safetensors"
        write_checkpoint(path, parts=parts, optimiser=self.optimiser, facts={"history": history})

    def resume(self) -> list[dict[str, Any]]:
        path = self.job.member_folder(self.number) / "checkpoint.safetensors"
        if not path.is_file():
            return []
        parts, facts = read_checkpoint(path, optimiser=self.optimiser)
        self.network.load_state_dict(parts["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(parts["averaged"])
        self.best = parts.get("best")
        return list(facts["history"])

    def finish(self, history: list[dict[str, Any]]) -> None:
        folder = self.job.member_folder(self.number)
        final = self.judged()
        if self.plan.fit.choose == "best" and self.best is not None:
            final.load_state_dict(self.best)
        logits = self.validate(self.plan.validation.test_time)
        stressed = self.stressed() if self.plan.validation.calibrate_on == "augmented" else logits[None]
        save_weights(final, folder / "weights.safetensors")
        with whole_file(folder / "validation.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, rows=self.validation, logits=logits, stressed=stressed)
        write_text(folder / "history.json", json.dumps(history))
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)


def network_logits(
    network: nn.Module,
    prepared: Prepared,
    rows: NDArray[np.int64],
    *,
    device: torch.device,
    test_time: str = "none",
    batch: int = 64,
) -> NDArray[np.float32]:
    """Logits (n, outputs) of images, averaged over the mirrored image where `test_time` is "flip"."""
    network.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            images = torch.from_numpy(prepared.batch(rows[start : start + batch])).to(device)
            logits = network(images).float()
            if test_time == "flip":
                logits = (logits + network(images.flip(-1)).float()) / 2
            found.append(logits.cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, 1), np.float32)


def mixed_precision(plan: Plan, device: torch.device) -> bool:
    """Whether this plan computes in bfloat16 on this device."""
    wanted = plan.fit.precision
    return wanted == "bfloat16" or (wanted == "auto" and fast_bfloat16(device))


def fast_bfloat16(device: torch.device) -> bool:
    """Whether this chip computes in bfloat16 faster than in float32 (docs/benchmarks.md)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())


def pick_device(name: str) -> torch.device:
    """The device that the plan names; "auto" is the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.split(":")[0] == "cpu" or (name.split(":")[0] == "cuda" and torch.cuda.is_available()):
        return torch.device(name)
    raise BadInput(f'the plan asks for device "{name}", which is not here; set device=auto or device=cpu')


def _network(job: Job) -> nn.Module:
    size = job.plan.input.size
    return build(job.plan.network, channels=job.plan.input.channels, outputs=job.encoding.outputs, size=size)


def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    with torch.no_grad():
        mine, theirs = averaged.state_dict(), network.state_dict()
        for key, value in theirs.items():
            if value.is_floating_point():
                mine[key].lerp_(value, 1 - decay)
            else:
                mine[key].copy_(value)


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
