"""One call for research: a cohort divided into sites, trained alone, pooled and federated, in one report.

The sites lie in one process and answer the same messages as hospitals do; only the grid is another.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.plan import Plan
from hounsfield.core.progress import Progress, Silent
from hounsfield.federation.agreement import Agreement, agreed
from hounsfield.federation.arms import WITHOUT_BUDGET, Scored, scored_arms, with_arm
from hounsfield.federation.comparison import SiteResult, results
from hounsfield.federation.facts import facts_in
from hounsfield.federation.grid import InProcessGrid
from hounsfield.federation.kept_rounds import Kept
from hounsfield.federation.local_training import first_weights
from hounsfield.federation.messages import ask_facts
from hounsfield.federation.own_layers import CommonLayers, common_layers
from hounsfield.federation.proposal import Proposal
from hounsfield.federation.rounds import Rounds
from hounsfield.federation.site import Site
from hounsfield.federation.site_audit import audited
from hounsfield.federation.site_cases import together
from hounsfield.federation.sources import divided_sources
from hounsfield.federation.written import written
from hounsfield.steps.compute import available_cores
from hounsfield.steps.gather import Question
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.study import Clock, Run

__all__ = ["Asked", "Simulated", "simulate"]


@dataclass(frozen=True)
class Asked:
    """A simulation: sources by the site's name, or one source divided `by` a group column.

    `changes` are dotted keys of the plan, `plan` one that was made already (else it is designed from the
    sites' facts within `budget_minutes`). With `without_budget` the same federation is trained once more
    without its budget of privacy, so that the report says what that cost.
    """

    sources: Mapping[str, str]
    out: Path
    by: str = ""
    question: Question = field(default_factory=Question)
    plan: Plan | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    budget_minutes: float = 8.0
    resume: bool = False
    command: str = ""
    without_budget: bool = False


@dataclass(frozen=True)
class Simulated:
    """What a simulation left: the run with its report, each site's result (the worst first), the rounds."""

    run: Run
    sites: tuple[SiteResult, ...]
    agreement: Agreement
    rounds: Kept
    refused: dict[str, str]
    overhead_s: float


def simulate(asked: Asked, *, progress: Progress | None = None) -> Simulated:
    """Divide, agree, train in rounds, train the arms beside it, compare, report.

    Raises BadInput for what cannot be used. Interrupted at any moment it goes on with `resume`.
    """
    clock = Clock(progress or Silent())
    folder = RunFolder(asked.out)
    with folder.opened(resume=asked.resume):
        split = divided_sources(asked.sources, asked.by, asked.question, folder.cache, clock)
        refused = dict(split.refused)
        sites = [
            Site(c, folder.cache / f"site-{k}", threads=available_cores()) for k, c in enumerate(split.sites)
        ]
        grid = InProcessGrid({number: site.answer for number, site in enumerate(sites, 1)})
        names = {number: site.cases.name for number, site in enumerate(sites, 1)}
        agreement = _agreement(asked, grid, names, folder, clock)
        refused |= agreement.refused
        sites = [site for site in sites if site.cases.name not in agreement.refused]
        grid.sites = {n: grid.sites[n] for n, name in names.items() if name not in agreement.refused}
        names = {n: name for n, name in names.items() if n in grid.sites}
        cohort = together([s.cases for s in sites], agreement.proposal.encoding, agreement.notes)
        warned = _audited(sites, cohort, split.moved, clock)
        kept, layers, overhead = _rounds(agreement.proposal, grid, names, folder.work / "rounds", clock)
        scored, found = _compared(asked, sites, agreement.proposal, kept, folder, clock)
        run = written(
            folder, sites, scored, found, agreement, kept, layers, split.index, cohort,
            clock=clock, command=asked.command, refused=refused, audit=warned,
        )  # fmt: skip
    folder.drop_cache()
    return Simulated(run, found, agreement, kept, refused, overhead)


def _agreement(
    asked: Asked, grid: InProcessGrid, names: Mapping[int, str], folder: RunFolder, clock: Clock
) -> Agreement:
    """The common plan, from what the sites tell; of an interrupted run the one that it began with."""
    with clock.step("agree", f"{len(names)} sites") as said:
        smallest = int(asked.changes.get("federation.smallest_n", _federation(asked.plan).smallest_n))
        asks = [ask_facts(node, smallest_n=smallest) for node in names]
        facts, refused = facts_in(grid.send_and_receive(asks), names)
        if len(facts) < 2:
            why = "; ".join(f"{name}: {said}" for name, said in refused.items())
            raise BadInput(f"{len(facts)} site(s) can take part ({why}); expected at least 2")
        found = agreed(
            facts, plan=asked.plan, changes=asked.changes, classes=asked.question.classes,
            seed=asked.question.seed, budget_minutes=asked.budget_minutes,
        )  # fmt: skip
        found = replace(found, refused={**found.refused, **refused})
        if asked.without_budget and not found.proposal.plan.federation.private:
            raise BadInput(
                "the arm without a budget was asked for, and the plan has none; set one, e.g. "
                "federation.epsilon=8, or leave --without-budget out"
            )
        folder.keep_plan(found.proposal.plan)
        data = "-".join(sorted(f"{name}:{f.fingerprint.n}" for name, f in facts.items()))
        folder.require_same(found.proposal.hash, hashlib.sha256(data.encode()).hexdigest()[:16])
        said += [*found.notes, *(f"{name} left out: {why}" for name, why in found.refused.items())]
    return found


def _federation(plan: Plan | None) -> Any:
    return (plan or Plan()).federation


def _audited(sites: list[Site], cohort: Cohort, moved: int, clock: Clock) -> tuple[Finding, ...]:
    """What is to be known of the data, at each site and between them."""
    with clock.step("audit", f"{len(sites)} sites, each and between them") as said:
        found = audited([s.cases for s in sites], cohort, moved=moved)
        names = dict.fromkeys(f.name for f in found if f.level != "info")
        said.append(f"warnings: {', '.join(names) or 'none'}")
    return found


def _compared(
    asked: Asked, sites: list[Site], proposal: Proposal, kept: Kept, folder: RunFolder, clock: Clock
) -> tuple[tuple[Scored, ...], tuple[SiteResult, ...]]:
    """Every site's test cases under each arm, and what that shows."""
    with clock.step("arms", f"{len(sites)} sites alone and pooled"):
        place = folder.work / "arms"
        place.mkdir(parents=True, exist_ok=True)
        told = _telling(clock, len(sites) + 2)
        scored = scored_arms(sites, proposal, kept.weights, place, told=told)
    if asked.without_budget:
        scored = _without_budget(scored, sites, proposal, folder, clock)
    with clock.step("compare") as said:
        found = results(scored, proposal.encoding)
        said += [f"{r.name}: {r.verdict}" for r in found]
    return scored, found


def _without_budget(
    scored: tuple[Scored, ...], sites: list[Site], proposal: Proposal, folder: RunFolder, clock: Clock
) -> tuple[Scored, ...]:
    """The same test cases scored by the same federation without its budget too."""
    plan = proposal.plan.changed({"federation.epsilon": 0.0})
    freely = replace(proposal, plan=plan)
    twins = [Site(site.cases, site.folder, threads=site.threads) for site in sites]
    grid = InProcessGrid({number: site.answer for number, site in enumerate(twins, 1)})
    names = {number: site.cases.name for number, site in enumerate(twins, 1)}
    kept, _, _ = _rounds(freely, grid, names, folder.work / "rounds-without-budget", clock)
    return with_arm(scored, WITHOUT_BUDGET, twins, freely, kept.weights)


def _rounds(
    proposal: Proposal, grid: InProcessGrid, names: Mapping[int, str], place: Path, clock: Clock
) -> tuple[Kept, CommonLayers, float]:
    """The federated weights, FedBN's common layers, and the seconds a round beside the sites' work."""
    place.mkdir(parents=True, exist_ok=True)
    federation = proposal.plan.federation
    budget = f", epsilon {federation.epsilon:g}" if federation.private else ""
    with clock.step(place.name, f"{federation.strategy}, {len(names)} sites{budget}") as said:
        told = _telling(clock, proposal.plan.federation.rounds)
        secure = None
        if proposal.plan.federation.secure_aggregation:
            from hounsfield.federation.privacy.masked_site import masked
            from hounsfield.federation.privacy.secure_sum import secure_mean

            secure, grid.sites = secure_mean, {n: masked(answer) for n, answer in grid.sites.items()}
        rounds = Rounds(grid, proposal, place, names=names, told=told, secure=secure)
        nodes = rounds.propose()  # sites of a run whose rounds are done already must know the plan as well
        began, within = time.perf_counter(), grid.seconds
        kept = rounds.run(first_weights(proposal.plan, proposal.encoding), resume=True)
        spent = time.perf_counter() - began - (grid.seconds - within)
        overhead = spent / max(1, proposal.plan.federation.rounds)
        layers = common_layers(grid, proposal, kept.round, nodes=nodes, secure=secure)
        said.append(f"{kept.round} rounds, {overhead:.3f} s a round beside the sites' own work")
    return kept, layers, overhead


def _telling(clock: Clock, total: int) -> Callable[[str], None]:
    done = 0

    def tell(note: str) -> None:
        nonlocal done
        done += 1
        clock.progress.advance(min(done, total), total, note)

    return tell
