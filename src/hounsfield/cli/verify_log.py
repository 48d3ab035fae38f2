"""hu verify, of the audit logs that the parties of a federation keep"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hounsfield.cli.options import say_json

if TYPE_CHECKING:
    from hounsfield.federation.audit_log import Checked

__all__ = ["log_of", "verify_log"]


def log_of(run: Path) -> Path | None:
    """The audit log that RUN is, or that lies in it; None where there is none."""
    from hounsfield.federation.audit_log import NAME

    if run.is_file() and run.suffix == ".jsonl":
        return run
    return run / NAME if (run / NAME).is_file() else None


def verify_log(log: Path, *, head: str, as_json: bool) -> None:
    """Check a log and say what was found; GateRefused where it does not hold."""
    from hounsfield.core.errors import GateRefused
    from hounsfield.federation.audit_log import check

    found = check(log, head=head)
    if as_json:
        say_json({"log": {"holds": found.holds, **asdict(found)}})
    else:
        _say(found, head)
    if not found.holds:
        raise GateRefused(f"the audit log does not hold: {found.faults[0]}; do not rely on it")


def _say(found: Checked, head: str) -> None:
    for fault in found.faults:
        click.echo(f"! {fault}")
    click.echo(f"audit log: {found.lines} lines, the last is {found.head}")
    if found.holds and not head:
        click.echo(
            "whether its end was cut off, only another party's log can tell: compare with --head DIGEST"
        )
