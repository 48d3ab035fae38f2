"""What a site keeps of a federation: the common model, with its own layers and its own fine-tuning.

It lies in the site's folder as any model of this package does, and never leaves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hounsfield.core.errors import HounsfieldError
from hounsfield.core.model import Model
from hounsfield.federation.common_model import half, write_common_model
from hounsfield.federation.layout import Vector
from hounsfield.steps.compute import computing

if TYPE_CHECKING:
    from hounsfield.federation.site import Site

__all__ = ["MODEL", "keep_own_model"]

MODEL = "model"


def keep_own_model(site: Site, weights: Vector) -> Model:
    """Write the model of the common weights (P,) into the site's folder, fine-tuned where the plan says so.

    FedBN's layers are those that the site's training holds.
    """
    proposal = site.proposal
    if proposal is None:
        raise HounsfieldError("no plan was accepted yet; expected a proposal before a model")
    plan, training = proposal.plan, site.training
    epochs = plan.federation.fine_tune_epochs
    how = f"by several sites ({plan.federation.strategy})" + (
        f", then {epochs} epochs at this site alone" if epochs else ""
    )
    with computing(training.threads):
        kept = training.kept()
        own = training.fine_tuned(weights, epochs=epochs) if epochs else weights
        training.layout.give(training.learner.network, own)
        model = write_common_model(
            site.folder / MODEL,
            training.learner.network,
            proposal,
            half(proposal.encoding, why="no case was kept back to choose on"),
            data_digest=site.cases.cohort.digest(),
            learned=how,
            rows={},
        )
        training.give_kept(kept)
    return model
