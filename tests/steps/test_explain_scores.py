"""A map is shown only where its method passed: blind, unfaithful, misplaced, untested ones are withheld."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.explainers import EXPLAINERS
from hounsfield.steps import explain_scores
from hounsfield.steps.explain_maps import Asked
from hounsfield.steps.explain_scores import Scored, score_methods
from hounsfield.steps.explain_tests import mean_between_patients
from steps.spots import Spots, spots


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Spots:
    return spots(tmp_path_factory.mktemp("spots"))


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Enters an explainer for one test."""

    def enter(name: str, explainer: Any) -> str:
        monkeypatch.setitem(EXPLAINERS._plugs, name, explainer)
        return name

    yield enter


def one(scored: Scored, name: str) -> Finding:
    (found,) = [f for f in scored.findings if f.name == f"explanation_{name}"]
    return found


def edges(network: nn.Module, images: Tensor, *, output: int, towards: str = "positive") -> np.ndarray:
    """What Adebayo 2018 warns of: a map of the image that never asks the network."""
    steps = images.diff(dim=-1, append=images[..., -1:]).abs().sum(1)
    return (steps / steps.amax((1, 2), keepdim=True)).numpy()


def weight_noise(network: nn.Module, images: Tensor, *, output: int, towards: str = "positive") -> np.ndarray:
    """A map that the weights decide and that says nothing of the image."""
    seed = int(1e6 * abs(sum(float(p.detach().sum()) for p in network.parameters()))) % 2**31
    return np.random.default_rng(seed).random((len(images), *images.shape[2:]), np.float32)


def test_the_network_knows_its_spots(known: Spots) -> None:
    assert (known.called == known.predictions.answers).all()
    assert known.called.mean() == 0.5


@pytest.mark.parametrize("method", [m for m in EXPLAINERS.names if m != "attention"])
def test_a_map_that_finds_what_the_network_looks_for_is_shown(known: Spots, method: str) -> None:
    scored = score_methods(known.maps(), [method], truth=known.truth)
    assert scored.shown == (method,), scored.withheld
    assert not scored.withheld
    hit, changed, kept = (one(scored, n) for n in ("localisation", "randomisation", "faithfulness"))
    assert hit.value is not None and hit.value >= 0.95 and hit.low is not None and hit.low > 0.6
    assert (hit.n, hit.n_patients, hit.level) == (20, 10, "info")
    assert changed.high is not None and changed.high < 0.5 and changed.n_patients >= 5
    assert kept.low is not None and kept.low > 0 and kept.n == 16
    assert one(scored, "energy_inside").value > 0.3  # type: ignore[operator]
    assert all(f.label and f.note and f.method for f in scored.findings)


def test_a_map_that_never_asks_the_network_is_withheld(known: Spots, plug: Any) -> None:
    scored = score_methods(known.maps(), [plug("edges", edges)])
    assert not scored.shown
    assert one(scored, "randomisation").value == pytest.approx(1.0)
    ((title, why),) = scored.withheld
    assert title == "Edges" and "not shown to change when the weights are random" in why


def test_a_map_that_the_score_does_not_hang_on_is_withheld(known: Spots, plug: Any) -> None:
    scored = score_methods(known.maps(), [plug("weight_noise", weight_noise)])
    assert abs(one(scored, "randomisation").value) < 0.3  # type: ignore[arg-type]
    ((_, why),) = scored.withheld
    assert why.startswith("the score hangs on what it marks no more than on random places")


def test_a_map_that_misses_the_findings_is_withheld(known: Spots) -> None:
    elsewhere = {case: np.roll(mask, (11, 13), (0, 1)) for case, mask in known.masks.items()}
    scored = score_methods(known.maps(), ["gradcam"], truth=elsewhere.get)
    hit = one(scored, "localisation")
    assert hit.level == "warning" and hit.value is not None and hit.value < 0.2
    assert "no more often than chance" in dict(scored.withheld)["Grad-CAM"]


def test_without_masks_nothing_is_said_of_places(known: Spots) -> None:
    scored = score_methods(known.maps(), ["gradcam"])
    assert scored.shown == ("gradcam",)
    assert not [f for f in scored.findings if "localisation" in f.name or "inside" in f.name]


def test_what_cannot_be_measured_is_withheld(tmp_path: Path) -> None:
    few = spots(tmp_path, n=8, known=0)  # four patients
    scored = score_methods(few.maps(), ["gradcam"])
    assert not scored.shown and not scored.findings
    assert dict(scored.withheld)["Grad-CAM"] == "n = 8 from 4 patients: too few patients to test maps on"


def test_what_cannot_explain_this_network_is_named(known: Spots, plug: Any) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BadInput("it has no map")

    scored = score_methods(known.maps(), [plug("refuses", refuse), "gradcam"])
    assert scored.shown == ("gradcam",)
    assert dict(scored.withheld) == {"Refuses": "it cannot explain this network: it has no map"}


def test_a_method_beyond_the_budget_is_named(known: Spots, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = explain_scores.multiplications(known.maps().network(0), known.maps().images([0]))
    monkeypatch.setitem(explain_scores._BUDGET, "cpu", 30 * cost * 8)
    scored = score_methods(known.maps(), ["gradcam", "occlusion"])
    assert scored.shown == ("gradcam",)
    assert "so dear" in dict(scored.withheld)["Occlusion"]


def test_the_cascade_begins_at_the_head(known: Spots) -> None:
    scored = score_methods(known.maps(), ["gradcam"])
    assert [row.layers for row in scored.cascade] == ["head", "half", "all"]
    assert all(row.n >= 8 and row.low <= row.rank_correlation <= row.high for row in scored.cascade)  # type: ignore[operator]


def test_scores_are_the_same_again_and_on_more_threads(known: Spots, tmp_path: Path) -> None:
    two = spots(tmp_path, threads=2)
    methods = ("gradcam", "occlusion")
    first = score_methods(known.maps(), methods, truth=known.truth)
    assert score_methods(known.maps(), methods, truth=known.truth) == first
    again = score_methods(two.maps(), methods, truth=two.truth)
    for one_finding, other in zip(first.findings, again.findings, strict=True):
        assert one_finding.value == pytest.approx(other.value, abs=1e-4)


def test_cases_are_spread_over_calls_and_patients(known: Spots) -> None:
    maps = known.maps()
    rows = explain_scores._spread(maps, 0)
    assert sorted(rows) == list(range(len(known.predictions)))
    first = rows[:16]
    assert sum(known.called[first]) == 8
    assert len({known.predictions.patients[row] for row in first}) == 16


def test_maps_are_made_once(known: Spots, plug: Any) -> None:
    shown: list[int] = []

    def counting(network: nn.Module, images: Tensor, **_: object) -> np.ndarray:
        shown.append(len(images))
        return np.ones((len(images), *images.shape[2:]), np.float32)

    maps, asked = known.maps(), [Asked(row, 0) for row in (3, 5, 3)]
    name = plug("counting", counting)
    assert len(maps.of(name, asked)) == 3 and sum(shown) == 2
    maps.of(name, [*asked, Asked(6, 0)])
    assert sum(shown) == 3
    maps.of(name, asked[:1], network=torch.nn.Identity())
    assert sum(shown) == 4


def test_a_mean_needs_patients_not_only_cases() -> None:
    values = np.linspace(0, 1, 20)
    assert mean_between_patients("x", values, ["a", "b"] * 10).value is None
    by_case = mean_between_patients("x", values, [str(k) for k in range(20)])
    # the t interval of independent cases (scipy)
    from scipy import stats

    low, high = stats.t.interval(0.95, 19, values.mean(), stats.sem(values))
    assert (by_case.low, by_case.high) == pytest.approx((low, high))
    by_pair = mean_between_patients("x", values, [str(k // 2) for k in range(20)])
    assert by_pair.high - by_pair.low > high - low  # type: ignore[operator]


def test_a_share_that_is_always_nought_keeps_an_upper_end() -> None:
    made = mean_between_patients("x", np.zeros(12), [str(k) for k in range(12)], bounds=(0, 1))
    assert made.value == 0.0 and made.low == 0.0 and 0.1 < made.high < 0.4  # type: ignore[operator]
