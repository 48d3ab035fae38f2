"""What a finished measurement of visits says on the terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hounsfield.pipeline.following import Measured

__all__ = ["measured_object", "say_measured"]


def measured_object(done: Measured) -> dict[str, Any]:
    """A finished measurement as one JSON object: numbers, warnings, and the rows of measurements.csv."""
    evidence = done.evidence
    return {
        "task": "measurement",
        "application": evidence.context["application"],
        "numbers": [
            {
                "name": f.name, "label": f.label, "group": f.group, "value": f.value, "low": f.low,
                "high": f.high, "n": f.n, **({"note": f.note} if f.note else {}),
            }
            for f in evidence.clinical
        ],
        "warnings": [{"name": f.name, "note": f.note} for f in evidence.audit if f.level != "info"],
        "rows": [dict(row) for row in done.followed.rows],
        "seconds": evidence.context["seconds"],
        "report": str(done.report),
        "phantom": evidence.phantom,
    }  # fmt: skip


def say_measured(done: Measured) -> None:
    """The numbers, the warnings, and where the report is."""
    evidence = done.evidence
    click.echo("\n" + evidence.title + (" (PHANTOM, not patients)" if evidence.phantom else ""))
    told = [f for f in evidence.clinical if not f.group]
    width = max([18, *(len(f"{f.name} {f.label}".strip()) for f in told)])
    for f in told:
        click.echo(f"  {f'{f.name} {f.label}'.strip():<{width}} {f.text}")
    for f in evidence.audit:
        if f.level != "info":
            click.echo(f"  ! {f.name}: {f.note}")
    click.echo(f"\nreport: {done.report}")
