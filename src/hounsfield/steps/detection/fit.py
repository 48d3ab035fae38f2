"""What a patch costs in a detection, and what members found in the cases that they had not seen."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from hounsfield.core.plan import Plan
from hounsfield.steps.detection.learning import kept_candidates, read_candidates
from hounsfield.steps.job import Job
from hounsfield.tasks.detection import Candidates, detection_loss, targets_of

__all__ = ["kept_found", "search_cost", "searched_in_time", "step_cost"]

_FORWARD, _USUAL = 0.6, 0.6
"""Of the time that learning from a voxel takes, what searching it does, and of the largest image, what the
usual one has: measured on chests.
"""
_SEARCH_SHARE, _LEAST_IMAGES = 0.15, 4


def kept_found(job: Job, row: int) -> Candidates | None:
    """What a member found in a development case that it had not seen; None where every member had."""
    path = job.kept(lambda folder: kept_candidates(folder, row))
    return None if path is None else read_candidates(path)


def search_cost(plan: Plan) -> float:
    """What a member's searches for hard places cost, in patches.

    >>> from hounsfield.core.plan import Detection, Grid
    >>> grid = Grid(patch=(1, 8, 8), window=(1, 16, 16))
    >>> search_cost(Plan(grid=grid, detection=Detection(searched=(0.5,), search_images=10)))
    14.4
    """
    voxels = _USUAL * math.prod(plan.grid.window) / math.prod(plan.grid.patch)
    return round(len(plan.detection.searched) * plan.detection.search_images * voxels * _FORWARD, 1)


def searched_in_time(plan: Plan, patches: int, fixed: Collection[str]) -> Plan:
    """The plan with as many images to search as a member of so many patches has time for.

    A few images teach little: then nothing is searched. What the user fixed stays.
    """
    if not plan.detection.searched or {"detection.searched", "detection.search_images"} & set(fixed):
        return plan
    images = int(_SEARCH_SHARE * patches * plan.detection.search_images / search_cost(plan))
    changes: dict[str, Any] = {"search_images": min(images, plan.detection.search_images)}
    reasons = dict(plan.reasons)
    if images < _LEAST_IMAGES:
        changes = {"searched": ()}
        reasons["detection.searched"] = f"no time for {_LEAST_IMAGES} images of a search"
    made = plan.detection.model_copy(update=changes)
    return plan.model_copy(update={"detection": made, "reasons": reasons})


def step_cost(plan: Plan) -> float:
    """Seconds that a patch takes to learn from here."""
    import torch

    from hounsfield.core.marked import Marked
    from hounsfield.steps.regions.speed import seconds_per_patch

    detection, patch = plan.detection, plan.grid.patch
    k, j, i = ((n - 1) / 2 for n in patch)
    depth, height, width = (max(1.0, n / 4) for n in patch)
    middle = Marked(0, (k, j, i), (depth, height, width))

    def wanted(n: int) -> tuple[Any, ...]:
        made = targets_of([middle], shape=patch, stride=detection.stride, classes=len(detection.classes))
        return (torch.from_numpy(np.stack([made] * n)),)

    return seconds_per_patch(plan, lambda a, w: detection_loss(a, w[0], detection), wanted)
