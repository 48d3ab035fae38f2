"""What a deployed run leaves when its rounds are done: the common model, the history, the sites' counts.

Every site evaluates the common weights on its own held-back cases and answers with counts, never with a case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hounsfield.core.model import Calibration, Model, OperatingPoint
from hounsfield.federation.flower import Grid
from hounsfield.federation.kept_rounds import Kept
from hounsfield.federation.messages import ask_evaluate, counts_of, metrics_of, refusal_of
from hounsfield.federation.proposal import Proposal
from hounsfield.io.files import write_json

__all__ = ["EVALUATION", "ROUNDS", "finish"]

ROUNDS, EVALUATION = "rounds.json", "evaluation.json"


def finish(
    grid: Grid,
    proposal: Proposal,
    ended: Kept,
    folder: Path,
    *,
    names: Mapping[int, str],
    nodes: Sequence[int],
    told: Callable[[str], None] = lambda _: None,
) -> Model:
    """Write `model/`, `rounds.json` and `evaluation.json` into the run's folder; returns the model."""
    model = _model(proposal, ended, folder, sites=len(nodes))
    write_json(folder / ROUNDS, {"plan_hash": ended.plan_hash, "rounds": list(ended.history)})
    asks = [ask_evaluate(node, ended.weights, plan_hash=proposal.hash, number=ended.round) for node in nodes]
    minutes = proposal.plan.federation.round_minutes
    found: dict[str, dict[str, Any]] = {}
    for answer in grid.send_and_receive(asks, timeout=60 * minutes):
        name = names.get(int(answer.metadata.src_node_id), "")
        refusal = refusal_of(answer)
        if refusal is not None:
            found[name] = {"refused": refusal.sentence}
            continue
        counts = {key: value.tolist() for key, value in counts_of(answer).items()}
        found[name] = {"cases": int(metrics_of(answer).get("num-examples", 0)), "counts": counts}
    for node in nodes:
        found.setdefault(names[node], {"refused": f"did not answer within {minutes:g} minutes"})
    write_json(folder / EVALUATION, found)
    told(f"{ended.round} rounds; {sum('counts' in f for f in found.values())} sites evaluated in counts")
    return model


def _model(proposal: Proposal, ended: Kept, folder: Path, *, sites: int) -> Model:
    """The common model as a directory that `hu predict` reads; under FedBN with normalisation as it began."""
    from hounsfield.federation.local_training import layout_of
    from hounsfield.io.model_store import write_model
    from hounsfield.networks.weights import save_weights
    from hounsfield.steps.learner import network_of_plan

    plan, encoding = proposal.plan, proposal.encoding
    network = network_of_plan(plan, encoding.outputs, seed=plan.seed)
    layout_of(plan, network).give(network, ended.weights)
    home = folder / "model"
    home.mkdir(parents=True, exist_ok=True)
    save_weights(network, home / "member-0.safetensors")
    halves = (0.5,) * encoding.outputs
    point = OperatingPoint(halves, "half", "nothing: one half, since no site keeps cases back to choose on")
    card = {
        "task": plan.task,
        "application": plan.application or "none",
        "target": ", ".join(encoding.target),
        "network": f"{plan.network.name}, input {'×'.join(map(str, plan.input.size))}",
        "learned": f"by {sites} sites in {ended.round} rounds ({plan.federation.strategy})",
        "plan hash": proposal.hash,
    }
    model = Model(
        home, plan, encoding, ("member-0.safetensors",), point, Calibration(), ended.plan_hash[:16], card
    )
    write_model(model)
    return model
