"""hu federate"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hounsfield.cli.options import as_json_option, changes_of, question_of, question_options, say_json
from hounsfield.cli.progress import progress_for

if TYPE_CHECKING:
    from hounsfield.federation.simulate import Simulated
    from hounsfield.metrics.intervals import Estimate

__all__ = ["federate", "simulate"]

_DEPLOYED = ("serve", "approve", "run", "resume", "status")
_STRATEGIES = ("fedavg", "fedprox", "fedadam", "fedbn", "scaffold")


class _Group(click.Group):
    """Knows the commands of a deployment by name; they are imported when one of them is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_DEPLOYED})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in _DEPLOYED:
            command = getattr(import_module("hounsfield.cli.federate_deploy"), name)
            return command if isinstance(command, click.Command) else None
        return super().get_command(ctx, name)


@click.group(cls=_Group)
def federate() -> None:
    """Train one model with several sites, none of which shows a patient to another: simulate it on one
    machine, or coordinate hospitals (serve, approve, run, resume, status; a hospital runs hu site)."""


@federate.command()
@click.argument("words", nargs=-1, required=True, metavar="SOURCE... [KEY=VALUE]...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run; must be new.")
@click.option("--by", default="", metavar="COLUMN", help="Column that tells the sites of one SOURCE apart.")
@question_options
@click.option(
    "--rounds", type=click.IntRange(1), default=None, help="Rounds of training  [the plan's, or 20]"
)
@click.option("--strategy", type=click.Choice(_STRATEGIES), default=None, help="[the plan's, or fedavg]")
@click.option("--plan", default="", metavar="NAME|FILE", help="A named plan, or a plan.json.")
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), default=8.0, metavar="MINUTES", show_default=True,
    help="Time for which a plan that is designed here is meant.",
)  # fmt: skip
@click.option(
    "--test-fraction", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=None,
    help="Share of each site's patients held back  [0.2, or the split that the data brings]",
)  # fmt: skip
@click.option("--resplit", is_flag=True, help="Ignore the split that the data brings.")
@click.option("--seed", type=click.IntRange(0), default=None, help="Seed of split, weights and augmentation.")
@click.option(
    "--without-budget", is_flag=True,
    help="Train the same federation once more without federation.epsilon, and report what that cost.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with an interrupted run in --out.")
@as_json_option
def simulate(words: tuple[str, ...], out: Path, by: str, as_json: bool, **given: Any) -> None:
    """Train the same plan at each site alone, on all cases in one place, and federated, and report what each
    site gains or loses. Sites are the values of a column of one SOURCE (--by site), or one SOURCE each.
    KEY=VALUE changes the plan, e.g. federation.mu=0.1 federation.epsilon=8."""
    from hounsfield.cli.train import recorded
    from hounsfield.face import read_plan
    from hounsfield.federation.simulate import Asked
    from hounsfield.federation.simulate import simulate as run_simulation

    sources = [w for w in words if "=" not in w or Path(w).exists()]
    changes = changes_of(tuple(w for w in words if w not in sources))
    named = {
        "federation.rounds": given["rounds"],
        "federation.strategy": given["strategy"],
        "seed": given["seed"],
    }
    changes = {**{k: v for k, v in named.items() if v is not None}, **changes}
    asked = Asked(
        sources=named_sources(sources),
        out=out,
        by=by,
        question=question_of({**given, "seed": given["seed"] or 0}),
        plan=read_plan(given["plan"]) if given["plan"] else None,
        changes=changes,
        budget_minutes=given["budget"],
        resume=given["resume"],
        command=recorded(sys.argv[1:]),
        without_budget=given["without_budget"],
    )
    found = run_simulation(asked, progress=progress_for())
    if as_json:
        say_json(as_object(found))
    else:
        _say(found)


def named_sources(sources: list[str]) -> dict[str, str]:
    """Sources by the names of their folders or files; of equal names a number tells them apart.

    >>> named_sources(["a/kiel", "b/kiel", "ulm.zip"])
    {'kiel': 'a/kiel', 'kiel 2': 'b/kiel', 'ulm': 'ulm.zip'}
    """
    found: dict[str, str] = {}
    for source in sources:
        stem, number = Path(source).resolve().stem, 1
        name = stem
        while name in found:
            number += 1
            name = f"{stem} {number}"
        found[name] = source
    return found


def as_object(found: Simulated) -> dict[str, Any]:
    """What a simulation found, for --json: the sites in order, the worst first."""
    return {
        "run": str(found.run.folder),
        "report": str(found.run.report),
        "plan_hash": found.agreement.proposal.hash,
        "rounds": found.rounds.round,
        "refused": found.refused,
        "phantom": found.run.evidence.phantom,
        "warnings": [
            {"finding": f.name, "of": f.group, "note": f.note}
            for f in found.run.evidence.audit
            if f.level != "info"
        ],
        "overhead_seconds_per_round": found.overhead_s,
        "weights_bytes": found.rounds.weights.nbytes,
        "sites": [
            {
                "site": r.name,
                "learned_from": r.learned_from,
                "auroc": {
                    arm: _number(estimate) for arm, estimate in r.arms.items()
                },
                "gain": {
                    "value": r.gain.difference.value, "low": r.gain.difference.low,
                    "high": r.gain.difference.high, "p": r.gain.p_value,
                },
                "shown": r.verdict,
                "change_by_budget": None if r.by_budget is None else _number(r.by_budget.difference),
            }
            for r in found.sites
        ],
    }  # fmt: skip


def _number(e: Estimate) -> dict[str, Any]:
    return {"value": e.value, "low": e.low, "high": e.high, "n": e.n, "reason": e.reason}


def _say(found: Simulated) -> None:
    """A table of the sites, the worst first, and where the report lies."""
    from rich.console import Console
    from rich.table import Table

    arms = list(dict.fromkeys(arm for r in found.sites for arm in r.arms))
    table = Table("site", "learned from", *(f"AUROC {arm}" for arm in arms), "beside its own model")
    for r in found.sites:
        numbers = [
            f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})"
            if e.value is not None and e.low is not None and e.high is not None
            else "too few cases"
            for e in (r.arms[arm] for arm in arms)
        ]
        table.add_row(r.name, str(r.learned_from), *numbers, r.verdict)
    console, evidence = Console(), found.run.evidence
    if evidence.phantom:
        console.print("PHANTOM, not patients")
    console.print(table)
    for f in evidence.audit:
        if f.level != "info":
            where = f" ({f.group})" if f.group else ""
            console.print(f"! {f.name.replace('_', ' ')}{where}: {f.note}", markup=False)
    console.print(f"report: {found.run.report}", markup=False)
