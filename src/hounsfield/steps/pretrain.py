"""Learn from images without labels first: VICReg (Bardes, Ponce & LeCun 2022), kept only if it helps.

Two views of each image, drawn by the plan's own augmentation made stronger, are to be told alike
(invariance), while every feature keeps a spread (variance) and says something of its own (covariance).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hounsfield.core.evidence import Finding
from hounsfield.core.plan import Augment, Plan
from hounsfield.metrics.patients import draw as resample
from hounsfield.networks.weights import save_weights
from hounsfield.steps.batches import augmented_images
from hounsfield.steps.compute import computing, mixed_precision, pick_device
from hounsfield.steps.fit import Progress
from hounsfield.steps.job import Job
from hounsfield.steps.learner import network_of
from hounsfield.steps.prepare import Prepared
from hounsfield.steps.stop import listening
from hounsfield.steps.trial import moved_to_member, quiet, removed, tried
from hounsfield.transforms.draw import draw

__all__ = ["Pretrained", "kept_if_better", "pretrain", "vicreg"]

_STRONGER = {"zoom": 0.3, "shift_width": 0.15, "shift_height": 0.15, "gamma": 0.5, "noise": 0.1, "blur": 1.0}
_INVARIANCE, _VARIANCE, _COVARIANCE = 25.0, 25.0, 1.0


@dataclass(frozen=True)
class Pretrained:
    """The weights to start from (None: random ones did better), and the finding that says why."""

    start: Path | None
    finding: Finding


def pretrain(job: Job, images: Prepared, *, progress: Progress | None = None) -> Path:
    """A safetensors file with the weights learned from images without labels; made once for a run.

    Raises Interrupted where the process was asked to end: pretraining then begins anew.
    """
    path = job.folder / "pretrained.safetensors"
    if path.is_file():
        return path
    job.folder.mkdir(parents=True, exist_ok=True)
    say = progress or (lambda _: None)
    plan, device = job.plan, pick_device(job.plan.device)
    network = network_of(job, 0).to(device)
    head = _Projection(_width(network, plan, device), plan.pretrain.projection).to(device)
    parameters = [*(p for p in network.parameters() if p.requires_grad), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=plan.pretrain.learning_rate, weight_decay=1e-4)
    size = min(plan.pretrain.batch_size, len(images.ids))
    steps = len(images.ids) // size
    with computing(job.threads * job.beside), listening() as stop:
        network.train()
        for epoch in range(plan.pretrain.epochs):
            total = 0.0
            rng = np.random.default_rng([plan.seed, 0x55, epoch])
            torch.manual_seed(int(rng.integers(2**31)))
            order = rng.permutation(len(images.ids))
            for step in range(steps):
                rows = order[step * size : (step + 1) * size]
                rate = _rate(plan, epoch * steps + step, plan.pretrain.epochs * steps)
                loss = _step(job, network, head, optimiser, images, rows, rng, rate)
                total += loss
                stop.refuse_to_go_on("pretraining begins anew")
            say(
                {
                    "member": 0,
                    "epoch": epoch,
                    "of": plan.pretrain.epochs,
                    "pretrain_loss": total / max(1, steps),
                }
            )
    save_weights(network, path)
    return path


def kept_if_better(
    job: Job, start: Path, patients: Sequence[str], *, n: int, progress: Progress | None = None
) -> Pretrained:
    """Train member 0 from random weights and from `start`, and keep what validates better on fold 0.

    `patients` are those of the development cases, in their order; `n` is the number of images that were
    learned from without labels. Judged by the log loss; the interval of the difference is a bootstrap over
    patients.
    """
    say = progress or (lambda _: None)
    plain = tried(job, job.plan, "trial-random", quiet(say, "from random weights"))
    primed = tried(job, job.plan, "trial-pretrained", quiet(say, "pretrained"), start=start)
    gain = plain.losses - primed.losses
    owners = [patients[int(r)] for r in plain.rows]
    draws = resample(owners, cases=len(gain), resamples=2000, seed=job.plan.seed)
    sums = draws.totals(np.stack([gain, np.ones(len(gain))], 1))
    low, high = (float(v) for v in np.percentile(sums[:, 0] / np.maximum(sums[:, 1], 1), (2.5, 97.5)))
    helps = float(gain.mean()) > 0
    moved_to_member(primed if helps else plain, job)
    for name in ("trial-random", "trial-pretrained"):
        removed(job, name)
    note = (
        f"pretraining on {n} images without labels {'is kept' if helps else 'is left out'}: log loss on fold "
        f"0 {plain.loss:.3f} from random weights, {primed.loss:.3f} pretrained"
    )
    finding = Finding(
        "pretraining_gain", value=float(gain.mean()), low=low, high=high, n=len(gain),
        n_patients=len(set(owners)), method="bootstrap over patients, log loss of one member", note=note,
    )  # fmt: skip
    return Pretrained(start if helps else None, finding)


def vicreg(first: Tensor, second: Tensor) -> Tensor:
    """The loss of two sets of projections (N, D) of the same images (Bardes 2022, equation 6).

    >>> x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    >>> bool(vicreg(x, x) < vicreg(x, -x))
    True
    """
    n, d = first.shape
    alike = functional.mse_loss(first, second)
    spread, own = first.new_zeros(()), first.new_zeros(())
    for z in (first, second):
        centred = z - z.mean(0)
        spread = spread + functional.relu(1 - (centred.var(0) + 1e-4).sqrt()).mean() / 2
        covariance = centred.T @ centred / max(1, n - 1)
        own = own + (covariance.square().sum() - covariance.diagonal().square().sum()) / d
    return _INVARIANCE * alike + _VARIANCE * spread + _COVARIANCE * own


class _Projection(nn.Module):
    """Two layers behind the pooled features; thrown away after pretraining."""

    def __init__(self, wide: int, projection: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(wide, projection),
            nn.BatchNorm1d(projection),
            nn.ReLU(),
            nn.Linear(projection, projection),
        )

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features)
        return out


def _step(
    job: Job, network: nn.Module, head: nn.Module, optimiser: torch.optim.Optimizer, images: Prepared,
    rows: np.ndarray[Any, np.dtype[np.int64]], rng: np.random.Generator, rate: float,
) -> float:  # fmt: skip
    device = next(network.parameters()).device
    views = _views(job.plan)
    flat = job.plan.input.size[0] == 1
    shape = job.plan.input.size[1:] if flat else job.plan.input.size
    for group in optimiser.param_groups:
        group["lr"] = rate
    both = []
    for _ in range(2):
        changes = draw(views, len(rows), shape, rng)
        seen = augmented_images(images, rows, changes, job.plan, device, threads=job.threads)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision(job.plan, device)):
            both.append(head(_pooled(network, seen)).float())
    loss = vicreg(*both)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


def _views(plan: Plan) -> Augment:
    """The plan's augmentation, at least as strong as two views need to differ."""
    stronger = {k: max(v, float(getattr(plan.augment, k))) for k, v in _STRONGER.items()}
    return plan.augment.model_copy(update={**stronger, "mixup": 0.0, "cutout": max(plan.augment.cutout, 0.3)})


def _pooled(network: nn.Module, images: Tensor) -> Tensor:
    """Features (N, F) before the head: maps are averaged over places, tokens over tokens."""
    features: Callable[[Tensor], Tensor] = network.features  # type: ignore[assignment]
    maps = features(images)
    return maps.mean(1) if maps.ndim == 3 else maps.flatten(2).mean(2)


def _width(network: nn.Module, plan: Plan, device: torch.device) -> int:
    size = plan.input.size
    shape = (2, plan.input.channels, *(size[1:] if size[0] == 1 else size))
    with torch.no_grad():
        return int(_pooled(network.eval(), torch.zeros(shape, device=device)).shape[1])


def _rate(plan: Plan, step: int, steps: int) -> float:
    """A tenth of the steps to warm up, then a cosine to zero."""
    done = step / max(1, steps)
    if done < 0.1:
        return plan.pretrain.learning_rate * (done / 0.1 + 1e-3)
    return plan.pretrain.learning_rate * (0.5 + 0.5 * float(np.cos(np.pi * (done - 0.1) / 0.9)))
