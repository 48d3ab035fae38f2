"""The window that is taken: about the fastest within .002 of the best Dice, and of those the smallest."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hounsfield.core.plan import Grid, Plan
from hounsfield.steps.segmentation import choose_window as module

PATCH = (32, 32, 32)


def _job(shape: tuple[int, int, int], cases: int = 3) -> Any:
    rows = {f"c{n}": SimpleNamespace(place=SimpleNamespace(shape=shape)) for n in range(cases)}
    store = SimpleNamespace(rows=rows, labels=lambda case: np.zeros(shape, np.uint8))
    plan = Plan(task="segmentation", grid=Grid(patch=PATCH, window=PATCH, overlap=0.5))
    return SimpleNamespace(plan=plan, grid=store, cases=list(rows), device="cpu")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[Any, float], tuple[float, float]]:
    """Dice and seconds of windows, by window and overlap; others lose."""
    known: dict[tuple[Any, float], tuple[float, float]] = {}
    seen: list[Any] = []

    def told(network: Any, job: Any, cases: Any, tried: Any) -> Any:
        seen.append((tried, tuple(cases)))
        dice, seconds = known.get((tried.window, tried.overlap), (0.5, 1.0))
        return replace(tried, dice=dice, seconds=seconds)

    monkeypatch.setattr(module, "_measured", told)
    known["seen"] = seen  # type: ignore[index, assignment]
    return known


WIDE, WHOLE, LITTLE = (64, 64, 64), (128, 128, 128), 0.0625
OTHERS = [(WIDE, 0.5), (WIDE, LITTLE), (WHOLE, 0.5)]


@pytest.mark.parametrize(
    "found, taken",
    [
        ({(PATCH, 0.5): (0.9, 9.0), (WIDE, LITTLE): (0.8985, 2.2), (WHOLE, 0.5): (0.9, 2.0)}, (WIDE, LITTLE)),
        ({(PATCH, 0.5): (0.9, 9.0), (WIDE, LITTLE): (0.8985, 3.0), (WHOLE, 0.5): (0.9, 2.0)}, (WHOLE, 0.5)),
        ({(PATCH, 0.5): (0.9, 9.0), (WIDE, LITTLE): (0.907, 2.2), (WIDE, 0.5): (0.91, 4.0)}, (WIDE, 0.5)),
        ({(PATCH, 0.5): (0.9, 9.0)}, (PATCH, 0.5)),
        ({(PATCH, 0.5): (float("nan"), 9.0)} | dict.fromkeys(OTHERS, (float("nan"), 1.0)), (PATCH, 0.5)),
    ],
    ids=[
        "smaller and nearly as fast", "clearly faster", "a small overlap loses", "nothing proves itself",
        "nothing is marked",
    ],
)  # fmt: skip
def test_the_window_that_is_taken(measured: Any, found: Any, taken: tuple[Any, float]) -> None:
    measured.update(found)
    chosen = module.choose_window(None, _job(WHOLE), [0, 1, 2])  # type: ignore[arg-type]
    assert (chosen.plan.grid.window, chosen.plan.grid.overlap) == taken
    assert "taken" in chosen.note and chosen.plan.reasons["grid.window"] == chosen.note
    Plan.from_json(chosen.plan.to_json())


def test_a_small_overlap_is_offered_only_where_seams_were_seen(measured: Any) -> None:
    module.choose_window(None, _job((60, 60, 60)), [0, 1, 2])  # type: ignore[arg-type]
    assert {(t.window, t.overlap) for t, _ in measured["seen"]} == {(PATCH, 0.5), (WIDE, 0.5)}


def test_large_images_are_measured_on_fewer_cases(measured: Any) -> None:
    module.choose_window(None, _job((250, 250, 200)), [0, 1, 2])  # type: ignore[arg-type]
    assert {cases for _, cases in measured["seen"]} == {("c0",)}
