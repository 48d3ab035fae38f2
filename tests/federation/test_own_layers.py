"""Under FedBN the model of hospitals is that of a simulation of them: it has the mean of their layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federation.made_sites import plan
from federation.made_study import write_study
from hounsfield.core.model import Model
from hounsfield.federation import messages as m
from hounsfield.federation.deployed import drive
from hounsfield.federation.grid import InProcessGrid
from hounsfield.federation.layout import Layout
from hounsfield.federation.own_layers import ROW
from hounsfield.federation.privacy.masked_site import masked
from hounsfield.federation.simulate import Asked, simulate
from hounsfield.federation.site import Site
from hounsfield.federation.site_cases import divided, looked_at
from hounsfield.io.model_store import read_model
from hounsfield.networks.weights import load_weights
from hounsfield.steps.gather import Question
from hounsfield.steps.learner import network_of_plan

SIZES = {"Kiel": 20, "Ulm": 26, "Jena": 16}
FEDBN = {"strategy": "fedbn", "rounds": 2, "local_epochs": 1}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Question]:
    root = tmp_path_factory.mktemp("layers") / "study"
    table = write_study(root, sizes=SIZES)
    return root, Question(labels=str(table), target=("finding",), test_fraction=0.4)


@pytest.fixture(scope="module")
def sites(study: tuple[Path, Question], tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Fresh sites of the same cases, each in a folder of its own."""
    place = tmp_path_factory.mktemp("sites")
    looked = looked_at(str(study[0]), study[1], place / "cache")
    cases = divided(looked, "site", study[1])[0]
    made = iter(range(99))

    def fresh() -> dict[int, Site]:
        folder = place / str(next(made))
        return {k: Site(c, folder / c.name) for k, c in enumerate(cases, 1)}

    return fresh


def deployed(sites: dict[int, Site], folder: Path, *, asks: list[Any] | None = None, **more: Any) -> Model:
    """Run sites as the coordinator of several hosts drives them; `asks` hears of every question."""

    def door(site: Site) -> Any:
        answer = masked(site.answer)

        def answered(ask: Any) -> Any:
            reply = answer(ask)
            if asks is not None:
                asks.append((ask, reply))
            return reply

        return answered

    folder.mkdir(parents=True, exist_ok=True)
    grid = InProcessGrid({k: door(site) for k, site in sites.items()})
    names = {k: site.cases.name for k, site in sites.items()}
    drive(grid, plan(**{**FEDBN, **more}), folder, names=names, resume=False, told=lambda _: None)
    return read_model(folder)


def layers(model: Model) -> np.ndarray:
    network = network_of_plan(model.plan, 1, seed=99)
    load_weights(network, model.directory / model.members[0])
    return Layout.of(network, norms="only").take(network)


def whole(model: Model) -> np.ndarray:
    network = network_of_plan(model.plan, 1, seed=99)
    load_weights(network, model.directory / model.members[0])
    return Layout.of(network).take(network)


def as_began(model: Model) -> np.ndarray:
    network = network_of_plan(model.plan, 1, seed=model.plan.seed)
    return Layout.of(network, norms="only").take(network)


def test_a_deployed_model_is_that_of_a_simulation_of_the_same_sites(
    study: tuple[Path, Question], sites: Callable[[], Any], tmp_path: Path
) -> None:
    asked = Asked({"study": str(study[0])}, tmp_path / "run", by="site", question=study[1])
    asked = Asked(**{**vars(asked), "plan": plan(fine_tune_epochs=1, **FEDBN)})
    simulated = simulate(asked).run.model
    party = sites()
    found = deployed(party, tmp_path / "deployed", fine_tune_epochs=1)
    assert np.array_equal(whole(found), whole(simulated))
    own = [np.concatenate([a.reshape(-1) for a in own_of(s).values()]) for s in party.values()]
    sizes = [len(s.cases.cohort.development) for s in party.values()]
    assert np.allclose(layers(found), np.average(own, 0, weights=sizes), atol=1e-6)
    assert np.abs(layers(found) - as_began(found)).max() > 1e-3
    for model in (found, simulated):
        assert "the mean of those that 3 sites kept" in model.card[ROW]
    assert "mean of those that 3 sites kept" in (tmp_path / "deployed" / "report.html").read_text()


def own_of(site: Site) -> dict[str, np.ndarray]:
    """A site's layers in the order of its network, from its own folder."""
    kept = site.own.before(99)
    return {name: kept[name] for name in site.training.learner.network.state_dict() if name in kept}


def test_a_secure_sum_hides_the_layers_and_ends_at_their_mean(
    sites: Callable[[], Any], tmp_path: Path
) -> None:
    asks: list[Any] = []
    open_ = deployed(sites(), tmp_path / "open")
    party = sites()
    hidden = deployed(party, tmp_path / "hidden", asks=asks, secure_aggregation=True)
    assert np.allclose(layers(hidden), layers(open_), atol=2e-5)
    sent = [r for ask, r in asks if ask.metadata.group_id == m.OWN_LAYERS and "arrays" in r.content]
    assert len(sent) == 3 and all(r.content["arrays"]["weights"].numpy().dtype == np.uint32 for r in sent)


def test_layers_leave_once_after_the_last_round_and_the_log_can_name_them(
    sites: Callable[[], Any], tmp_path: Path
) -> None:
    asks: list[Any] = []
    model = deployed(sites(), tmp_path, asks=asks)
    about = [(ask, reply) for ask, reply in asks if ask.metadata.group_id == m.OWN_LAYERS]
    assert len(about) == 3
    trained = [k for k, (ask, _) in enumerate(asks) if ask.metadata.message_type == m.TRAIN]
    assert len(trained) == 9 and [asks[k] for k in trained[-3:]] == about
    for _, reply in about:
        (item,) = [i for i in m.items_of(reply) if i.name == "arrays/weights"]
        assert item.shape == layers(model).shape


def test_a_plan_that_keeps_the_layers_at_the_sites_asks_for_none_and_says_so(
    sites: Callable[[], Any], tmp_path: Path
) -> None:
    asks: list[Any] = []
    party = sites()
    model = deployed(party, tmp_path, asks=asks, send_norms=False)
    assert not [ask for ask, _ in asks if ask.metadata.group_id == m.OWN_LAYERS]
    assert np.array_equal(layers(model), as_began(model))
    assert "federation.send_norms=false" in model.card[ROW]
    ask = m.ask_layers(1, layers(model), plan_hash=party[1].proposal.hash, number=2)
    refusal = m.refusal_of(party[1].answer(ask))
    assert refusal is not None and refusal.reason is m.Reason.PLAN
