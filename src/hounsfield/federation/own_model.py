"""What a site keeps of a federation: the common model, with its own layers and its own fine-tuning.

It lies in the site's folder as any model of this package does, and never leaves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hounsfield.core.errors import HounsfieldError
from hounsfield.core.model import Calibration, Model, OperatingPoint
from hounsfield.federation.layout import Vector
from hounsfield.io.model_store import write_model
from hounsfield.networks.weights import save_weights
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
    plan, encoding, training = proposal.plan, proposal.encoding, site.training
    epochs = plan.federation.fine_tune_epochs
    with computing(training.threads):
        kept = training.kept()
        own = training.fine_tuned(weights, epochs=epochs) if epochs else weights
        training.layout.give(training.learner.network, own)
        home = site.folder / MODEL
        home.mkdir(parents=True, exist_ok=True)
        save_weights(training.learner.network, home / "member-0.safetensors")
        training.give_kept(kept)
    halves = (0.5,) * encoding.outputs
    point = OperatingPoint(halves, "half", "nothing: one half, since no case was kept back to choose on")
    how = f"by several sites ({plan.federation.strategy})" + (
        f", then {epochs} epochs at this site alone" if epochs else ""
    )
    card = {
        "task": plan.task,
        "application": plan.application or "none",
        "target": ", ".join(encoding.target),
        "network": f"{plan.network.name}, input {'×'.join(map(str, plan.input.size))}",
        "learned": how,
        "plan hash": proposal.hash,
    }
    model = Model(
        home,
        plan,
        encoding,
        ("member-0.safetensors",),
        point,
        Calibration(),
        site.cases.cohort.digest(),
        card,
    )
    write_model(model)
    return model
