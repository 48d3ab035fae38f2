"""How large a window, sharing how little with the next, predicts as well as the patch that was learned from:
measured on validation cases.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.plan import Plan
from hounsfield.steps.compute import computing, free_memory, pick_device
from hounsfield.steps.job import Job
from hounsfield.steps.regions.to_grid import Gridded
from hounsfield.steps.segmentation.outline import outlined_grid

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Chosen", "choose_window"]

Three = tuple[int, int, int]
_MOST_CASES, _MOST_VOXELS = 4, 12_000_000
_LOSES = 0.002
_TENSORS = 6
"""Feature maps of full width and resolution that stand in memory at once, and what is left beside them."""
_LITTLE = 0.0625
"""What windows share at least, as a part of the window, where that proves to be enough."""
_NEARLY = 1.15
"""A window that takes no longer than the fastest by this factor is taken if it needs less memory."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The plan with its window and overlap, and in words what was measured ("" where there was no choice)."""

    plan: Plan
    note: str


@dataclass(frozen=True, slots=True)
class _Tried:
    """A window (k, j, i) with its overlap: the mean Dice and the seconds a case that were measured."""

    window: Three
    overlap: float
    dice: float = 0.0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"{'×'.join(map(str, self.window))} sharing {self.overlap:.0%}"


def choose_window(network: nn.Module, job: Job, rows: Sequence[int]) -> Chosen:
    """The fastest of several windows whose mean Dice on cases `rows` is within .002 of the best of them.

    Group normalisation sees another statistic in a larger window, and at a seam a network sees less, so that
    a larger window or a smaller overlap must prove itself. Of windows about as fast the smallest is taken.
    """
    assert job.grid is not None
    plan, grid = job.plan, job.grid
    marked = [job.cases[r] for r in rows if grid.labels(job.cases[r]) is not None][:_MOST_CASES]
    voxels = np.cumsum([math.prod(grid.rows[c].place.shape) for c in marked])
    held = marked[: max(1, int((voxels <= _MOST_VOXELS).sum()))]
    shapes = [grid.rows[c].place.shape for c in held]
    candidates = list(_candidates(plan, shapes, free_memory(pick_device(plan.device))))
    if len(candidates) < 2 or not held:
        return Chosen(plan, "")
    measured = [_measured(network, job, held, tried) for tried in candidates]
    best = max((m.dice for m in measured if not np.isnan(m.dice)), default=measured[0].dice)
    fit = [m for m in measured if m.dice >= best - _LOSES] or measured[:1]
    fastest = min(m.seconds for m in fit)
    taken = min(
        (m for m in fit if m.seconds <= _NEARLY * fastest), key=lambda m: (math.prod(m.window), m.seconds)
    )
    said = "; ".join(f"{m.name}: Dice {m.dice:.4f}, {m.seconds:.2g} s" for m in measured)
    note = f"windows on {len(held)} validation cases: {said}; {taken.name} taken"
    made = plan.model_copy(
        update={
            "grid": plan.grid.model_copy(update={"window": taken.window, "overlap": taken.overlap}),
            "reasons": {**plan.reasons, "grid.window": note},
        }
    )
    return Chosen(made, note)


def _candidates(plan: Plan, shapes: Sequence[Three], free: int | None) -> Iterator[_Tried]:
    """The patch, windows twice as large that share much or little, whole images, as far as memory goes."""
    largest = tuple(max(s[a] for s in shapes) for a in range(3)) if shapes else plan.grid.patch
    seen: set[tuple[Three, float]] = set()
    for factor, overlap in (
        (1.0, plan.grid.overlap),
        (2.0, plan.grid.overlap),
        (2.0, _LITTLE),
        (64.0, _LITTLE),
    ):
        sides = [
            p if p >= n else min(-(-n // 16) * 16, max(p, round(factor * p)))
            for p, n in zip(plan.grid.patch, largest, strict=True)
        ]
        window = (sides[0], sides[1], sides[2])
        seams = any(n > w for n, w in zip(largest, window, strict=True))
        shared = overlap if seams else plan.grid.overlap  # where no seam was seen, none has proved itself
        needed = 4 * plan.network.width * _TENSORS * math.prod(sides)
        if (window, shared) not in seen and (factor == 1.0 or free is None or needed < 0.5 * free):
            seen.add((window, shared))
            yield _Tried(window, shared)


def _measured(network: nn.Module, job: Job, cases: Sequence[str], tried: _Tried) -> _Tried:
    """The mean Dice over cases and structures on the grid, and seconds a case."""
    assert job.grid is not None
    once = {"window": tried.window, "overlap": tried.overlap, "mirror": ()}
    plan = job.plan.model_copy(update={"grid": job.plan.grid.model_copy(update=once)})
    device, scores, spent = pick_device(plan.device), [], 0.0
    for case in cases:
        row = job.grid.rows[case]
        place = row.place
        flat = place.__class__(place.shape, (0, 0, 0), place.shape, place.shape, (), ())
        made = Gridded(job.grid.image(case), row.levels, None, flat)
        began = time.perf_counter()
        with computing(job.threads * job.beside):
            found = outlined_grid([network], made, plan, device)
        spent += time.perf_counter() - began
        labels = job.grid.labels(case)
        assert labels is not None
        scores.append(_dice(found, labels, len(plan.segmentation.structures)))
    return replace(tried, dice=float(np.nanmean(scores)), seconds=spent / len(cases))


def _dice(found: NDArray[np.uint8], wanted: NDArray[np.uint8], structures: int) -> float:
    counted = wanted != 255
    held = []
    for label in range(1, structures + 1):
        a, b = (found == label) & counted, (wanted == label) & counted
        if a.any() or b.any():
            held.append(2 * float((a & b).sum()) / float(a.sum() + b.sum()))
    return float(np.mean(held)) if held else float("nan")
