"""One command trains sites alone, pooled and federated, and reports who gains and who loses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from federation.made_study import SIZES, write_study
from phantoms import Outcome, hu

QUICK = (
    "network.name=plain", "network.width=8", "network.depth=2", "fit.batch_size=8", "fit.schedule=constant",
    "augment.flip_left_right=false", "federation.local_epochs=2", "federation.smallest_n=5",
    "device=cpu", "threads=1",
)  # fmt: skip
LABELS = ("--target", "finding", "--test-fraction", "0.5")


@dataclass(frozen=True)
class Simulation:
    """A finished simulation and where it lies."""

    outcome: Outcome
    run: Path
    study: Path

    @property
    def told(self) -> dict[str, Any]:
        found = json.loads(self.outcome.out)
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    root = tmp_path_factory.mktemp("federation")
    table = write_study(root / "study")
    outcome = hu(
        "federate", "simulate", root / "study", *QUICK, "--labels", table, *LABELS, "--by", "site",
        "--rounds", "4", "--out", root / "run", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return Simulation(outcome, root / "run", root / "study")


def test_every_site_stands_under_every_arm_with_the_worst_first(simulated: Simulation) -> None:
    sites = simulated.told["sites"]
    assert {s["site"] for s in sites} == set(SIZES) and not simulated.told["refused"]
    known = [s["auroc"]["federated"]["value"] for s in sites if s["auroc"]["federated"]["value"] is not None]
    assert len(known) == 3 and known == sorted(known)
    for site in sites[:3]:
        for arm in ("alone", "federated", "pooled"):
            told = site["auroc"][arm]
            assert told["low"] <= told["value"] <= told["high"] and told["n"] > 20
        assert site["shown"] in ("gains", "loses", "no difference shown")
    assert sites[3]["site"] == "Trier" and "too few" in sites[3]["auroc"]["federated"]["reason"]


def test_the_federated_model_learns_what_no_site_is_told(simulated: Simulation) -> None:
    """The corner of the square is easy: federated must come close to pooled."""
    for site in simulated.told["sites"][:3]:
        assert site["auroc"]["federated"]["value"] > 0.9


def test_the_report_says_who_gains_and_what_was_sent(simulated: Simulation) -> None:
    page = (simulated.run / "report.html").read_text()
    assert "Sites that learn together" in page and "the federated one is better at" in page
    rounds = json.loads((simulated.run / "rounds.json").read_text())["rounds"]
    weights = simulated.told["weights_bytes"]
    for told in rounds:
        assert set(told["cases"]) == set(SIZES)
        for way in ("bytes_to_sites", "bytes_from_sites"):
            assert all(weights < sent < 1.1 * weights for sent in told[way].values())
    assert simulated.told["overhead_seconds_per_round"] < 5


def test_the_common_model_can_be_used_and_names_no_patient(simulated: Simulation, tmp_path: Path) -> None:
    scored = hu("predict", simulated.run, simulated.study, "--out", tmp_path / "scores")
    assert scored.code == 0, scored.err
    plan = json.loads((simulated.run / "plan.json").read_text())
    assert plan["federation"]["strategy"] == "fedavg" and plan["network"]["norm"] == "group"
    for file in ("report.html", "evidence.json", "rounds.json", "predictions.csv"):
        assert "P17" not in (simulated.run / file).read_text()


def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path: Path) -> None:
    sizes = {"Kiel": 16, "Ulm": 16}
    table = write_study(tmp_path / "study", sizes=sizes)
    common = ("federate", "simulate", tmp_path / "study", "--labels", table, "--target", "finding")
    for words, said in (
        (("--by", "hospital"), 'no column "hospital"; did you mean "site"'),
        ((), "one source was given without --by"),
        (("--by", "site", "federation.smallest_n=50"), "fewer than 50 patients"),
        (("--by", "site", "federation.mu=-1"), 'plan key "federation.mu" is -1'),
    ):
        outcome = hu(*common, *words, "--out", tmp_path / "run")
        assert outcome.code == 3 and said in outcome.said, outcome.said
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        ("federation.secure_aggregation=true", "federation.epsilon=8", "federation.fine_tune_epochs=1"),
        ("federation.strategy=fedbn", "federation.fine_tune_epochs=1"),
        ("federation.strategy=scaffold",),
    ],
    ids=["secure and private", "fedbn", "scaffold"],
)
def test_hospitals_of_their_own_folders_learn_in_any_way(tmp_path: Path, changes: tuple[str, ...]) -> None:
    """Four folders with a table each; the fourth has one class only, takes no part, and is named."""
    for site in ("Kiel", "Ulm", "Jena", "Trier"):
        write_study(tmp_path / site, sizes={site: 44}, prefix=site)
    lines = (tmp_path / "Trier" / "labels.csv").read_text().splitlines()
    one_class = [lines[0], *(line for line in lines[1:] if "benign" in line)]
    (tmp_path / "Trier" / "labels.csv").write_text("\n".join(one_class) + "\n")
    sites = [tmp_path / site for site in ("Kiel", "Ulm", "Jena", "Trier")]
    outcome = hu(
        "federate", "simulate", *sites, *QUICK, *changes, "--labels", "labels.csv", *LABELS,
        "--rounds", "2", "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert {s["site"] for s in told["sites"]} == {"Kiel", "Ulm", "Jena"}
    assert "one class only" in told["refused"]["Trier"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Trier took no part" in page
    if "federation.epsilon=8" in changes:
        tables = json.loads((tmp_path / "run" / "evidence.json").read_text())["tables"]["clinical"]
        spent = tables["Privacy that was spent on each patient, by site"]
        assert len(spent) == 3 and all(0 < row["epsilon"] <= 8 for row in spent)
        assert "differential privacy" in (tmp_path / "run" / "model" / "card.md").read_text()
    if "federation.fine_tune_epochs=1" in changes:
        assert all("fine-tuned" in s["auroc"] for s in told["sites"])


@pytest.mark.slow
def test_an_interrupted_simulation_goes_on_without_training_its_rounds_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hounsfield.federation import simulate as module

    table = write_study(tmp_path / "study", sizes={"Kiel": 20, "Ulm": 20})
    words = (
        "federate", "simulate", tmp_path / "study", *QUICK, "--labels", table, *LABELS, "--by", "site",
        "--rounds", "2", "--out", tmp_path / "run", "--json",
    )  # fmt: skip

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "scored_arms", killed)
        assert hu(*words).code == 130
    before = (tmp_path / "run" / "work" / "rounds" / "rounds.safetensors").read_bytes()
    assert hu(*words).code == 3  # not without being told to go on
    again = hu(*words, "--resume")
    assert again.code == 0, again.err
    told = json.loads((tmp_path / "run" / "rounds.json").read_text())["rounds"]
    assert [r["round"] for r in told] == [1, 2]
    assert f'"seconds": {told[0]["seconds"]}'.encode() in before.replace(b'\\"', b'"')
    other = hu(*words, "--resume", "fit.batch_size=4")
    assert other.code == 3
