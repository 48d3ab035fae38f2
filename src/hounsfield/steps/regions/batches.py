"""The patches of an epoch: which case, where, how turned and changed; cut and collated when they are due.

Everything is drawn for the whole epoch from its own seed, so that a batch is the same whichever process makes
it, in how many pieces, and whether the run was interrupted before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hounsfield.steps.batches import Piece
from hounsfield.steps.regions.to_grid import IGNORED
from hounsfield.transforms.augment import augmented
from hounsfield.transforms.draw import Draw, draw
from hounsfield.transforms.patches import cut_patch
from hounsfield.transforms.spline import spline_weights

if TYPE_CHECKING:
    from hounsfield.steps.balance import Balance
    from hounsfield.steps.job import Job
    from hounsfield.steps.regions.task import RegionTask

__all__ = ["PatchBatches", "PatchEpoch"]

Matrices = NDArray[np.float64]


@dataclass(frozen=True)
class PatchEpoch:
    """What was drawn for an epoch: the case of each patch, the voxel of its first corner, its changes."""

    number: int
    who: NDArray[np.int64]
    corner: NDArray[np.float64]
    changes: Draw


class PatchBatches:
    """Makes the batches of a member: images (n, C, …) and what the task wants of them."""

    features = None
    balance: Balance | None = None

    def __init__(
        self, job: Job, number: int, task: RegionTask, device: torch.device, *, threads: int = 1
    ) -> None:
        assert job.grid is not None
        self.job, self.number, self.device, self.threads, self.task = job, number, device, threads, task
        self.plan, self.store = job.plan, job.grid
        self.training, self.validation = job.parts(number)
        self.size = self.plan.fit.batch_size
        self.steps = self.plan.grid.steps
        self.flat = self.plan.grid.patch[0] == 1
        self.shape = self.plan.grid.patch[1:] if self.flat else self.plan.grid.patch
        self.format = torch.channels_last if self.flat else torch.channels_last_3d
        self._ahead: dict[tuple[int, int, int, int], Future[tuple[Tensor, Any]]] = {}
        self._maker = ThreadPoolExecutor(1) if device.type == "cuda" else None
        self._threads = ThreadPoolExecutor(max(1, threads))

    def epoch(self, number: int) -> PatchEpoch:
        """Cases, places and changes of the patches of an epoch."""
        rng = np.random.default_rng(self.job.seed(self.number, 1, number))
        return self._drawn(number, self.training, self.steps * self.size, rng, self.plan.augment)

    def validation_epoch(self, most: int) -> PatchEpoch:
        """The same patches of the validation cases each time: evenly over cases, unchanged."""
        rng = np.random.default_rng(self.job.seed(self.number, 3))
        still = self.plan.augment.__class__()
        return self._drawn(-1, self.validation, most, rng, still)

    def _drawn(
        self, number: int, cases: NDArray[np.int64], n: int, rng: np.random.Generator, augment: Any
    ) -> PatchEpoch:
        rounds = -(-n // len(cases))
        who = np.concatenate([cases[rng.permutation(len(cases))] for _ in range(rounds)])[:n]
        least = max(1, round(self.plan.grid.foreground * self.size)) if self.plan.grid.foreground else 0
        forced = np.arange(n) % self.size < least
        hard = self.task.hard(number) if number >= 0 else None
        share = 0.0 if hard is None else self.plan.detection.hard / max(1e-9, 1 - least / self.size)
        corner = np.empty((n, 3))
        for row in range(n):
            if hard is not None and not forced[row] and rng.random() < share:
                who[row], centre = hard.drawn(rng)
                corner[row] = self._around(int(who[row]), centre, rng)
            else:
                corner[row] = self._corner(int(who[row]), bool(forced[row]), rng)
        return PatchEpoch(number, who, corner, draw(augment, n, self.shape, rng))

    def _corner(self, who: int, forced: bool, rng: np.random.Generator) -> NDArray[np.float64]:
        """Where the first voxel of a patch lies in its case: around something marked, or anywhere inside."""
        case, patch = self.job.cases[who], np.array(self.plan.grid.patch)
        centre = self.task.centre(self.store, case, rng) if forced else None
        if centre is not None:
            return self._around(who, centre, rng)
        full = np.array(self.store.rows[case].place.shape)
        anywhere = np.floor(rng.random(3) * (np.maximum(0, full - patch) + 1))
        return np.asarray(np.where(full >= patch, anywhere, (full - patch) // 2), float)

    def _around(self, who: int, centre: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Where the first voxel of a patch lies that shows a place, a quarter of its sides off at most."""
        full, patch = (
            np.array(self.store.rows[self.job.cases[who]].place.shape),
            np.array(self.plan.grid.patch),
        )
        room = np.maximum(0, full - patch)
        jitter = (rng.random(3) - 0.5) * patch / 2
        wanted = np.clip(np.floor(centre + jitter - patch / 2), 0, room)
        return np.asarray(np.where(full >= patch, wanted, (full - patch) // 2), float)

    def pieces(self, epoch: PatchEpoch, step: int, share: tuple[int, int], count: int) -> Iterator[Piece]:
        """This process's `share` [start, stop) of the batch of a step, in `count` pieces."""
        start, stop = share
        bounds = start + (np.arange(count + 1) * (stop - start)) // count
        for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            images, wanted = self._due(epoch, step, low, high)
            yield Piece(images, wanted, low, high, self.size)

    def _due(self, epoch: PatchEpoch, step: int, low: int, high: int) -> tuple[Tensor, Any]:
        """A piece, made now on a CPU; on a GPU the next step's is begun while this one is computed."""
        if self._maker is None or epoch.number < 0:
            return self._sent(self.made(epoch, step * self.size + np.arange(low, high)))
        key = (epoch.number, step, low, high)
        waiting = self._ahead.pop(key, None)
        made = waiting.result() if waiting else self.made(epoch, step * self.size + np.arange(low, high))
        self._ahead = {k: v for k, v in self._ahead.items() if k[:2] == (epoch.number, step)}
        if step + 1 < self.steps:
            later = (step + 1) * self.size + np.arange(low, high)
            self._ahead[epoch.number, step + 1, low, high] = self._maker.submit(self.made, epoch, later)
        return self._sent(made)

    def _sent(self, made: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        images = made[0].to(self.device, non_blocking=True).contiguous(memory_format=self.format)
        wanted = tuple(t.to(self.device, non_blocking=True) for t in made[1])
        return images, wanted

    def made(self, epoch: PatchEpoch, places: NDArray[np.int64]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Patches cut, turned and changed, with what the task wants of them."""
        changes = epoch.changes.of(places)
        matrices = _in_volumes(changes.matrix)
        matrices[:, :, 3] += epoch.corner[places]
        patch = self.plan.grid.patch
        names = [self.job.cases[int(w)] for w in epoch.who[places]]
        images = np.empty((len(places), len(self.plan.grid.channels), *patch), np.float32)
        labels = np.empty((len(places), *patch), np.uint8) if self.task.needs_labels else None
        points = changes.displacement

        def one(n: int) -> None:
            case = names[n]
            levels = np.array(self.store.rows[case].levels, np.float32)
            held = self.store.labels(case) if labels is not None else None
            own = None if labels is None else labels[n]
            bent = None if points is None else _field(points[n], patch)
            cut_patch(
                self.store.image(case), levels, held, matrices[n], images[n], own,
                displacement=bent, outside=IGNORED,
            )  # fmt: skip

        list(self._threads.map(one, range(len(places))))
        if changes.changes_values:
            still = replace(
                changes, matrix=np.broadcast_to(_identity(len(self.shape)), changes.matrix.shape).copy(),
                elastic=np.zeros_like(changes.elastic),
            )  # fmt: skip
            levels = np.tile(np.array([1, 0, -np.inf, np.inf], np.float32), (len(places), 1))
            images = augmented(images, levels, still, threads=self.threads).reshape(images.shape)
        wanted = self.task.wanted(self.store, names, labels, matrices)
        return torch.from_numpy(images[:, :, 0] if self.flat else images), wanted


def _field(points: NDArray[np.float32], patch: tuple[int, ...]) -> NDArray[np.float32]:
    """The displacement (3, k, j, i) of a patch from its control points (d, p[, p], p), in voxels."""
    axes = len(points)
    made = points
    for axis, size in enumerate(patch[3 - axes :]):
        weights = spline_weights(size, points.shape[-1]).astype(np.float32)
        made = np.moveaxis(np.tensordot(weights, made, (1, axis + 1)), 0, axis + 1)
    if axes == 3:
        return np.ascontiguousarray(made)
    whole = np.zeros((3, *patch), np.float32)
    whole[1:, 0] = made
    return whole


def _identity(axes: int) -> NDArray[np.float64]:
    return np.hstack([np.eye(axes), np.zeros((axes, 1))])


def _in_volumes(matrix: Matrices) -> Matrices:
    """Matrices (n, d, d + 1) of pictures or volumes as (n, 3, 4)."""
    n, axes = matrix.shape[:2]
    if axes == 3:
        return matrix.copy()
    made = np.zeros((n, 3, 4))
    made[:, 0, 0] = 1.0
    made[:, 1:, 1:3] = matrix[:, :, :2]
    made[:, 1:, 3] = matrix[:, :, 2]
    return made
