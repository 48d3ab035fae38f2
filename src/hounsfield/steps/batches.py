"""The batches of an epoch: who comes when, what is drawn for each image, and the images as tensors.

Order and augmentation are drawn for the whole epoch from its own seed, so that a batch is the same whichever
process makes it, in how many pieces, and whether the run was interrupted before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hounsfield.core.plan import Plan
from hounsfield.steps.prepare import Prepared
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.draw import Draw, draw
from hounsfield.transforms.mixup import blended, draw_mixup

if TYPE_CHECKING:
    from hounsfield.steps.balance import Balance
    from hounsfield.steps.job import Job

__all__ = ["Batches", "Epoch", "Piece", "augmented_images", "images_of"]

_AS_THEY_ARE = np.array([1, 0, -np.inf, np.inf], np.float32)


@dataclass(frozen=True)
class Piece:
    """Rows [start, stop) of a batch of `total` images: images (n, C, …) and targets (n, outputs).

    Where a mitigation weighs them, also their weights (n, 1 or outputs); `who` (n,) are the cases. Where
    attention is taught, `marks` (n, 1, …) in [0, 1] show where findings lie, nowhere if that is not known.
    """

    images: Tensor
    wanted: Tensor
    start: int
    stop: int
    total: int
    weights: Tensor | None = None
    who: NDArray[np.int64] | None = None
    marks: Tensor | None = None


@dataclass(frozen=True)
class Epoch:
    """What was drawn for an epoch: the order of the cases, the changes, and each one's partner in a
    mixture.
    """

    order: NDArray[np.int64]
    changes: Draw | None
    partner: NDArray[np.int64] | None = None
    share: NDArray[np.float32] | None = None


class Batches:
    """Makes the batches of a member; `features` (N, …) stand in for the images where a frozen part is
    cached.
    """

    def __init__(
        self, job: Job, number: int, targets: NDArray[np.float32], device: torch.device, *, threads: int = 1
    ) -> None:
        self.job, self.number, self.targets, self.device = job, number, targets, device
        self.plan, self.threads = job.plan, threads
        self.training, _ = job.parts(number)
        self.size = min(self.plan.fit.batch_size, len(self.training))
        self.steps = max(1, len(self.training) // max(1, self.size))
        flat = self.plan.input.size[0] == 1
        self.shape = self.plan.input.size[1:] if flat else self.plan.input.size
        self.format = torch.channels_last if flat else torch.channels_last_3d
        self.features: NDArray[np.float32] | None = None
        self.balance: Balance | None = None

    def epoch(self, number: int) -> Epoch:
        """The order of an epoch and all that is drawn for its images."""
        rng = np.random.default_rng(self.job.seed(self.number, 1, number))
        if self.balance is None:
            order = self.training[rng.permutation(len(self.training))]
        else:
            order = self.balance.order(rng)
        order = order[: self.steps * self.size]
        augment = self.plan.augment
        moves = augment.is_spatial or augment.is_intensity or augment.cutout
        changes = draw(augment, len(order), self.shape, rng) if moves else None
        if augment.mixup <= 0:
            return Epoch(order, changes)
        partner, share = draw_mixup(augment.mixup, self.steps, self.size, rng)
        return Epoch(order, changes, partner, share)

    def pieces(self, epoch: Epoch, step: int, share: tuple[int, int], count: int) -> Iterator[Piece]:
        """This process's `share` [start, stop) of the batch of a step, in `count` pieces."""
        start, stop = share
        bounds = start + (np.arange(count + 1) * (stop - start)) // count
        for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            places = step * self.size + np.arange(low, high)
            images, wanted = self._made(epoch, places)
            weights = None
            if self.balance is not None:
                weights = self._weights(self.balance, epoch, step, places)
            marks = self._marks(epoch, places) if self.job.teaches_attention else None
            yield Piece(images, wanted, low, high, self.size, weights, epoch.order[places], marks)

    def _marks(self, epoch: Epoch, places: NDArray[np.int64]) -> Tensor:
        """Where findings lie in the images of some places of an epoch, in a mixture those of both."""
        marks = self._moved_marks(epoch, places)
        if epoch.partner is None:
            return marks
        return torch.maximum(marks, self._moved_marks(epoch, epoch.partner[places]))

    def _moved_marks(self, epoch: Epoch, places: NDArray[np.int64]) -> Tensor:
        """Masks (n, 1, …) in [0, 1], moved as their images are."""
        prepared = self.job.prepared
        assert prepared.marks is not None and prepared.marked is not None
        found = torch.zeros(len(places), 1, *self.shape, device=self.device)
        which = prepared.marked[self.job.rows[epoch.order[places]]]
        known = np.flatnonzero(which >= 0)
        if not len(known):
            return found
        masks = prepared.marks[which[known]]
        if epoch.changes is None:
            moved = torch.from_numpy(masks.reshape(-1, 1, *self.shape)).to(self.device, torch.float32)
        else:
            levels = np.tile(_AS_THEY_ARE, (len(known), 1))
            moves = replace(epoch.changes.of(places[known]).moves_only(), fill_value=0.0)
            moved = _changed(masks, levels, moves, self.device, threads=self.threads)
        found[torch.from_numpy(known).to(self.device)] = moved
        return found

    def _made(self, epoch: Epoch, places: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images, wanted = self._images(epoch, places), self._wanted(epoch, places)
        if epoch.partner is not None and epoch.share is not None:
            other = epoch.partner[places]
            share = torch.from_numpy(epoch.share[places]).to(self.device)
            images = blended(images, self._images(epoch, other), share)
            wanted = blended(wanted, self._wanted(epoch, other), share)
        return images, wanted

    def _weights(self, balance: Balance, epoch: Epoch, step: int, places: NDArray[np.int64]) -> Tensor | None:
        """How much each image weighs; a mixture weighs as its parts do, in their shares."""
        batch = epoch.order[step * self.size : (step + 1) * self.size]
        found = balance.weights(epoch.order[places], batch)
        if found is None:
            return None
        weights = torch.from_numpy(found).to(self.device)
        if epoch.partner is None or epoch.share is None:
            return weights
        other = balance.weights(epoch.order[epoch.partner[places]], batch)
        share = torch.from_numpy(epoch.share[places]).to(self.device)
        return weights if other is None else blended(weights, torch.from_numpy(other).to(self.device), share)

    def _wanted(self, epoch: Epoch, places: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.targets[epoch.order[places]]).to(self.device)

    def _images(self, epoch: Epoch, places: NDArray[np.int64]) -> Tensor:
        who = epoch.order[places]
        if self.features is not None:
            return torch.from_numpy(self.features[who]).to(self.device)
        rows, prepared = self.job.rows[who], self.job.prepared
        if epoch.changes is None:
            return images_of(prepared, rows, self.device)
        changes = epoch.changes.of(places)
        return augmented_images(prepared, rows, changes, self.plan, self.device, threads=self.threads)


def images_of(prepared: Prepared, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """Normalised images on the device, channels last."""
    return _laid(torch.from_numpy(prepared.batch(rows)).to(device))


def augmented_images(
    prepared: Prepared,
    rows: NDArray[np.int64],
    changes: Draw,
    plan: Plan,
    device: torch.device,
    *,
    threads: int = 1,
) -> Tensor:
    """Images changed as drawn, channels last: compiled code on a CPU, batched torch on a GPU."""
    standardise = plan.input.normalise == "zscore"
    stored, levels = prepared.images[rows], prepared.levels[rows]
    return _laid(_changed(stored, levels, changes, device, standardise=standardise, threads=threads))


def _changed(
    stored: NDArray[Any],
    levels: NDArray[np.float32],
    changes: Draw,
    device: torch.device,
    *,
    standardise: bool = False,
    threads: int = 1,
) -> Tensor:
    if device.type == "cpu":
        made = augmented(stored, levels, changes, standardise=standardise, threads=threads)
        return torch.from_numpy(made)
    from hounsfield.transforms.on_device import augmented_on_device

    raw = torch.from_numpy(np.ascontiguousarray(stored)).to(device, non_blocking=True)
    scales = torch.from_numpy(levels).to(device)
    return augmented_on_device(raw, scales, changes, standardise=standardise)


def _laid(images: Tensor) -> Tensor:
    return images.contiguous(
        memory_format=torch.channels_last if images.ndim == 4 else torch.channels_last_3d
    )
