"""A site whose labels are exchanged is named by its loss; a site's own model and its budget are its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from federation.made_sites import ENCODING, plan, training
from hounsfield.federation import messages as m
from hounsfield.federation.flower import Message
from hounsfield.federation.grid import InProcessGrid
from hounsfield.federation.local_training import LocalTraining, first_weights
from hounsfield.federation.private_rounds import PrivateRounds
from hounsfield.federation.proposal import Proposal
from hounsfield.federation.rounds import Rounds


def door(site: LocalTraining) -> Any:
    def answer(ask: Message) -> Message:
        if ask.metadata.message_type == m.PROPOSE:
            return m.accepted(ask, str(m.config_of(ask)["plan-hash"]), n=12)
        number = int(str(m.config_of(ask)["server-round"]))
        found = site.round(m.vector_of(ask), number)
        return m.answered_weights(ask, found.weights, found.metrics, n=found.n)

    return answer


def test_a_site_of_exchanged_labels_is_named_and_no_other(tmp_path: Path) -> None:
    made = plan({"fit.learning_rate": 0.03, "fit.schedule": "constant"}, rounds=9)
    sites = {k: training(made, name=f"site {k}", seed=k, flip=k == 3) for k in range(1, 5)}
    said: list[str] = []
    names = {k: f"site {k}" for k in sites}
    grid = InProcessGrid({k: door(site) for k, site in sites.items()})
    Rounds(grid, Proposal(made, ENCODING), tmp_path, names=names, told=said.append).run(
        first_weights(made, ENCODING)
    )
    warned = [line for line in said if line.startswith("warning")]
    assert len(warned) == 1 and warned[0].startswith("warning: site 3") and "exchanged" in warned[0]


def test_fine_tuning_moves_the_weights_of_one_site_a_little(tmp_path: Path) -> None:
    made = plan()
    site, start = training(made), first_weights(made, ENCODING)
    tuned, round_ = site.fine_tuned(start, epochs=2), site.round(start, 1).weights
    assert 0 < np.linalg.norm(tuned - start) < np.linalg.norm(round_ - start)


def private(folder: Path, made: Any) -> tuple[LocalTraining, PrivateRounds]:
    site = training(made)
    site.job = site.job.__class__(**{**vars(site.job), "patients": np.arange(24)})
    rounds = PrivateRounds(site, folder, run="a" * 64)
    site.walk = rounds.walk
    return site, rounds


def test_a_private_round_tells_no_loss_is_paid_once_and_stays_in_its_budget(tmp_path: Path) -> None:
    made = plan(epsilon=8.0, rounds=4)
    site, rounds = private(tmp_path, made)
    start = first_weights(made, ENCODING)
    first = site.round(start, 1)
    assert set(first.metrics) == {"steps"} and np.isfinite(first.weights).all()
    once = rounds.spending().epsilon
    again = site.round(start, 1)
    assert np.array_equal(again.weights, first.weights) and rounds.spending().epsilon == once
    weights = first.weights
    for number in (2, 3, 4):
        weights = site.round(weights, number).weights
    assert once < rounds.spending().epsilon <= 8.0
    assert not np.array_equal(private(tmp_path / "other", made)[0].round(start, 1).weights, first.weights)
