"""A network of a federation as a model directory: one member, no threshold but one half, no calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration, Model, OperatingPoint
from hounsfield.federation.layout import Vector
from hounsfield.federation.local_training import layout_of
from hounsfield.federation.own_layers import CommonLayers
from hounsfield.federation.proposal import Proposal
from hounsfield.io.model_store import write_model
from hounsfield.networks.weights import save_weights
from hounsfield.steps.learner import network_of_plan
from hounsfield.steps.run_folder import card_of

__all__ = ["common_network", "half", "write_common_model"]

_MEMBER = "member-0.safetensors"


def half(encoding: LabelEncoding, *, why: str = "no site keeps cases back to choose on") -> OperatingPoint:
    """One half for every output, and why nothing was chosen."""
    return OperatingPoint((0.5,) * encoding.outputs, "half", f"nothing: one half, since {why}")


def common_network(proposal: Proposal, weights: Vector, layers: CommonLayers) -> nn.Module:
    """The plan's network with the common weights (P,) and, under FedBN, the common layers."""
    network = network_of_plan(proposal.plan, proposal.encoding.outputs, seed=proposal.plan.seed)
    layout_of(proposal.plan, network).give(network, weights)
    layers.give(network)
    return network


def write_common_model(
    home: Path,
    network: nn.Module,
    proposal: Proposal,
    point: OperatingPoint,
    *,
    data_digest: str,
    learned: str,
    rows: Mapping[str, str],
) -> Model:
    """Write a model into `home`; `learned` says how, `rows` are what else stands on its card."""
    home.mkdir(parents=True, exist_ok=True)
    save_weights(network, home / _MEMBER)
    plan, encoding = proposal.plan, proposal.encoding
    card = {**card_of(plan, encoding), "learned": learned, "plan hash": proposal.hash, **rows}
    model = Model(home, plan, encoding, (_MEMBER,), point, Calibration(), data_digest, card)
    write_model(model)
    return model
