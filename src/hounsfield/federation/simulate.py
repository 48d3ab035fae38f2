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
from hounsfield.core.errors import BadInput, GateRefused
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Index
from hounsfield.core.plan import Plan
from hounsfield.core.progress import Progress, Silent
from hounsfield.federation.agreement import Agreement, agreed
from hounsfield.federation.arms import scored_arms
from hounsfield.federation.comparison import SiteResult, results
from hounsfield.federation.facts import facts_in
from hounsfield.federation.grid import InProcessGrid
from hounsfield.federation.kept_rounds import Kept
from hounsfield.federation.local_training import first_weights
from hounsfield.federation.messages import ask_facts
from hounsfield.federation.own_layers import CommonLayers, common_layers
from hounsfield.federation.rounds import Rounds
from hounsfield.federation.site import Site
from hounsfield.federation.site_audit import audited
from hounsfield.federation.site_cases import (
    SiteCases,
    at_two_sites,
    divided,
    looked_at,
    of_folder,
    together,
)
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
    sites' facts within `budget_minutes`).
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
        cases, refused, index, moved = _cases(asked, folder, clock)
        sites = [Site(c, folder.cache / f"site-{k}", threads=available_cores()) for k, c in enumerate(cases)]
        grid = InProcessGrid({number: site.answer for number, site in enumerate(sites, 1)})
        names = {number: site.cases.name for number, site in enumerate(sites, 1)}
        agreement = _agreement(asked, grid, names, folder, clock)
        refused |= agreement.refused
        sites = [site for site in sites if site.cases.name not in agreement.refused]
        grid.sites = {n: grid.sites[n] for n, name in names.items() if name not in agreement.refused}
        names = {n: name for n, name in names.items() if n in grid.sites}
        cohort = together([s.cases for s in sites], agreement.proposal.encoding, agreement.notes)
        warned = _audited(sites, cohort, moved, clock)
        kept, layers, overhead = _rounds(agreement, grid, names, folder, clock)
        with clock.step("compare", f"{len(sites)} sites alone and pooled") as said:
            place = folder.work / "arms"
            place.mkdir(parents=True, exist_ok=True)
            told = _telling(clock, len(sites) + 2)
            scored = scored_arms(sites, agreement.proposal, kept.weights, place, told=told)
            found = results(scored, agreement.proposal.encoding)
            said += [f"{r.name}: {r.verdict}" for r in found]
        run = written(
            folder, sites, scored, found, agreement, kept, layers, index, cohort,
            clock=clock, command=asked.command, refused=refused, audit=warned,
        )  # fmt: skip
    folder.drop_cache()
    return Simulated(run, found, agreement, kept, refused, overhead)


def _cases(
    asked: Asked, folder: RunFolder, clock: Clock
) -> tuple[tuple[SiteCases, ...], dict[str, str], Index, int]:
    """The sites' cases, those that cannot take part, everything that was scanned, and how many patients had
    images at several sites.
    """
    if asked.by and len(asked.sources) != 1:
        raise BadInput(
            f"--by {asked.by} divides one source, and {len(asked.sources)} were given; give one source, or "
            "leave --by out and give one for each site"
        )
    if not asked.by and len(asked.sources) < 2:
        raise BadInput(
            "one source was given without --by; name the column that tells the sites apart, e.g. --by site, "
            "or give a source for each site"
        )
    if asked.by:
        source = next(iter(asked.sources.values()))
        question = replace(
            asked.question, groups=tuple(dict.fromkeys((*asked.question.groups, *_asks(asked.by))))
        )
        looked = looked_at(source, question, folder.cache, progress=clock.progress)
        sites, refused = divided(looked, asked.by, question)
        return sites, refused, looked.index, at_two_sites(looked.cohort.cases, asked.by)
    sites_of, refused = [], {}
    index = Index("", ())
    for number, (name, source) in enumerate(asked.sources.items()):
        question = replace(asked.question, labels=_labels(asked.question.labels, source))
        place = folder.cache / f"source-{number}"
        try:
            site = of_folder(source, question, place, name=name, progress=clock.progress)
        except (BadInput, GateRefused) as error:
            refused[name] = str(error)
            continue
        series = tuple(c.images[0] for c in site.cohort.cases)
        index = replace(index, series=(*index.series, *series))
        sites_of.append(site)
    if len(sites_of) < 2:
        why = "; ".join(f"{name}: {said}" for name, said in refused.items())
        raise BadInput(f"{len(sites_of)} site(s) can take part ({why}); expected at least 2")
    return tuple(sites_of), refused, index, 0


def _asks(by: str) -> tuple[str, ...]:
    """The column that divides, where it is none that is known without asking."""
    from hounsfield.steps.gather import KNOWN_GROUPS

    return () if by in KNOWN_GROUPS else (by,)


def _labels(table: str, source: str) -> str:
    """A site's own label table where it lies in its source, else the common one."""
    own = Path(source) / table
    return str(own) if table and Path(source).is_dir() and own.is_file() else table


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


def _rounds(
    agreement: Agreement, grid: InProcessGrid, names: Mapping[int, str], folder: RunFolder, clock: Clock
) -> tuple[Kept, CommonLayers, float]:
    """The federated weights, FedBN's common layers, and the seconds a round beside the sites' work."""
    proposal = agreement.proposal
    place = folder.work / "rounds"
    place.mkdir(parents=True, exist_ok=True)
    with clock.step("rounds", f"{proposal.plan.federation.strategy}, {len(names)} sites") as said:
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
