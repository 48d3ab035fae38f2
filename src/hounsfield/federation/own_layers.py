"""FedBN's normalisation layers in the common model: each site keeps its own from round to round and, where
the plan says so, sends them once, after the last round; the model has their mean, weighed by cases.

No site has trained with that mean: it is for whoever has no layers of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from hounsfield.core.errors import HounsfieldError
from hounsfield.federation.checks import sound
from hounsfield.federation.flower import Grid
from hounsfield.federation.layout import Layout, Vector
from hounsfield.federation.messages import Reason, ask_layers, metrics_of, vector_of
from hounsfield.federation.proposal import Proposal
from hounsfield.federation.site import Refused
from hounsfield.federation.strategies.robust import robust
from hounsfield.steps.learner import network_of_plan

if TYPE_CHECKING:
    from hounsfield.federation.rounds import SecureMean
    from hounsfield.federation.site import Site

__all__ = ["ROW", "CommonLayers", "common_layers", "layers_at"]

ROW = "normalisation layers"
"""What the row of the model's card is called."""


@dataclass(frozen=True)
class CommonLayers:
    """The common model's normalisation layers (K,), None where they stay as they began; `told` says which,
    and is empty where all layers were joined in each round.
    """

    vector: Vector | None = None
    told: str = ""

    @property
    def row(self) -> dict[str, str]:
        """The row of the model's card."""
        return {ROW: self.told} if self.told else {}

    def give(self, network: nn.Module) -> None:
        """Put the layers into a network of the plan."""
        if self.vector is not None:
            Layout.of(network, norms="only").give(network, self.vector)


def layers_at(site: Site, number: int) -> tuple[Vector, int]:
    """A site's own layers (K,) after round `number`, and how many cases they learned from.

    Raises Refused where the accepted plan keeps them at the site, or the site has trained no round.
    """
    plan = site.training.plan
    if plan.federation.strategy != "fedbn" or not plan.federation.send_norms:
        raise Refused(
            Reason.PLAN, "the accepted plan does not have normalisation layers sent apart; nothing was sent"
        )
    own = site.own.before(number + 1)
    if not own:
        raise Refused(Reason.FAILED, "this site has trained no round and has no layers of its own")
    names = Layout.of(site.training.learner.network, norms="only").names
    return np.concatenate([np.asarray(own[name], np.float32).reshape(-1) for name in names]), len(
        site.training.job.rows
    )


def common_layers(
    grid: Grid,
    proposal: Proposal,
    number: int,
    *,
    nodes: Sequence[int],
    secure: SecureMean | None = None,
) -> CommonLayers:
    """Ask the sites for their own layers after the last round `number`, and take their mean.

    The layers stay as they began, with the reason told, where the plan does not have them sent or fewer sites
    answer than it allows.
    """
    federation = proposal.plan.federation
    if federation.strategy != "fedbn":
        return CommonLayers()
    if not federation.send_norms:
        return _as_began("the plan keeps them at each site (federation.send_norms=false)")
    try:
        return _mean(grid, proposal, number, nodes, secure)
    except HounsfieldError as error:
        return _as_began(str(error))


def _mean(
    grid: Grid, proposal: Proposal, number: int, nodes: Sequence[int], secure: SecureMean | None
) -> CommonLayers:
    plan = proposal.plan
    network = network_of_plan(plan, proposal.encoding.outputs, seed=plan.seed)
    start = Layout.of(network, norms="only").take(network)
    asks = [ask_layers(node, start, plan_hash=proposal.hash, number=number) for node in sorted(nodes)]
    timeout = 60 * plan.federation.round_minutes
    whole = plan.federation.model_copy(update={"largest_update": 0.0})  # that speaks of one round
    if secure is not None:
        one, answers = secure(grid, asks, timeout)
        count = sum(not answer.has_error() for answer in answers)
        joined = list(sound([one], start, whole).replies)
    else:
        good = sound(list(grid.send_and_receive(asks, timeout=timeout)), start, whole).replies
        count = len(good)
        joined = robust(good, whole) if good else []
    if count < plan.federation.smallest_sites or not joined:
        raise HounsfieldError(f"{count} sites sent theirs, and {plan.federation.smallest_sites} are needed")
    sizes = [metrics_of(answer)["num-examples"] for answer in joined]
    mean = np.average(np.stack([vector_of(answer) for answer in joined]).astype(np.float64), 0, weights=sizes)
    return CommonLayers(
        np.asarray(mean, np.float32),
        f"the mean of those that {count} sites kept for themselves, sent once after round {number}; no site "
        "has trained with it",
    )


def _as_began(why: str) -> CommonLayers:
    return CommonLayers(
        None, f"as the plan's seed draws them, since {why}; the model of a site has that site's own"
    )
