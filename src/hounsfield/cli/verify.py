"""hu verify"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hounsfield.cli.options import as_json_option, say_json

if TYPE_CHECKING:
    from hounsfield.steps.signature import Verdict

__all__ = ["verify"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--key",
    default="",
    metavar="FINGERPRINT|FILE",
    help="Who must have signed: a fingerprint (sha256:…) or a public key file.",
)
@click.option(
    "--head",
    default="",
    metavar="DIGEST",
    help="Of a federation's audit log: a digest that another party was told (site_log_head in its log).",
)
@as_json_option
def verify(run: Path, key: str, head: str, as_json: bool) -> None:
    """Check that RUN is as it was signed: the signature and the digest of every file. Says what was changed,
    what is missing and whose key signed; exit code 4 where it does not hold, 3 where nothing was signed.

    Anyone can sign with a key of their own: only --key proves who it was.

    RUN may also be the audit log of a party of a federation, or its folder: then that no line was changed,
    taken out or put in."""
    from hounsfield.cli.verify_log import log_of, verify_log
    from hounsfield.core.errors import BadInput, GateRefused
    from hounsfield.steps.signature import SIGNATURE
    from hounsfield.steps.signature import verify as check
    from hounsfield.steps.signing_key import wanted_fingerprint

    log = log_of(run)
    if log is not None:
        verify_log(log, head=head, as_json=as_json)
        if log == run or not (run / SIGNATURE).exists():
            return
    elif head:
        raise BadInput("--head is a digest of an audit log, and RUN is none and has none; leave it out")
    if not run.is_dir():
        raise BadInput("RUN is not a folder; name the --out of hu train, hu evaluate or hu demo")
    wanted = wanted_fingerprint(key) if key else ""
    verdict = check(run, key=wanted)
    if as_json:
        say_json(_as_object(verdict, wanted))
    else:
        _say(verdict, wanted)
    if not verdict.holds:
        raise GateRefused(f"the signature of {run.name} does not hold; do not rely on these files")


def _as_object(verdict: Verdict, wanted: str) -> dict[str, Any]:
    found = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(verdict).items()}
    fingerprint, time = verdict.first
    first = {"signer": fingerprint, "time": time} if fingerprint else None
    return {"holds": verdict.holds, "signed": True, "key_given": bool(wanted), **found, "first": first}


def _say(verdict: Verdict, wanted: str) -> None:
    from hounsfield.steps.signature import REDRAWN

    if verdict.signer:
        whose = " (your own key)" if verdict.is_own else ""
        click.echo(f"signed by {verdict.signer}{whose}, {verdict.time}")
    fingerprint, time = verdict.first
    if fingerprint:
        click.echo(f"evidence first signed by {fingerprint}, {time}; the report was drawn again since")
    for fault in verdict.faults:
        click.echo(f"! {fault}")
    for name in verdict.rewritten:
        click.echo(f"  written anew by a later step, and signed again: {name}")
    for what, names in (("changed", verdict.changed), ("missing", verdict.missing)):
        for name in names:
            click.echo(f"! {what}: {name}")
    for name in verdict.uncovered:
        click.echo(f"  not covered by the signature: {name}")
    if verdict.apart:
        click.echo(f"  not here, kept with the data: {', '.join(verdict.apart)}")
    click.echo(f"{len(verdict.intact)} files are as they were signed")
    if verdict.changed and not verdict.faults and set(verdict.changed) <= {*REDRAWN}:
        click.echo("the evidence itself is as it was signed: hu report draws the report again and signs it")
    if verdict.holds and not wanted and not verdict.is_own:
        click.echo("whose key this is, only the signer can tell you: compare with --key FINGERPRINT")
