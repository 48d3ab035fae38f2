"""What a deployed run leaves when its rounds are done: the common model, the history, what sites counted.

Every site evaluates the common weights on its own held-back cases and answers with counts, never with a case;
the report is made of those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hounsfield.core.model import Model
from hounsfield.federation.deployed_report import evidence_of
from hounsfield.federation.flower import Grid
from hounsfield.federation.kept_rounds import Kept
from hounsfield.federation.messages import ask_evaluate, counts_of, refusal_of
from hounsfield.federation.privacy.privacy_facts import privacy_facts
from hounsfield.federation.proposal import Proposal
from hounsfield.io.files import write_json

if TYPE_CHECKING:
    from hounsfield.federation.own_layers import CommonLayers
    from hounsfield.federation.rounds import SecureMean

__all__ = ["COUNTS", "ROUNDS", "finish"]

ROUNDS, COUNTS = "rounds.json", "counts.json"


def finish(
    grid: Grid,
    proposal: Proposal,
    ended: Kept,
    folder: Path,
    *,
    names: Mapping[int, str],
    nodes: Sequence[int],
    told: Callable[[str], None] = lambda _: None,
    secure: SecureMean | None = None,
    phantom: bool = False,
) -> Model:
    """Write model, `rounds.json`, `counts.json` and the report into the run's folder; returns the model.

    `secure` sums what of FedBN is asked for at the end, where the plan sums in secret; `phantom` says that
    all patients are simulated.
    """
    from hounsfield.federation.own_layers import common_layers
    from hounsfield.steps.report import report

    layers = common_layers(grid, proposal, ended.round, nodes=nodes, secure=secure)
    if layers.told:
        told(f"normalisation layers: {layers.told}")
    model = _model(proposal, ended, layers, folder, sites=len(nodes), phantom=phantom)
    write_json(folder / ROUNDS, {"plan_hash": ended.plan_hash, "rounds": list(ended.history)})
    counts, silent = _counted(grid, proposal, ended, names=names, nodes=nodes)
    write_json(folder / COUNTS, {"counts": counts, "without": silent})
    report(evidence_of(model, counts, silent, ended.history, weights_bytes=ended.weights.nbytes), (), folder)
    told(f"{ended.round} rounds; {len(counts)} sites evaluated in counts")
    return model


def _counted(
    grid: Grid, proposal: Proposal, ended: Kept, *, names: Mapping[int, str], nodes: Sequence[int]
) -> tuple[dict[str, dict[str, NDArray[Any]]], dict[str, str]]:
    """What each site counted on its held-back cases; and why others told nothing."""
    asks = [ask_evaluate(node, ended.weights, plan_hash=proposal.hash, number=ended.round) for node in nodes]
    minutes = proposal.plan.federation.round_minutes
    counts: dict[str, dict[str, NDArray[Any]]] = {}
    silent = {names[node]: f"it did not answer within {minutes:g} minutes" for node in nodes}
    for answer in grid.send_and_receive(asks, timeout=60 * minutes):
        name, refusal = names[int(answer.metadata.src_node_id)], refusal_of(answer)
        if refusal is None:
            counts[name] = counts_of(answer)
            del silent[name]
        else:
            silent[name] = refusal.sentence
    return counts, silent


def _model(
    proposal: Proposal, ended: Kept, layers: CommonLayers, folder: Path, *, sites: int, phantom: bool
) -> Model:
    """The common model as a directory that `hu predict` reads."""
    from hounsfield.federation.common_model import common_network, half, write_common_model

    plan = proposal.plan
    return write_common_model(
        folder / "model",
        common_network(proposal, ended.weights, layers),
        proposal,
        half(proposal.encoding),
        data_digest=ended.plan_hash[:16],
        learned=f"by {sites} sites in {ended.round} rounds ({plan.federation.strategy})",
        rows={
            **privacy_facts(plan.federation),
            **layers.row,
            **({"phantom": "yes"} if phantom else {}),
        },
    )
