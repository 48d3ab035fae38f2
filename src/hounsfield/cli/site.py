"""hu site: a hospital's part in a federation"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hounsfield.cli.options import question_of, question_options

if TYPE_CHECKING:
    from hounsfield.federation.consent import Consent, Standing
    from hounsfield.federation.proposal import Proposal

__all__ = ["site"]

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("site"),
    show_default=True,
    help="The site's own folder: its key, its rules, its log.",
)


@click.group()
def site() -> None:
    """Take part in a federation: hu site init, tell the coordinator the fingerprint, hu site start.

    Images and labels stay here. What leaves is listed in audit.jsonl of the site's folder before it does."""


@site.command()
@click.option(
    "--server", required=True, metavar="HOST:PORT", help="The coordinator, as its certificate names it."
)
@click.option("--ca", required=True, type=click.Path(path_type=Path), help="The coordinator's ca.crt.")
@folder_option
def init(server: str, ca: Path, folder: Path) -> None:
    """Make this site's key and print the fingerprint to tell whoever runs the coordinator."""
    from dataclasses import asdict

    from hounsfield.federation.keys import fingerprint, make_key, require_valid
    from hounsfield.federation.policy import Policy
    from hounsfield.io.files import write_bytes, write_json

    _require_address(server)
    require_valid(ca)
    key = make_key(folder)
    write_bytes(folder / "ca.crt", ca.read_bytes())
    write_json(folder / "site.json", {"server": server})
    if not (folder / "policy.json").exists():
        write_json(folder / "policy.json", asdict(Policy()))
    click.echo("made a key; tell whoever runs the coordinator this fingerprint, by telephone or in person:")
    click.echo(fingerprint(key.public_key()))
    click.echo("rules of this site can be set in policy.json; then: hu site start --data FOLDER --labels CSV")


@site.command()
@click.option("--data", required=True, metavar="FOLDER", help="The images of this site.")
@folder_option
@question_options
@click.option(
    "--accept",
    multiple=True,
    metavar="HASH",
    help="A plan agreed to beforehand, by its hash; otherwise it is shown and asked for.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the split.")
@click.option("--keep-sent", is_flag=True, help="Keep every answer in sent/, byte for byte as it left.")
def start(data: str, folder: Path, accept: tuple[str, ...], keep_sent: bool, **question: Any) -> None:
    """Wait for the coordinator's plan, show it, and learn from the images in --data if it is agreed to.

    Runs until Ctrl-C. Only the installed package runs; the coordinator cannot send code."""
    from hounsfield.federation.consent import Consent
    from hounsfield.federation.deployed import serve_site
    from hounsfield.steps.stop import listening

    consent = Consent(folder, beforehand=accept)
    with listening() as stop:
        serve_site(
            folder,
            data,
            question_of(question),
            decided=_Decision(consent),
            keep_sent=keep_sent,
            stop=stop.event,
            told=click.echo,
        )


@site.command()
@click.argument("hash", metavar="HASH")
@folder_option
@click.option("--decline", is_flag=True, help="Do not take part in this plan.")
def accept(hash: str, folder: Path, decline: bool) -> None:
    """Agree to the plan with this HASH, which hu site start has shown; 12 of its digits or more."""
    from hounsfield.federation.consent import Consent

    Consent(folder).decide(hash, agreed=not decline)
    click.echo(f"this site {'declines' if decline else 'takes part in'} plan {hash}")


class _Decision:
    """Shows each plan once, and asks whoever is at the terminal while the site goes on."""

    def __init__(self, consent: Consent) -> None:
        self._consent, self._shown = consent, ""

    def __call__(self, proposal: Proposal) -> Standing:
        standing = self._consent.of(proposal)
        if standing == "open" and proposal.hash != self._shown:
            self._shown = proposal.hash
            self._consent.show(proposal)
            click.echo("\nThe coordinator proposes this plan:")
            click.echo(proposal.plan.to_json())
            click.echo(f"answers to be learned: {', '.join(proposal.encoding.classes)}")
            click.echo(f"to agree or decline: hu site accept {proposal.hash[:16]} [--decline]")
            if sys.stdin.isatty():
                threading.Thread(target=self._ask, args=(proposal,), daemon=True).start()
        return standing

    def _ask(self, proposal: Proposal) -> None:
        agreed = click.confirm("Take part in this plan, and in no other?", default=False)
        self._consent.decide(proposal.hash, agreed=agreed)


def _require_address(server: str) -> None:
    from hounsfield.core.errors import BadInput

    host, colon, port = server.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536) or "/" in server:
        raise BadInput("--server is not HOST:PORT; expected e.g. federation.example.org:9092")
