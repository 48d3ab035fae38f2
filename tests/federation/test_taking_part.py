"""Sites whose people have not decided yet are waited for before the first round, and not after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federation.made_sites import ENCODING, plan
from hounsfield.federation import messages as m
from hounsfield.federation import rounds
from hounsfield.federation.grid import InProcessGrid
from hounsfield.federation.kept_rounds import Kept
from hounsfield.federation.proposal import Proposal


def _site(undecided: int) -> Callable[[Any], Any]:
    """A site whose people decide after so many proposals."""
    left = [undecided]

    def answer(ask: Any) -> Any:
        if ask.metadata.message_type == m.PROPOSE:
            left[0] -= 1
            if left[0] >= 0:
                return m.refused(ask, m.Reason.BUSY, "the people at this site have not decided")
            return m.accepted(ask, str(m.config_of(ask)["plan-hash"]), n=9)
        return m.answered_weights(ask, m.vector_of(ask), {"loss": 0.5}, n=9)

    return answer


def _run(folder: Path, undecided: int, said: list[str], **federation: Any) -> Kept:
    grid = InProcessGrid({1: _site(0), 2: _site(0), 3: _site(undecided)})
    names = {node: f"site {node}" for node in (1, 2, 3)}
    proposal = Proposal(plan(rounds=3, **federation), ENCODING)
    made = rounds.Rounds(grid, proposal, folder, names=names, told=said.append)
    return made.run(np.zeros(4, np.float32))


def _took_part(ended: Kept) -> list[int]:
    return [len(r["cases"]) for r in ended.history]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_DECIDE_S", 0.0)
    monkeypatch.setattr(rounds, "_POLL_S", 0.01)


def test_the_first_round_waits_for_people_to_decide(tmp_path: Path) -> None:
    said: list[str] = []
    assert _took_part(_run(tmp_path, 4, said)) == [3, 3, 3]
    assert sum("have not decided" in line for line in said) == 1


def test_who_decides_after_the_first_round_began_takes_part_from_then_on(tmp_path: Path) -> None:
    never = _took_part(_run(tmp_path / "never", 1000, [], round_minutes=1e-9))
    assert never == [2, 2, 2]
    later = _took_part(_run(tmp_path / "later", 2, [], round_minutes=1e-9))
    assert later == [2, 2, 3]  # asked once in each round
