"""A member's task where structures are outlined: patches with labels, Dice by epoch, its fold outlined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hounsfield.io.files import whole_file
from hounsfield.steps.regions.batches import PatchBatches
from hounsfield.steps.segmentation.outline import outlined
from hounsfield.tasks.segmentation import IGNORED, labels_of, loss_of, probabilities_of

if TYPE_CHECKING:
    from hounsfield.steps.group import Group
    from hounsfield.steps.job import Job
    from hounsfield.steps.learner import Learner
    from hounsfield.steps.regions.grid_store import GridStore

__all__ = ["Segmenting", "kept_outline"]

_SHARE, _LEAST = 0.15, 8
"""Patches that an epoch is judged by: a share of those it learns from, and at least so many."""


class Segmenting:
    """See `member_task.MemberTask` and `regions.task.RegionTask`."""

    needs_labels = True
    judge = "val_loss"

    def __init__(self, job: Job, number: int, device: torch.device, group: Group) -> None:
        self.job, self.number, self.device, self.group = job, number, device, group
        self.plan = job.plan
        self.loss = loss_of(job.plan.segmentation)
        self.batches = PatchBatches(job, number, self, device, threads=job.threads)

    def begin(self, learner: Learner) -> None:
        """Nothing more than the loss."""

    def closed(self, learner: Learner, epoch: int, pause: Callable[[], None]) -> None:
        """Nothing."""

    def hard(self, epoch: int) -> None:
        """No places but those drawn."""

    def centre(self, store: GridStore, case: str, rng: np.random.Generator) -> NDArray[np.float64] | None:
        """A voxel of one of the case's structures, each structure as often as the others."""
        row = store.rows[case]
        held = sorted(label for label in (row.foreground or {}) if 0 < label < IGNORED)
        if not held:
            return None
        voxels = store.some_voxels(case, held[int(rng.integers(len(held)))])
        return np.asarray(voxels[int(rng.integers(len(voxels)))], np.float64)

    def wanted(
        self,
        store: GridStore,
        cases: Sequence[str],
        labels: NDArray[np.uint8] | None,
        matrices: NDArray[np.float64],  # noqa: ARG002
    ) -> tuple[Tensor, ...]:
        """Labels (n, …) and which structures were outlined at all (n, structures)."""
        assert labels is not None
        count = len(self.plan.segmentation.structures)
        told = np.ones((len(cases), count), bool)
        for n, case in enumerate(cases):
            known = store.rows[case].annotated
            if known is not None:
                told[n] = [label in known for label in range(1, count + 1)]
        own = labels[:, 0] if self.batches.flat else labels
        return torch.from_numpy(own), torch.from_numpy(told)

    def measured(self, learner: Learner) -> dict[str, Any]:
        """Loss and mean Dice over the structures of the same validation patches each time."""
        size = self.batches.size
        most = max(_LEAST, int(_SHARE * self.batches.steps * size)) // size * size or size
        epoch = self.batches.validation_epoch(most)
        network = learner.judged().eval()
        losses, overlap = [], np.zeros((2, len(self.plan.segmentation.structures)))
        with torch.inference_mode():
            for step in range(most // size):
                for piece in self.batches.pieces(epoch, step, (0, size), 1):
                    wanted: Any = piece.wanted
                    with torch.autocast(self.device.type, torch.bfloat16, enabled=learner.mixed):
                        answer = network(piece.images)
                    losses.append(float(self.loss(answer, wanted)))
                    probabilities = probabilities_of(answer, self.plan.segmentation)
                    overlap += _overlap(labels_of(probabilities, self.plan.segmentation), wanted)
        known = overlap[1] > 0
        dice = float((2 * overlap[0][known] / overlap[1][known]).mean()) if known.any() else None
        return {"val_loss": float(np.mean(losses)), "val_dice": dice}

    def keep(self, learner: Learner, folder: Path) -> None:
        """Outline the fold that this member has not seen, on each image's own grid."""
        if not self.group.leads:
            return
        assert self.job.grid is not None
        _, validation = self.job.parts(self.number)
        network = learner.judged().eval()
        (folder / "outlined").mkdir(exist_ok=True)
        for row in validation.tolist():
            labels = outlined([network], self.job.grid, self.job.cases[row], self.plan, self.device)
            with whole_file(kept_outline(folder, row)) as temporary, temporary.open("wb") as stream:
                np.savez_compressed(stream, labels=labels)


def kept_outline(folder: Path, row: int) -> Path:
    """Where a member keeps the outline of a development case that it has not seen."""
    return folder / "outlined" / f"{row}.npz"


def _overlap(found: Tensor, wanted: tuple[Tensor, Tensor]) -> NDArray[np.float64]:
    """Voxels shared, and in either, of each structure that was outlined."""
    labels, annotated = wanted
    counted = labels != IGNORED
    made = np.zeros((2, annotated.shape[1]))
    for n in range(annotated.shape[1]):
        use = counted & annotated[:, n].reshape(-1, *[1] * (labels.ndim - 1))
        a, b = (found == n + 1) & use, (labels == n + 1) & use
        made[:, n] = float((a & b).sum()), float(a.sum() + b.sum())
    return made
