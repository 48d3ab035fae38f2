"""Network, average and optimiser: all that a training step changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hounsfield.core.plan import Plan
from hounsfield.networks import build
from hounsfield.networks.attention import WithAttention
from hounsfield.networks.classifier import Classifier
from hounsfield.networks.dropout import not_compiled, set_rows
from hounsfield.networks.freeze import set_trainable
from hounsfield.networks.stages import Prefix, frozen_prefix
from hounsfield.networks.synced import synced
from hounsfield.networks.unet import build_unet
from hounsfield.networks.weights import load_weights
from hounsfield.steps.balance import Balance
from hounsfield.steps.batches import Piece
from hounsfield.steps.compute import mixed_precision
from hounsfield.steps.group import ALONE, Group
from hounsfield.steps.job import Job
from hounsfield.steps.schedule import optimiser_of, set_rate
from hounsfield.tasks.losses import attention_loss

__all__ = ["Learner", "compiles", "network_of", "network_of_plan", "network_shape"]

Loss = Callable[[Tensor, Tensor], Tensor]

_LONG = 5000
"""Steps from which compiling pays on a GPU: it costs about a minute."""


def network_of(job: Job, number: int) -> Classifier:
    """The network of a job with the weights that a member starts from."""
    seed = int(job.seed(number, 0xB1).generate_state(1, np.uint64)[0] >> np.uint64(1))
    network = network_of_plan(job.plan, job.encoding.outputs, seed=seed)
    if job.start is not None:
        load_weights(network, job.start)
    return network


def network_of_plan(plan: Plan, outputs: int, *, seed: int | None = None) -> Classifier:
    """The network that a plan describes; `outputs` counts where images are classified."""
    if plan.task == "classification":
        return build(
            plan.network, channels=plan.input.channels, outputs=outputs, size=plan.input.size, seed=seed
        )
    grid = plan.grid
    if plan.task == "segmentation":
        return build_unet(
            plan.network, channels=len(grid.channels), outputs=plan.segmentation.outputs, size=grid.patch,
            deep=plan.segmentation.deep_supervision, seed=seed,
        )  # fmt: skip
    from hounsfield.networks.detector import build_detector

    return build_detector(
        plan.network, channels=len(grid.channels), classes=len(plan.detection.classes), patch=grid.patch,
        stride=plan.detection.stride, seed=seed,
    )  # fmt: skip


class Learner:
    """One member's network and what moves it; `step` is one update from a whole batch in pieces.

    `corrected` may change the gradients before they are clipped, where sites learn together.
    """

    def __init__(self, job: Job, number: int, loss: Loss, device: torch.device, group: Group = ALONE) -> None:
        self.plan, self.loss, self.device, self.group = job.plan, loss, device, group
        flat = len(network_shape(job.plan)) == 2
        form = torch.channels_last if flat else torch.channels_last_3d
        self.network: Classifier = network_of(job, number).to(device).to(memory_format=form)  # type: ignore[call-overload]
        if group.world > 1:
            synced(self.network)
        self.averaged: Classifier | None = None
        if job.plan.fit.weight_average > 0:
            averaged = network_of(job, number).to(device).to(memory_format=form)  # type: ignore[call-overload]
            averaged.load_state_dict(self.network.state_dict())
            self.averaged = averaged
        self.optimiser = optimiser_of(self.network, job.plan.fit)
        self.forward: nn.Module = self.network
        self.attends = job.plan.fit.mark_weight if job.teaches_attention else 0.0
        self.prefix: Prefix | None = None
        self._judged_rest: nn.Module | None = None
        self.mixed = mixed_precision(job.plan, device)
        self.balance: Balance | None = None
        self.terms: Loss | None = None
        self.corrected: Callable[[], None] | None = None
        self._losses: list[tuple[Tensor, NDArray[np.int64]]] = []

    def judged(self) -> Classifier:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.network if self.averaged is None else self.averaged

    def enter_stage(self, layers: int | None, *, cache: bool, compile_it: bool) -> None:
        """Let only the last `layers` layers learn (None: as the network was built), and lay out the forward
        pass.

        With `cache` the frozen first part is split off, if there is one: `prefix` then gives features.
        """
        for network in filter(None, (self.network, self.averaged)):
            if layers is not None:
                set_trainable(network, layers)
        self.prefix = frozen_prefix(self.network) if cache and not self.attends else None
        judged = frozen_prefix(self.judged()) if self.prefix is not None else None
        self._judged_rest = judged.rest if judged is not None else None
        rest: nn.Module = self.network if self.prefix is None else self.prefix.rest
        if self.attends:
            rest = WithAttention(self.network)  # type: ignore[arg-type]
        if compile_it:
            not_compiled(rest)
            rest = torch.compile(rest)  # type: ignore[assignment]
        self.forward = self.group.parallel(rest, self.device)

    def step(self, pieces: Iterable[Piece], *, count: int, rate: float, number: int, seed: int) -> float:
        """Learn from one batch, given in `count` pieces; its mean loss over all processes.

        Where the loss or the gradient is not finite nothing is changed. `number` counts the steps of the run.
        """
        self.network.train()
        set_rate(self.optimiser, rate)
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        self._losses.clear()
        for n, piece in enumerate(pieces):
            last = n == count - 1
            with nullcontext() if last else self.group.unsynchronised(self.forward):
                total += self._learn(piece, seed)
        value = float(self.group.sum(np.array(float(total))))
        if not math.isfinite(value):
            return value
        if self.corrected is not None:
            self.corrected()
        if self.plan.fit.gradient_clip > 0:
            trainable = [p for p in self.network.parameters() if p.grad is not None]
            norm = nn.utils.clip_grad_norm_(trainable, self.plan.fit.gradient_clip, foreach=True)
            if not bool(torch.isfinite(norm)):
                return math.nan
        self.optimiser.step()
        if self.balance is not None and self.balance.moves:
            self._follow(self.balance)
        if self.averaged is not None:
            decay = min(self.plan.fit.weight_average, (1 + number) / (10 + number))
            _average(self.averaged, self.network, decay)
        return value

    def _learn(self, piece: Piece, seed: int) -> Tensor:
        """Gradients of one piece; its share of the batch's mean loss."""
        torch.manual_seed(seed)  # a mask of dropout is drawn for the batch, of which the piece takes its rows
        set_rows(self.network, piece.total, piece.start, piece.stop)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            logits = self.forward(piece.images)
        looked: Tensor | None = None
        if self.attends:
            logits, looked = logits
        share = (piece.stop - piece.start) / piece.total
        if piece.weights is None or self.terms is None:
            loss = self.loss(logits, piece.wanted) * share
        else:
            terms = self.terms(logits, piece.wanted)
            loss = (terms * piece.weights).mean() * share
            if piece.who is not None:
                self._losses.append((terms.detach(), piece.who))
        if looked is not None and piece.marks is not None:
            cover = functional.interpolate(piece.marks, looked.shape[1:], mode="area")
            loss = loss + self.attends * attention_loss(looked, cover[:, 0]).mean() * share
        (loss * self.group.world).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _follow(self, balance: Balance) -> None:
        """Tell the balance what the cells of the whole batch lost, over all processes."""
        cells = len(balance.count)
        table = np.zeros((2, cells))
        for terms, who in self._losses:
            table[0] += balance.sums(terms, who)
            table[1] += np.bincount(balance.cell[who], minlength=cells)
        losses, seen = self.group.sum(table)
        balance.follow(losses, seen)

    def features(self, images: Tensor) -> Tensor:
        """What the frozen first part makes of images."""
        if self.prefix is None:
            return images
        self.network.eval()
        with torch.inference_mode():
            found: Tensor = self.prefix.prefix(images).float()
        return found

    def logits_from(self, features: Tensor) -> Tensor:
        """Logits of the judged network from cached features."""
        if self._judged_rest is None:
            raise RuntimeError("no frozen part was split off")
        self.judged().eval()
        with torch.inference_mode():
            found: Tensor = self._judged_rest(features).float()
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that training changes, by name."""
        found = {f"network|{k}": v for k, v in self.network.state_dict().items()}
        if self.averaged is not None:
            found |= {f"averaged|{k}": v for k, v in self.averaged.state_dict().items()}
        if self.balance is not None:
            found["balance|q"] = self.balance.q
        for number, state in self.optimiser.state_dict()["state"].items():
            found |= {f"optimiser|{number}|{k}": v for k, v in state.items() if isinstance(v, Tensor)}
        return found

    def give_back(self, kept: dict[str, Tensor]) -> None:
        """Bring every tensor back to what it was when `tensors` was copied."""
        with torch.no_grad():
            for name, now in self.tensors().items():
                if name in kept:
                    now.copy_(kept[name])
        if not any(name.startswith("optimiser|") for name in kept):
            self.optimiser.state.clear()
        self.optimiser.zero_grad(set_to_none=True)


def network_shape(plan: Plan) -> tuple[int, ...]:
    """The voxels of one image of a batch, (J, I) or (K, J, I)."""
    size = plan.input.size if plan.task == "classification" else plan.grid.patch
    return size[1:] if size[0] == 1 else size


def compiles(job: Job, device: torch.device, steps: int) -> bool:
    """Whether torch is to compile the network: asked for, or on a GPU where the training is long."""
    wanted: Any = job.plan.fit.compile
    return bool(wanted == "on" or (wanted == "auto" and device.type == "cuda" and steps >= _LONG))


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights and statistics towards the network's."""
    mine, theirs = averaged.state_dict(), network.state_dict()
    real = [k for k, v in theirs.items() if v.is_floating_point()]
    torch._foreach_lerp_([mine[k] for k in real], [theirs[k] for k in real], 1 - decay)
    for key, value in theirs.items():
        if not value.is_floating_point():
            mine[key].copy_(value)
