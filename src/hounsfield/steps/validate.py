"""Logits of the cases that a member did not learn from: as they are, and under the plan's own
augmentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from hounsfield.steps.batches import Batches, augmented_images
from hounsfield.steps.engine import logits_of
from hounsfield.steps.group import Group
from hounsfield.transforms.draw import draw

if TYPE_CHECKING:
    from hounsfield.steps.job import Job
    from hounsfield.steps.learner import Learner

__all__ = ["VIEWS", "stressed_logits", "validation_logits"]

VIEWS = 4
"""Augmented views of each validation image from which the calibration is fitted."""

_BATCH = 64


def validation_logits(
    job: Job, learner: Learner, batches: Batches, places: NDArray[np.int64], *, test_time: str = "none"
) -> NDArray[np.float32]:
    """Logits (n, outputs) of development cases by the judged network, each process scoring its share."""
    start, stop = learner.group.share(len(places))
    mine = places[start:stop]
    if batches.features is not None and test_time == "none":
        found = _from_features(learner, batches.features, mine)
    else:
        plan = job.plan.changed({"validation.test_time": test_time})
        found = logits_of(learner.judged(), job.prepared, job.rows[mine], plan)
    return _together(learner.group, found, start, len(places), job.encoding.outputs)


def stressed_logits(
    job: Job, number: int, learner: Learner, places: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Logits (VIEWS, n, outputs) of development cases under the plan's own augmentation, without mixtures."""
    flat = job.plan.input.size[0] == 1
    shape = job.plan.input.size[1:] if flat else job.plan.input.size
    network = learner.judged().eval()
    views = []
    for view in range(VIEWS):
        changes = draw(
            job.plan.augment, len(places), shape, np.random.default_rng(job.seed(number, 0x57, view))
        )
        start, stop = learner.group.share(len(places))
        found = []
        with torch.inference_mode():
            for low in range(start, stop, _BATCH):
                rows = np.arange(low, min(low + _BATCH, stop))
                images = augmented_images(
                    job.prepared, job.rows[places[rows]], changes.of(rows), job.plan, learner.device,
                    threads=job.threads,
                )  # fmt: skip
                found.append(network(images).float().cpu().numpy())
        mine = np.concatenate(found) if found else np.zeros((0, job.encoding.outputs), np.float32)
        views.append(_together(learner.group, mine, start, len(places), job.encoding.outputs))
    return np.stack(views)


def _from_features(
    learner: Learner, features: NDArray[np.float32], places: NDArray[np.int64]
) -> NDArray[np.float32]:
    found = []
    for low in range(0, len(places), _BATCH):
        held = torch.from_numpy(features[places[low : low + _BATCH]]).to(learner.device)
        found.append(learner.logits_from(held).cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, 1), np.float32)


def _together(
    group: Group, mine: NDArray[np.float32], start: int, n: int, outputs: int
) -> NDArray[np.float32]:
    if group.world == 1:
        return mine.reshape(n, outputs)
    table = np.zeros((n, outputs))
    table[start : start + len(mine)] = mine.reshape(-1, outputs)
    return group.sum(table).astype(np.float32)
