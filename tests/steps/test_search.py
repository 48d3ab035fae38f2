"""A search stays within its time, never loses to the plan it began with, and leaves alone what the user
set.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hounsfield.core.plan import Plan
from hounsfield.steps import search as module
from hounsfield.steps.search import candidates, search
from steps.jobs import job, plan


class _Clock:
    """A minute passes at every trial."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> tuple[_Clock, list[tuple[float, int]]]:
    """Trials without training: the loss is least at a learning rate of .002, and falls with the epochs."""
    clock, seen = _Clock(), []  # type: ignore[var-annotated]

    def loss(job: object, made: Plan, epochs: int, name: str, say: object) -> float:
        clock.now += 60.0 * epochs
        seen.append((made.fit.learning_rate, epochs))
        return abs(made.fit.learning_rate - 0.002) + 1 / epochs

    monkeypatch.setattr(module, "_loss", loss)
    return clock, seen


def test_halving_keeps_the_better_and_trains_them_longer(
    tmp_path: Path, tried: tuple[_Clock, list[tuple[float, int]]]
) -> None:
    clock, seen = tried
    found = search(job(tmp_path, plan(epochs=8)), minutes=100, clock=clock)
    assert found.after <= found.before and found.trials == len(seen)
    rounds = [[rate for rate, epochs in seen if epochs == e] for e in (2, 4, 8)]
    assert len(rounds[0]) == 16 and len(rounds[1]) == 8 and len(rounds[2]) <= 4
    best = sorted(rounds[0], key=lambda r: abs(r - 0.002))
    assert sorted(rounds[1]) == sorted(best[:8])
    assert found.plan.fit.learning_rate == best[0]
    assert found.plan.reasons["fit.learning_rate"].startswith("found by search")
    assert found.plan.fit.epochs == 8


def test_the_time_is_kept(tmp_path: Path, tried: tuple[_Clock, list[tuple[float, int]]]) -> None:
    clock, _ = tried
    for minutes in (1.0, 7.0, 30.0):
        clock.now = 0.0
        found = search(job(tmp_path, plan(epochs=8)), minutes=minutes, clock=clock)
        assert clock.now <= 60 * max(minutes, 2) * 1.35  # one trial is always made
        assert found.after <= found.before


def test_what_is_fixed_stays_and_every_candidate_is_a_valid_plan() -> None:
    made = plan({"augment.zoom": 0.5, "augment.shear_deg": 40})
    fixed = {"fit.learning_rate": 0.5, "augment.zoom": 0.5}
    found = candidates(made, 30, fixed=fixed)
    assert {p.augment.zoom for p in found} == {0.5}
    assert {p.fit.learning_rate for p in found} == {made.fit.learning_rate}
    assert len({p.digest() for p in found}) > 25
    assert all(Plan.from_json(p.to_json()) == p for p in found)
    assert candidates(made, 3) == candidates(made, 30)[:3]


def test_a_real_search_trains_and_leaves_no_trials(tmp_path: Path) -> None:
    made = job(tmp_path, plan(epochs=4, learning_rate=1e-5))
    found = search(made, minutes=0.08)
    assert found.trials >= 1 and not (tmp_path / "search").exists()
    assert 0 < found.after <= found.before < 1.0
