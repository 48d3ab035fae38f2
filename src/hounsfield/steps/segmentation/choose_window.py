"""How large a window predicts as well as the patch that was learned from: measured on validation cases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
_MOST_CASES = 4
_LOSES = 0.001
_TENSORS = 8
"""Feature maps of full width and resolution that stand in memory at once."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The plan with its window, and in words what was measured ("" where there was nothing to choose)."""

    plan: Plan
    note: str


def choose_window(network: nn.Module, job: Job, rows: Sequence[int]) -> Chosen:
    """The fastest of several windows whose mean Dice on cases `rows` is within .001 of the patch's own.

    Group normalisation sees another statistic in a larger window, so a larger one must prove itself.
    """
    assert job.grid is not None
    plan, grid = job.plan, job.grid
    held = [job.cases[r] for r in rows if grid.labels(job.cases[r]) is not None][:_MOST_CASES]
    shapes = [grid.rows[c].place.shape for c in held]
    candidates = list(_candidates(plan, shapes, free_memory(pick_device(plan.device))))
    if len(candidates) < 2 or not held:
        return Chosen(plan, "")
    measured = [(window, *_measured(network, job, held, window)) for window in candidates]
    fit = [m for m in measured if m[1] >= measured[0][1] - _LOSES]
    window = min(fit, key=lambda m: m[2])[0]
    said = "; ".join(f"{'×'.join(map(str, w))}: Dice {d:.4f}, {s:.2g} s" for w, d, s in measured)
    note = f"windows on {len(held)} validation cases: {said}; {'×'.join(map(str, window))} taken"
    made = plan.model_copy(
        update={
            "grid": plan.grid.model_copy(update={"window": window}),
            "reasons": {**plan.reasons, "grid.window": note},
        }
    )
    return Chosen(made, note)


def _candidates(plan: Plan, shapes: Sequence[Three], free: int | None) -> Iterator[Three]:
    """The patch, windows twice as large, and whole images, as far as memory goes."""
    largest = tuple(max(s[a] for s in shapes) for a in range(3)) if shapes else plan.grid.patch
    seen: set[Three] = set()
    for factor in (1.0, 2.0, 64.0):
        sides = [
            p if p >= n else min(-(-n // 16) * 16, max(p, round(factor * p)))
            for p, n in zip(plan.grid.patch, largest, strict=True)
        ]
        window = (sides[0], sides[1], sides[2])
        needed = 4 * plan.network.width * _TENSORS * sides[0] * sides[1] * sides[2]
        if window not in seen and (factor == 1.0 or free is None or needed < 0.5 * free):
            seen.add(window)
            yield window


def _measured(network: nn.Module, job: Job, cases: Sequence[str], window: Three) -> tuple[float, float]:
    """Mean Dice over cases and structures on the grid, and seconds a case."""
    assert job.grid is not None
    once = {"window": window, "mirror": ()}
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
    return float(np.nanmean(scores)), spent / len(cases)


def _dice(found: NDArray[np.uint8], wanted: NDArray[np.uint8], structures: int) -> float:
    counted = wanted != 255
    held = []
    for label in range(1, structures + 1):
        a, b = (found == label) & counted, (wanted == label) & counted
        if a.any() or b.any():
            held.append(2 * float((a & b).sum()) / float(a.sum() + b.sum()))
    return float(np.mean(held)) if held else float("nan")
