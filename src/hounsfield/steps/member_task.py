"""What a task brings to the training of a member: its batches, its loss, what it measures and keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hounsfield.steps.balance import Balance
    from hounsfield.steps.batches import Piece
    from hounsfield.steps.group import Group
    from hounsfield.steps.job import Job
    from hounsfield.steps.learner import Learner

__all__ = ["MemberBatches", "MemberTask", "task_of_member"]


class MemberBatches(Protocol):
    """Batches of an epoch, drawn from its own seed; see `steps.batches`."""

    size: int
    steps: int
    features: NDArray[np.float32] | None
    balance: Balance | None

    def epoch(self, number: int) -> Any: ...

    def pieces(self, epoch: Any, step: int, share: tuple[int, int], count: int) -> Iterator[Piece]: ...


class MemberTask(Protocol):
    """One member's task. `judge` names the entry of `measured` that is least in the best epoch."""

    batches: Any

    @property
    def loss(self) -> Callable[[Any, Any], torch.Tensor]: ...

    @property
    def judge(self) -> str: ...

    def begin(self, learner: Learner) -> None:
        """Give the learner what is more than a loss, before the first step."""
        ...

    def measured(self, learner: Learner) -> dict[str, Any]:
        """What an epoch reached on the validation fold, by name."""
        ...

    def closed(self, learner: Learner, epoch: int, pause: Callable[[], None]) -> None:
        """What is done behind an epoch, counted from 0, before it is saved: all processes call it.

        Rank 0 calls `pause` now and then where it takes long: it ends the run, saved, if that was asked for.
        """
        ...

    def keep(self, learner: Learner, folder: Path) -> None:
        """Write what the finished member says of its validation fold: all processes call it, rank 0 does."""
        ...


def task_of_member(job: Job, number: int, device: torch.device, group: Group) -> MemberTask:
    """The task of a job's plan."""
    if job.plan.task == "classification":
        from hounsfield.steps.classifying import Classifying

        return Classifying(job, number, device, group)
    if job.plan.task == "segmentation":
        from hounsfield.steps.segmentation.learning import Segmenting

        return Segmenting(job, number, device, group)
    from hounsfield.steps.detection.learning import Detecting

    return Detecting(job, number, device, group)
