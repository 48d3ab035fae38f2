"""A member's task where objects are found: patches with their marks, sensitivity by epoch, its own fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hounsfield.core.marked import Marked
from hounsfield.io.files import whole_file
from hounsfield.steps.detection.find import found_in
from hounsfield.steps.detection.hard_places import (
    hard_places,
    is_due,
    kept_places,
    places_before,
)
from hounsfield.steps.regions.batches import PatchBatches
from hounsfield.steps.regions.task import HardPlaces
from hounsfield.tasks.detection import Candidates, decoded, detection_loss, targets_of

if TYPE_CHECKING:
    from hounsfield.steps.group import Group
    from hounsfield.steps.job import Job
    from hounsfield.steps.learner import Learner
    from hounsfield.steps.regions.grid_store import GridStore

__all__ = ["Detecting", "kept_candidates", "marks_under"]

_SHARE, _LEAST = 0.15, 8
_BEST = 3
"""An object counts as found in a validation patch where one of so many best candidates lies on it."""


class Detecting:
    """See `member_task.MemberTask` and `regions.task.RegionTask`."""

    needs_labels = False
    judge = "val_loss"

    def __init__(self, job: Job, number: int, device: torch.device, group: Group) -> None:
        self.job, self.number, self.device, self.group = job, number, device, group
        self.plan = job.plan
        self.batches = PatchBatches(job, number, self, device, threads=job.threads)

    def loss(self, answers: Tensor, wanted: Any) -> Tensor:
        """The loss of maps against targets."""
        return detection_loss(answers, wanted[0], self.plan.detection)

    def begin(self, learner: Learner) -> None:
        """Nothing more than the loss."""

    def closed(self, learner: Learner, epoch: int, pause: Callable[[], None]) -> None:
        """Search the training images where the plan says so, for places that are hard."""
        if not is_due(epoch, self.plan.fit.epochs, self.plan.detection.searched):
            return
        if self.group.leads:
            rng = np.random.default_rng(self.job.seed(self.number, 4, epoch))
            network = learner.judged().eval()
            found = hard_places(self.job, network, self.batches.training, self.device, rng, pause)
            kept_places(self.job.member_folder(self.number), epoch, found)
        self.group.sum(np.zeros(1))  # wait for the file

    def hard(self, epoch: int) -> HardPlaces | None:
        """The hard places that are known in an epoch."""
        return places_before(self.job.member_folder(self.number), epoch)

    def centre(self, store: GridStore, case: str, rng: np.random.Generator) -> NDArray[np.float64] | None:
        """The centre of an object of the case; None where it has none."""
        held = [m for m in store.rows[case].marked or () if not m.excluded]
        return np.array(held[int(rng.integers(len(held)))].centre) if held else None

    def wanted(
        self,
        store: GridStore,
        cases: Sequence[str],
        labels: NDArray[np.uint8] | None,  # noqa: ARG002
        matrices: NDArray[np.float64],
    ) -> tuple[Tensor, ...]:
        """Targets (n, channels, cells…) of the patches that show the cases under `matrices` (n, 3, 4)."""
        detection, patch = self.plan.detection, self.plan.grid.patch
        made = [
            targets_of(
                marks_under(store.rows[case].marked or (), matrix, patch),
                shape=patch, stride=detection.stride, classes=len(detection.classes),
            )
            for case, matrix in zip(cases, matrices, strict=True)
        ]  # fmt: skip
        return (torch.from_numpy(np.stack(made)),)

    def measured(self, learner: Learner) -> dict[str, Any]:
        """Loss and sensitivity on the same validation patches each time."""
        size = self.batches.size
        most = max(_LEAST, int(_SHARE * self.batches.steps * size)) // size * size or size
        epoch = self.batches.validation_epoch(most)
        network = learner.judged().eval()
        losses, hits, asked = [], 0, 0
        with torch.inference_mode():
            for step in range(most // size):
                for piece in self.batches.pieces(epoch, step, (0, size), 1):
                    wanted: Any = piece.wanted
                    with torch.autocast(self.device.type, torch.bfloat16, enabled=learner.mixed):
                        answer = network(piece.images)
                    losses.append(float(self.loss(answer, wanted)))
                    found, all_of = self._hits(answer.float().cpu().numpy(), wanted[0].cpu().numpy())
                    hits, asked = hits + found, asked + all_of
        return {"val_loss": float(np.mean(losses)), "val_sensitivity": hits / asked if asked else None}

    def _hits(self, answers: NDArray[np.float32], wanted: NDArray[np.float32]) -> tuple[int, int]:
        """How many centres of patches have one of their best candidates in the same or the next cell."""
        detection = self.plan.detection
        classes, hits, asked = len(detection.classes), 0, 0
        step = np.array(detection.stride, float)
        for answer, target in zip(answers, wanted, strict=True):
            found = decoded(answer, stride=detection.stride, classes=classes, least_score=0.0, most=_BEST)
            cells = np.argwhere(target[:classes] == 1)
            places = np.zeros((len(cells), 3))
            places[:, 4 - cells.shape[1] :] = cells[:, 1:]
            for label, place in zip(cells[:, 0], places, strict=True):
                own = found.centre[found.label == label]
                asked += 1
                hits += (
                    bool((np.abs((own + 0.5) / step - 0.5 - place) <= 1.5).all(1).any()) if len(own) else 0
                )
        return hits, asked

    def keep(self, learner: Learner, folder: Path) -> None:
        """Search the fold that this member has not seen, in each image's own voxels."""
        if not self.group.leads:
            return
        store = self.job.grid
        assert store is not None
        _, validation = self.job.parts(self.number)
        network = learner.judged().eval()
        (folder / "found").mkdir(exist_ok=True)
        for row in validation.tolist():
            case = self.job.cases[row]
            held = store.rows[case]
            found = found_in([network], store.image(case), held.levels, held.place, self.plan, self.device)
            with whole_file(kept_candidates(folder, row)) as temporary, temporary.open("wb") as stream:
                np.savez(stream, centre=found.centre, size=found.size, score=found.score, label=found.label)


def kept_candidates(folder: Path, row: int) -> Path:
    """Where a member keeps what it found in a development case that it has not seen."""
    return folder / "found" / f"{row}.npz"


def read_candidates(path: Path) -> Candidates:
    """Candidates that `Detecting.keep` wrote."""
    with np.load(path, allow_pickle=False) as held:
        return Candidates(held["centre"], held["size"], held["score"], held["label"])


def marks_under(
    marked: Sequence[Marked], matrix: NDArray[np.float64], patch: tuple[int, int, int]
) -> list[Marked]:
    """Marks of a case in the voxels of a patch whose voxel v shows the case at `matrix` (3, 4) of v.

    A sphere takes the extents of the ellipsoid that it becomes, a box those of the box around it. Marks that
    do not touch the patch are left out.

    >>> shift = np.hstack([np.eye(3), [[0.0], [10.0], [10.0]]])
    >>> [m.centre for m in marks_under([Marked(0, (0, 12, 15), (1, 4, 4))], shift, (1, 8, 8))]
    [(0.0, 2.0, 5.0)]
    """
    inverse = np.linalg.inv(matrix[:, :3])
    made = []
    for mark in marked:
        centre = inverse @ (np.array(mark.centre, float) - matrix[:, 3])
        size = np.array(mark.size, float)
        if mark.shape == "sphere":
            extent = np.sqrt(((inverse * size) ** 2).sum(1))
        else:
            extent = np.abs(inverse * size).sum(1)
        if ((centre + extent / 2 < -0.5) | (centre - extent / 2 > np.array(patch) - 0.5)).any():
            continue
        k, j, i = (float(c) for c in centre)
        depth, height, width = (float(e) for e in extent)
        made.append(replace(mark, centre=(k, j, i), size=(depth, height, width)))
    return made
