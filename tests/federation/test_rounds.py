"""Rounds join what is sound, name what is not, and go on from their last checkpoint at the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federation.made_sites import ENCODING, plan
from hounsfield.core.errors import BadInput, HounsfieldError
from hounsfield.core.plan import Federation, Plan
from hounsfield.federation import messages as m
from hounsfield.federation.checks import contrary_sites
from hounsfield.federation.flower import Message
from hounsfield.federation.grid import InProcessGrid
from hounsfield.federation.kept_rounds import CHECKPOINT, kept
from hounsfield.federation.proposal import Proposal
from hounsfield.federation.rounds import Rounds
from hounsfield.federation.strategies.robust import krum_chosen, require_enough_sites, trimmed_mean

START = np.zeros(6, np.float32)
SIZES = {1: 10, 2: 30, 3: 60}
Answer = Callable[[Message], Message]


def puller(
    node: int, goal: float, *, n: int = 10, fault: Callable[[int, np.ndarray], Any] | None = None
) -> Answer:  # type: ignore[type-arg]
    """A site that goes half of the way to its own goal in each round, with SCAFFOLD's control where asked."""

    def answer(ask: Message) -> Message:
        if ask.metadata.message_type == m.PROPOSE:
            return m.accepted(ask, str(m.config_of(ask)["plan-hash"]), n=n)
        number = int(str(m.config_of(ask)["server-round"]))
        before = m.vector_of(ask)
        control = before * 0 + goal if "control" in ask.content["arrays"] else None
        weights = before + (goal - before) / 2
        if fault is not None:
            changed = fault(number, weights)
            if isinstance(changed, m.Reason):
                return m.refused(ask, changed, "not this time")
            weights = changed
        told = {"loss-before": 0.5, "loss-of-prevalence": 0.69, "loss": 0.4}
        return m.answered_weights(ask, weights, told, n=n, control=control)

    return answer


def run(
    folder: Path, made: Plan, sites: dict[int, Answer], *, said: list[str] | None = None, resume: bool = False
) -> Any:
    grid = InProcessGrid(sites)
    names = {node: f"site {node}" for node in sites}
    rounds = Rounds(
        grid, Proposal(made, ENCODING), folder, names=names, told=(said if said is not None else []).append
    )
    return rounds.run(START, resume=resume)


def three(**faults: Any) -> dict[int, Answer]:
    return {k: puller(k, float(k), n=n, fault=faults.get(f"site_{k}")) for k, n in SIZES.items()}


def test_fedavg_is_the_mean_weighed_by_cases(tmp_path: Path) -> None:
    ended = run(tmp_path, plan(rounds=1), three())
    assert np.allclose(ended.weights, (10 * 0.5 + 30 * 1.0 + 60 * 1.5) / 100)


def test_fedadam_is_what_its_paper_says(tmp_path: Path) -> None:
    ended = run(tmp_path, plan(strategy="fedadam", rounds=1, server_rate=0.1), three())
    pulled = (10 * 0.5 + 30 * 1.0 + 60 * 1.5) / 100
    first, second = 0.1 * pulled, 0.01 * pulled**2
    rate = 0.1 * np.sqrt(1 - 0.99**2) / (1 - 0.9**2)  # Flower counts rounds from 1 and adds one
    assert np.allclose(ended.weights, rate * first / (np.sqrt(second) + 1e-3), rtol=1e-5)


def test_scaffold_moves_by_its_rate_and_shares_the_correction(tmp_path: Path) -> None:
    ended = run(tmp_path, plan(strategy="scaffold", rounds=1, server_rate=0.5), three())
    assert np.allclose(ended.weights, 0.5 * (10 * 0.5 + 30 * 1.0 + 60 * 1.5) / 100)
    assert np.allclose(ended.state["control|"], (10 * 1 + 30 * 2 + 60 * 3) / 100)


@pytest.mark.parametrize("strategy", ["fedavg", "fedadam", "scaffold"])
def test_a_run_that_is_resumed_ends_at_the_same_weights(tmp_path: Path, strategy: str) -> None:
    made = plan(strategy=strategy, rounds=5)
    whole = run(tmp_path / "whole", made, three())

    def killed(number: int, weights: Any) -> Any:
        if number == 4:
            raise KeyboardInterrupt
        return weights

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", made, three(site_2=killed))
    found = kept(tmp_path / "killed")
    assert found is not None and found.round == 3
    again = run(tmp_path / "killed", made, three(), resume=True)
    assert np.array_equal(again.weights, whole.weights)
    assert [r["round"] for r in again.history] == [1, 2, 3, 4, 5]


def test_a_checkpoint_of_another_plan_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    run(tmp_path, plan(rounds=2), three())
    with pytest.raises(BadInput, match="give the same plan again"):
        run(tmp_path, plan(rounds=3), three(), resume=True)
    (tmp_path / CHECKPOINT).write_bytes((tmp_path / CHECKPOINT).read_bytes()[:60])
    with pytest.raises(BadInput, match="not what hounsfield wrote"):
        run(tmp_path, plan(rounds=2), three(), resume=True)


def test_weights_that_are_not_finite_are_left_out_and_their_site_is_named(tmp_path: Path) -> None:
    said: list[str] = []
    broken = three(site_3=lambda _, w: w * np.nan)
    ended = run(tmp_path, plan(rounds=1), broken, said=said)
    assert np.allclose(ended.weights, (10 * 0.5 + 30 * 1.0) / 40)
    assert ended.history[0]["left_out"] == {"site 3": "its weights are not finite (NaN or infinite)"}
    assert any("site 3 left out: its weights are not finite" in line for line in said)


def test_an_update_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    far = three(site_1=lambda _, w: w + 1000)
    ended = run(tmp_path, plan(rounds=1, largest_update=50.0), far)
    assert "largest_update is 50" in ended.history[0]["left_out"]["site 1"]
    assert np.allclose(ended.weights, (30 * 1.0 + 60 * 1.5) / 90)


def test_a_site_may_drop_out_and_come_back(tmp_path: Path) -> None:
    away = three(site_2=lambda number, w: m.Reason.BUSY if number in (2, 3) else w)
    ended = run(tmp_path, plan(rounds=4), away)
    assert [len(r["cases"]) for r in ended.history] == [3, 2, 2, 3]
    assert ended.history[1]["left_out"] == {"site 2": "not this time"}


def test_too_few_answers_end_the_run_in_a_sentence_that_names_the_sites(tmp_path: Path) -> None:
    gone = three(
        site_1=lambda n, w: m.Reason.FAILED if n == 2 else w,
        site_2=lambda n, w: m.Reason.FAILED if n == 2 else w,
    )
    with pytest.raises(HounsfieldError, match=r"round 2 has 1 answers.*site 1: not this time.*site 2"):
        run(tmp_path, plan(rounds=4), gone)
    found = kept(tmp_path)
    assert found is not None and found.round == 1


class Silent(InProcessGrid):
    """Site 3 never answers a round; the others do at once."""

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> list[Message]:
        self.waited = timeout
        replies = super().send_and_receive(messages)
        trains = {r.metadata.message_type for r in replies} == {m.TRAIN}
        return [r for r in replies if not (trains and r.metadata.src_node_id == 3)]


def test_a_round_that_never_ends_at_one_site_goes_on_without_it_and_names_it(tmp_path: Path) -> None:
    grid, made = Silent(three()), plan(rounds=2, round_minutes=0.5)
    names = {node: f"site {node}" for node in SIZES}
    ended = Rounds(grid, Proposal(made, ENCODING), tmp_path, names=names).run(START)
    assert grid.waited == 30.0
    assert [r["late"] for r in ended.history] == [["site 3"], ["site 3"]]


def test_a_budget_that_is_spent_ends_the_run_with_what_it_has(tmp_path: Path) -> None:
    said: list[str] = []
    spent = {f"site_{k}": lambda n, w: m.Reason.BUDGET if n == 3 else w for k in SIZES}
    ended = run(tmp_path, plan(rounds=9), three(**spent), said=said)
    assert ended.round == 2 and any("ends after round 2" in line for line in said)


def test_a_site_that_refuses_is_not_asked_for_rounds(tmp_path: Path) -> None:
    def refuses(ask: Message) -> Message:
        assert ask.metadata.message_type == m.PROPOSE
        return m.refused(ask, m.Reason.COLUMN, "this column is not given")

    ended = run(tmp_path, plan(rounds=2), {**three(), 4: refuses})
    assert list(ended.history[-1]["cases"]) == ["site 1", "site 2", "site 3"]
    with pytest.raises(HounsfieldError, match=r"1 sites take part; expected at least 2.*this column"):
        run(tmp_path / "b", plan(rounds=2), {1: puller(1, 1.0), 4: refuses})


@pytest.mark.parametrize("rule", ["trimmed_mean", "krum"])
def test_a_poisoned_site_moves_a_robust_mean_little(tmp_path: Path, rule: str) -> None:
    sites = {k: puller(k, 1 + k / 10) for k in range(1, 6)}
    sites[5] = puller(5, 0.0, fault=lambda _, w: w - 500)
    naive = run(tmp_path / "naive", plan(rounds=1), sites)
    robust = run(tmp_path / "robust", plan(rounds=1, robust=rule), sites)
    assert naive.weights[0] < -90 and 0.55 <= robust.weights[0] <= 0.7


def test_robust_rules_against_hand_counted_numbers() -> None:
    table = np.array([[1, -9], [2, 0], [3, 1], [100, 2]], np.float32)
    assert trimmed_mean(table, distrusted=1).tolist() == [2.5, 0.5]
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(7, 20)).astype(np.float32)
    cloud[3] += 50
    distances = np.sort(np.linalg.norm(cloud[:, None] - cloud[None], axis=2) ** 2, 1)[:, 1:5]
    by_hand = np.sort(np.argsort(distances.sum(1))[:5])
    assert krum_chosen(cloud, distrusted=2).tolist() == by_hand.tolist() and 3 not in by_hand
    with pytest.raises(BadInput, match="needs 5 sites, and 4 take part"):
        require_enough_sites(Federation(strategy="fedavg", robust="krum"), 4)


def test_exchanged_labels_at_one_site_are_named_and_a_hard_site_is_not() -> None:
    good, odd = {"before": 0.3, "chance": 0.69}, {"before": 1.4, "chance": 0.69}
    hard = {"before": 0.66, "chance": 0.69}
    rounds = [{"losses": {"A": good, "B": good, "C": odd, "D": hard}}] * 5
    assert list(contrary_sites(rounds)) == ["C"]
    early = {"before": 0.70, "chance": 0.69}
    assert contrary_sites([{"losses": {"A": early, "B": early, "C": early}}] * 5) == {}


def test_rounds_over_secure_sums_end_where_open_rounds_end(tmp_path: Path) -> None:
    from hounsfield.federation.privacy.masked_site import masked
    from hounsfield.federation.privacy.secure_sum import secure_mean

    made = plan(rounds=3, secure_aggregation=True)
    names = {node: f"site {node}" for node in SIZES}
    hidden = InProcessGrid({node: masked(answer) for node, answer in three().items()})
    rounds = Rounds(hidden, Proposal(made, ENCODING), tmp_path / "hidden", names=names, secure=secure_mean)
    ended = rounds.run(START)
    seen = run(tmp_path / "open", plan(rounds=3), three())
    assert np.allclose(ended.weights, seen.weights, atol=2e-5)
    assert set(ended.history[-1]["cases"]) == set(names.values()) and not ended.history[-1]["norms"]
