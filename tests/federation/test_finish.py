"""What a deployed run leaves: a model that can be used, and a report made of counts alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federation.made_sites import ENCODING, plan
from hounsfield.federation.finish import finish
from hounsfield.federation.grid import InProcessGrid
from hounsfield.federation.kept_rounds import Kept
from hounsfield.federation.local_training import first_weights
from hounsfield.federation.messages import Reason, answered_counts, refused
from hounsfield.federation.privacy.shared_counts import counted
from hounsfield.federation.proposal import Proposal
from hounsfield.io.model_store import read_model
from hounsfield.metrics.discrimination import area

HISTORY = (
    {
        "round": 1,
        "losses": {"north": {"before": 0.7, "chance": 0.69, "after": 0.6}},
        "left_out": {"west": "its weights are not finite (NaN or infinite)"},
        "late": [],
        "bytes_to_sites": {"north": 900},
        "bytes_from_sites": {"north": 1000},
    },
)


def _cases(spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    answers = np.arange(120) % 2
    logit = spread * (answers - 0.5) + rng.normal(size=120)
    return 1 / (1 + np.exp(-logit)), answers


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A finished run of a good site, a bad one, and one that refuses."""
    folder = tmp_path_factory.mktemp("run")
    proposal = Proposal(plan(), ENCODING)
    cases = {1: _cases(2.5, 1), 2: _cases(0.4, 2)}

    def site(number: int) -> Any:
        def answer(message: Any) -> Any:
            if number == 3:
                return refused(message, Reason.TOO_FEW, "it holds too few cases back")
            scores, answers = cases[number]
            who = [str(n) for n in range(len(answers))]
            counts = counted(scores[:, None], answers[:, None], patients=who, labels=["b"])
            return answered_counts(message, counts, n=len(answers))

        return answer

    weights = first_weights(proposal.plan, ENCODING)
    grid = InProcessGrid({number: site(number) for number in (1, 2, 3)})
    names = {1: "north", 2: "south", 3: "east"}
    said: list[str] = []
    finish(
        grid, proposal, Kept(proposal.hash, 4, weights, {}, HISTORY), folder,
        names=names, nodes=(1, 2, 3), told=said.append,
    )  # fmt: skip
    return {"folder": folder, "cases": cases, "said": said, "weights": weights, "proposal": proposal}


def test_the_model_holds_the_common_weights_and_says_how_it_was_learned(run: dict[str, Any]) -> None:
    from hounsfield.federation.local_training import layout_of
    from hounsfield.networks.weights import load_weights
    from hounsfield.steps.learner import network_of_plan

    model = read_model(run["folder"])
    network = network_of_plan(model.plan, 1, seed=99)
    load_weights(network, model.directory / model.members[0])
    assert np.array_equal(layout_of(model.plan, network).take(network), run["weights"])
    assert model.card["learned"] == "by 3 sites in 4 rounds (fedavg)"
    assert model.card["plan hash"] == run["proposal"].hash


def test_the_report_has_the_worst_site_first_and_names_who_told_nothing(run: dict[str, Any]) -> None:
    evidence = json.loads((run["folder"] / "evidence.json").read_text())
    by_site = {f["group"]: f["value"] for f in evidence["clinical"] if f["name"] == "auroc"}
    for name, number in (("north", 1), ("south", 2)):
        scores, answers = run["cases"][number]
        assert abs(by_site[f"site={name}"] - area(scores, answers > 0)) < 0.01
    (table,) = [rows for title, rows in evidence["tables"]["clinical"].items() if "worst first" in title]
    assert [row["site"] for row in table] == ["south", "north"]
    page = Path(run["folder"] / "report.html").read_text()
    assert "it holds too few cases back" in page and "not finite" in page
    assert "The worst is south" in page
    assert run["said"] == ["4 rounds; 2 sites evaluated in counts"]


def test_the_numbers_of_all_sites_are_those_of_their_cases_together(run: dict[str, Any]) -> None:
    evidence = json.loads((run["folder"] / "evidence.json").read_text())
    (auroc,) = [f for f in evidence["metrics"] if f["name"] == "auroc"]
    scores, answers = (np.concatenate([c[k] for c in run["cases"].values()]) for k in (0, 1))
    assert auroc["n"] == 240 and auroc["low"] < area(scores, answers > 0) < auroc["high"]
    assert abs(auroc["value"] - area(scores, answers > 0)) < 0.03


def test_sites_of_another_version_or_without_facts_are_named_before_any_plan(tmp_path: Path) -> None:
    from hounsfield.core.errors import HounsfieldError
    from hounsfield.federation.deployed import drive
    from hounsfield.federation.messages import answered_facts, config_of

    def old(message: Any) -> Any:
        answer = answered_facts(message, "{}")
        config_of(answer)["version"] = "0.0.9"
        return answer

    def odd(message: Any) -> Any:
        return answered_facts(message, "{}")

    def empty(message: Any) -> Any:
        return refused(message, Reason.NO_CASES, "the site has no case to learn from")

    grid, names = InProcessGrid({1: old, 2: odd, 3: empty}), {1: "north", 2: "south", 3: "east"}
    with pytest.raises(HounsfieldError, match="0 sites told their facts") as error:
        drive(grid, plan(), tmp_path, names=names, resume=False, told=lambda _: None)
    for words in (
        "north tells no facts: it runs hounsfield 0.0.9",
        "south tells no facts: a site's facts cannot be read",
        "east tells no facts: the site has no case",
    ):
        assert words in str(error.value)
