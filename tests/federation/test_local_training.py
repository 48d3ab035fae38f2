"""A round at a site is the plan's own training, can be repeated, and is pulled as each strategy says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from federation.made_sites import ENCODING, plan, training
from hounsfield.core.errors import BadInput, HounsfieldError
from hounsfield.federation.layout import Layout
from hounsfield.federation.local_training import first_weights
from hounsfield.steps.learner import network_of_plan

PLAIN_SGD = {"fit.optimiser": "sgd", "fit.momentum": 0.0, "fit.weight_decay": 0.0, "fit.schedule": "constant"}


def test_a_vector_gives_back_every_weight_and_statistic_of_a_network() -> None:
    made = plan({"network.norm": "batch"})
    one, two = (network_of_plan(made, 1, seed=seed) for seed in (1, 2))
    for module in one.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean += 3
    layout = Layout.of(one)
    layout.give(two, layout.take(one))
    for name, value in one.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, two.state_dict()[name]), name
    assert layout.is_learned().sum() == sum(p.numel() for p in one.parameters())
    with pytest.raises(BadInput, match="compare the plan's hash"):
        layout.give(two, np.zeros(3, np.float32))


def test_fedbn_shares_no_normalisation_layer() -> None:
    names = Layout.of(network_of_plan(plan(), 1), norms="without").names
    assert names and not any("1." in name.split("pairs.")[-1][:2] for name in names)
    everything = Layout.of(network_of_plan(plan(), 1)).names
    norms = {n for n in everything if n not in names}
    assert norms == {f"body.{k}.pairs.{i}.{w}" for k in (1, 2) for i in (1, 4) for w in ("weight", "bias")}


def test_a_round_can_be_repeated_and_rounds_and_sites_differ() -> None:
    made = plan()
    site, start = training(made), first_weights(plan(), ENCODING)
    first = site.round(start, 1).weights
    site.round(start, 3)
    assert np.array_equal(site.round(start, 1).weights, first)
    assert np.array_equal(training(made).round(start, 1).weights, first)
    assert not np.array_equal(site.round(start, 2).weights, first)
    assert not np.array_equal(training(made, name="Ulm").round(start, 1).weights, first)


def test_fedprox_stays_nearer_to_the_common_weights_the_greater_mu_is() -> None:
    start = first_weights(plan(), ENCODING)
    moved = []
    for mu in (0.0, 1.0, 100.0):
        made = plan({**PLAIN_SGD, "fit.learning_rate": 0.005}, strategy="fedprox", mu=mu)
        moved.append(float(np.linalg.norm(training(made).round(start, 2).weights - start)))
    assert moved[0] > moved[1] > 2 * moved[2]


def test_scaffolds_correction_is_the_mean_gradient_of_the_round() -> None:
    made = plan({**PLAIN_SGD, "fit.learning_rate": 0.01, "fit.gradient_clip": 0.0}, strategy="scaffold")
    start, site = first_weights(made, ENCODING), training(made)
    nothing = np.zeros_like(start)
    told = site.round(start, 2, control=(nothing, nothing))
    steps = told.metrics["steps"]
    assert told.control is not None
    assert np.allclose(told.control, (start - told.weights) / (0.01 * steps), atol=1e-5)
    # a common correction that equals the site's own changes nothing
    same = site.round(start, 2, control=(told.control, told.control))
    assert np.allclose(same.weights, told.weights, atol=1e-6)
    pulled = site.round(start, 2, control=(told.control, nothing))
    assert np.abs(pulled.weights - told.weights).max() > 1e-4


def test_a_site_tells_what_the_common_weights_lose_before_it_learns() -> None:
    made = plan()
    start, site = first_weights(made, ENCODING), training(made)
    told = site.round(start, 1).metrics
    logits = site.logits(start, np.arange(24))[:, 0]
    answers = np.arange(24) % 2
    by_hand = np.mean(np.log1p(np.exp(-np.where(answers == 1, logits, -logits))))
    assert told["loss-before"] == pytest.approx(by_hand, abs=1e-5)
    assert told["loss-of-prevalence"] == pytest.approx(np.log(2), abs=1e-5)


def test_a_site_whose_steps_are_never_finite_says_so() -> None:
    site, start = training(plan()), first_weights(plan(), ENCODING)
    start[:] = np.nan
    with pytest.raises(HounsfieldError, match="no step of round 1 gave finite numbers"):
        site.round(start, 1)
