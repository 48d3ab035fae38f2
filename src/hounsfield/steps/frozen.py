"""The frozen first part of a network, computed once for every image and kept as memory-mapped features."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.files import whole_file
from hounsfield.steps.batches import images_of

if TYPE_CHECKING:
    from hounsfield.steps.job import Job
    from hounsfield.steps.learner import Learner

__all__ = ["cached_features", "caches"]

_BATCH = 32
_SHARE_OF_DISK = 0.5


def caches(job: Job, world: int) -> bool:
    """Whether the plan allows it: nothing random stands between an image and the frozen part.

    One process only: several would each have to compute or to wait.
    """
    alone = world == 1 and job.grid is None
    return job.plan.fit.cache_frozen and alone and job.plan.augment.is_nothing


def cached_features(job: Job, learner: Learner) -> NDArray[np.float32] | None:
    """Features (N, …) of every development case by the learner's frozen prefix, from disk where they are
    there.

    Members that share frozen weights share the file. None where the disk has no room for them.
    """
    if learner.prefix is None:
        return None
    path = job.folder / f"features-{_digest(learner)}.npy"
    if not path.is_file():
        first = learner.features(images_of(job.prepared, job.rows[:1], learner.device))
        shape = (len(job.rows), *first.shape[1:])
        needed = int(np.prod(shape)) * 4
        if needed > _SHARE_OF_DISK * shutil.disk_usage(job.folder).free:
            return None
        with whole_file(path) as unfinished:
            held = np.lib.format.open_memmap(unfinished, "w+", np.float32, shape)
            for start in range(0, len(job.rows), _BATCH):
                rows = job.rows[start : start + _BATCH]
                found = learner.features(images_of(job.prepared, rows, learner.device))
                held[start : start + len(rows)] = found.cpu().numpy()
            held.flush()
            del held
    mapped: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _digest(learner: Learner) -> str:
    """A hash of the frozen weights and of how many modules they are."""
    found = hashlib.sha256()
    if learner.prefix is not None:
        found.update(str(learner.prefix.depth).encode())
    learned = {name for name, p in learner.network.named_parameters() if p.requires_grad}
    for name, tensor in learner.network.state_dict().items():
        if name not in learned:
            found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
