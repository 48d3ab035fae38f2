"""Hard places: where a network took something for an object that is none, found in whole images.

Patches at random places show what is plainly no object, again and again. What a network confuses with an
object is rare, so it is searched for while the network learns, and learned from more often (Sung & Poggio
1998, bootstrapping; Felzenszwalb 2010, hard negatives mined from whole images).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hounsfield.core.marked import Marked
from hounsfield.io.files import whole_file
from hounsfield.steps.detection.find import candidates_of
from hounsfield.steps.job import Job
from hounsfield.steps.regions.task import HardPlaces
from hounsfield.tasks.detection import Candidates

__all__ = ["away_from", "hard_places", "is_due", "kept_places", "places_before"]

_MOST_AN_IMAGE = 40
_LEAST_SCORE = 0.02
_BESIDE = 0.75, 2.0
"""A candidate belongs to an object within so many of its sizes and so many voxels."""


def is_due(epoch: int, epochs: int, shares: tuple[float, ...]) -> bool:
    """True where a search is due behind an epoch, counted from 0: after these shares of all epochs.

    >>> [e for e in range(10) if is_due(e, 10, (0.4, 0.7))]
    [3, 6]
    """
    return any(epoch + 1 == max(1, round(share * epochs)) < epochs for share in shares)


def hard_places(
    job: Job,
    network: nn.Module,
    rows: NDArray[np.int64],
    device: torch.device,
    rng: np.random.Generator,
    pause: Callable[[], None],
) -> HardPlaces:
    """What the network finds in `search_images` of the cases `rows` away from everything that is marked.

    `pause` is called before each case.
    """
    store = job.grid
    assert store is not None
    chosen = np.sort(rng.permutation(rows)[: job.plan.detection.search_images])
    found: list[tuple[int, Candidates]] = []
    for row in chosen.tolist():
        pause()
        case = job.cases[row]
        held = store.rows[case]
        every = candidates_of([network], store.image(case), held.levels, job.plan, device)
        wrong = away_from(every.centre, held.marked or ()) & (every.score >= _LEAST_SCORE)
        found.append((row, every.take(np.flatnonzero(wrong)[:_MOST_AN_IMAGE])))
    return HardPlaces(
        np.concatenate([np.full(len(c), row, np.int64) for row, c in found]),
        np.concatenate([c.centre for _, c in found]),
        np.concatenate([c.score for _, c in found]),
    )


def away_from(centres: NDArray[np.float64], marked: tuple[Marked, ...]) -> NDArray[np.bool_]:
    """Which places (N, 3) lie on nothing that is marked, nor close beside it.

    >>> away_from(np.array([[0.0, 8, 8], [0, 30, 8]]), (Marked(0, (0, 9, 9), (1, 6, 6)),)).tolist()
    [False, True]
    """
    clear = np.ones(len(centres), bool)
    for mark in marked:
        reach = _BESIDE[0] * max(mark.size) + _BESIDE[1]
        clear &= np.linalg.norm(centres - np.array(mark.centre), axis=1) > reach
    return clear


def kept_places(folder: Path, epoch: int, places: HardPlaces) -> None:
    """Keep what was found behind an epoch in a member's folder."""
    with whole_file(folder / f"hard-{epoch}.npz") as temporary, temporary.open("wb") as stream:
        np.savez(stream, row=places.row, centre=places.centre, score=places.score)


def places_before(folder: Path, epoch: int) -> HardPlaces | None:
    """What the last search before an epoch found; None before the first one, and where it found nothing."""
    kept = {int(p.stem.partition("-")[2]): p for p in folder.glob("hard-*.npz")}
    last = max((n for n in kept if n < epoch), default=None)
    if last is None:
        return None
    with np.load(kept[last], allow_pickle=False) as held:
        places = HardPlaces(held["row"], held["centre"], held["score"])
    return places if len(places) else None
