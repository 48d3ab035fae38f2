"""A federation on several hosts, put together: what the coordinator drives, and what a site serves with.

The order is that of a simulation: facts, agreement on one plan, rounds, evaluation in counts. What is agreed
is written down before the first round, so that going on never agrees on something else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hounsfield.core.errors import BadInput, HounsfieldError
from hounsfield.core.plan import Plan
from hounsfield.federation.flower import Grid
from hounsfield.federation.messages import ask_facts
from hounsfield.io.files import write_json, write_text

if TYPE_CHECKING:
    from hounsfield.federation.consent import Standing
    from hounsfield.federation.facts import SiteFacts
    from hounsfield.federation.proposal import Proposal
    from hounsfield.steps.gather import Question

__all__ = ["drive", "serve_site"]

Told = Callable[[str], None]

PROPOSAL, FACTS = "proposal.json", "facts.json"


def drive(
    grid: Grid, plan: Plan, folder: Path, *, names: Mapping[int, str], resume: bool, told: Told
) -> None:
    """Drive a run from the sites' facts to the last round; `folder` keeps all that going on needs.

    Raises HounsfieldError, naming the sites, where too few take part.
    """
    from hounsfield.federation.finish import finish
    from hounsfield.federation.local_training import first_weights
    from hounsfield.federation.rounds import Rounds

    proposal = _kept_proposal(folder) if resume else None
    if proposal is None:
        proposal = _agreed(grid, plan, folder, names=names, told=told)
    secure = _secure(proposal)
    rounds = Rounds(grid, proposal, folder, names=names, told=told, secure=secure)
    ended = rounds.run(first_weights(proposal.plan, proposal.encoding), resume=resume)
    nodes = rounds.propose()
    finish(
        grid, proposal, ended, folder,
        names=names, nodes=nodes, told=told, secure=secure, phantom=_only_phantoms(folder),
    )  # fmt: skip


def serve_site(
    folder: Path,
    data: str,
    question: Question,
    *,
    decided: Callable[[Proposal], Standing],
    keep_sent: bool = False,
    stop: threading.Event,
    told: Told,
) -> None:
    """Be a site, with the key, rules and log of `folder` and the cases of `data`, until `stop` is set.

    `decided` says whether people agreed to a plan, and shows it to them. With `keep_sent` what leaves is also
    kept, byte for byte.

    Raises BadInput for data or labels that cannot be used, and where the coordinator does not take the site.
    """
    from hounsfield.federation.audit_log import NAME, AuditLog
    from hounsfield.federation.connection import Connection
    from hounsfield.federation.keys import fingerprint, load_key
    from hounsfield.federation.node import Node
    from hounsfield.federation.party_folder import alone
    from hounsfield.federation.policy import Guard, Policy
    from hounsfield.federation.site import Site
    from hounsfield.federation.site_cases import of_folder

    key, server = load_key(folder), _server(folder)
    policy = Policy.read(folder / "policy.json")
    with alone(folder):
        log = AuditLog(folder / NAME)
        connection = Connection(
            server,
            folder / "ca.crt",
            key,
            told=told,
            stop=stop,
            log_head=lambda: log.head,
            keep=folder / "sent" if keep_sent else None,
        )
        own = fingerprint(key.public_key())
        cases = of_folder(data, question, folder / "cache", name=own)
        told(f"{cases.patients} patients to learn from; fingerprint {own}")
        site = Site(cases, folder / "work")
        guard = Guard(_masking(site.answer), folder, policy=policy, patients=cases.patients, decided=decided)
        Node(connection, guard, log, stop=stop, told=told).serve()


def _agreed(grid: Grid, plan: Plan, folder: Path, *, names: Mapping[int, str], told: Told) -> Proposal:
    """Ask the sites for their facts and settle on one plan, which is written down."""
    from hounsfield.federation.agreement import agreed

    facts = _facts(grid, plan, names=names, told=told)
    agreement = agreed(facts, plan=plan)
    for name, why in agreement.refused.items():
        told(f"{name} cannot take part: {why}")
    for note in agreement.notes:
        told(note)
    write_json(folder / FACTS, {name: json.loads(told_.to_json()) for name, told_ in facts.items()})
    write_text(folder / PROPOSAL, agreement.proposal.to_json())
    told(f"the plan's hash is {agreement.proposal.hash}")
    return agreement.proposal


def _facts(grid: Grid, plan: Plan, *, names: Mapping[int, str], told: Told) -> dict[str, SiteFacts]:
    from hounsfield.federation.facts import facts_in

    asks = [
        ask_facts(node, smallest_n=plan.federation.smallest_n)
        for node in sorted(grid.get_node_ids())
        if node in names
    ]
    answers = grid.send_and_receive(asks, timeout=60 * plan.federation.round_minutes)
    found, silent = facts_in(answers, names)
    why = [f"{name} tells no facts: {fault}" for name, fault in silent.items()]
    for sentence in why:
        told(sentence)
    if len(found) < plan.federation.smallest_sites:
        raise HounsfieldError(
            f"{len(found)} sites told their facts; expected at least {plan.federation.smallest_sites} "
            f"({'; '.join(why) or 'the others did not answer in time'}); mend that, and go on with resume"
        )
    return found


def _only_phantoms(folder: Path) -> bool:
    """Whether every site told that its patients are simulated."""
    place = folder / FACTS
    told = json.loads(place.read_text("utf-8")) if place.is_file() else {}
    return bool(told) and all(facts.get("phantom") is True for facts in told.values())


def _kept_proposal(folder: Path) -> Proposal | None:
    """What was agreed before the run was interrupted; None where it was not that far."""
    from hounsfield.federation.proposal import Proposal

    place = folder / PROPOSAL
    return Proposal.from_json(place.read_text("utf-8")) if place.is_file() else None


def _secure(proposal: Proposal) -> Any:
    """How answers are summed unseen, where the plan wants that."""
    if not proposal.plan.federation.secure_aggregation:
        return None
    from hounsfield.federation.privacy.secure_sum import secure_mean

    return secure_mean


def _masking(answer: Any) -> Any:
    """The site's answers, which it masks where it is asked to."""
    from hounsfield.federation.privacy.secure_sum import masked

    return masked(answer)


def _server(folder: Path) -> str:
    try:
        return str(json.loads((folder / "site.json").read_text("utf-8"))["server"])
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            "this folder is no site's; make one with hu site init, or name its --folder"
        ) from error
