"""What a patch costs in a segmentation, and what members outlined of the cases that they had not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.plan import Plan
from hounsfield.steps.job import Job
from hounsfield.steps.segmentation.learning import kept_outline

__all__ = ["kept_labels", "step_cost"]


def kept_labels(job: Job, row: int) -> NDArray[np.uint8] | None:
    """The outline of a development case by a member that had not seen it; None where every member had."""
    path = job.kept(lambda folder: kept_outline(folder, row))
    if path is None:
        return None
    with np.load(path, allow_pickle=False) as held:
        labels: NDArray[np.uint8] = held["labels"]
    return labels


def step_cost(plan: Plan) -> float:
    """Seconds that a patch takes to learn from here."""
    import torch

    from hounsfield.steps.regions.speed import seconds_per_patch
    from hounsfield.tasks.segmentation import loss_of

    shape = plan.grid.patch[1:] if plan.grid.patch[0] == 1 else plan.grid.patch
    count = len(plan.segmentation.structures)

    def wanted(n: int) -> tuple[Any, ...]:
        made = torch.Generator().manual_seed(0)
        labels = torch.randint(0, count + 1, (n, *shape), generator=made).to(torch.uint8)
        return labels, torch.ones(n, count, dtype=torch.bool)

    return seconds_per_patch(plan, loss_of(plan.segmentation), wanted)
