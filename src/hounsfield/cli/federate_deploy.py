"""hu federate serve, approve, run, resume, status: the coordinator of a federation on several hosts"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hounsfield.cli.options import as_json_option, changes_of, say_json

if TYPE_CHECKING:
    from hounsfield.federation.desk import Status

__all__ = ["approve", "resume", "run", "serve", "status"]

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("coordinator"),
    show_default=True,
    help="The coordinator's own folder: approvals, certificate, log, runs.",
)


@click.command()
@folder_option
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9092, show_default=True, help="Port; 0: any.")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="HOST",
    help="Name or address by which sites reach this host, for the certificate; may be repeated.",
)
@click.option("--certificate", type=click.Path(path_type=Path), help="Server certificate, PEM  [one is made]")
@click.option("--key", type=click.Path(path_type=Path), help="Its private key, PEM.")
def serve(
    folder: Path, host: str, port: int, names: tuple[str, ...], certificate: Path | None, key: Path | None
) -> None:
    """Let approved sites in over TLS, and drive the runs that are ordered with hu federate run.

    Give the sites ca.crt of the folder. Only the sites' requests are answered on the port: nothing can be
    begun, listed or registered over the network; orders and approvals go through the folder."""
    from hounsfield.core.errors import BadInput
    from hounsfield.federation.coordinator import Coordinator
    from hounsfield.federation.deployed import drive
    from hounsfield.steps.stop import listening

    if (certificate is None) != (key is None):
        raise BadInput("--certificate and --key belong together; give both, or none to have them made")
    if (
        certificate is None
        and not names
        and host in ("0.0.0.0", "::")
        and not (folder / "server.crt").exists()
    ):
        raise BadInput("the certificate needs the name by which sites reach this host; give --name HOST")
    coordinator = Coordinator(
        folder,
        drive,
        host=host,
        port=port,
        names=names,
        certificate=certificate,
        key=key,
        told=_say_with_time,
    )
    with listening() as stop:
        coordinator.serve(stop.event)


@click.command()
@click.argument("fingerprint")
@folder_option
@click.option("--name", default="", help="What the site is called in reports and logs.")
@click.option("--revoke", is_flag=True, help="Take the approval back; the site is shut out at once.")
def approve(fingerprint: str, folder: Path, name: str, revoke: bool) -> None:
    """Let the site with this FINGERPRINT in. Compare it with what the site reads out: it is the only proof of
    who asks."""
    from hounsfield.federation.approved import Approved
    from hounsfield.federation.audit_log import NAME, AuditLog
    from hounsfield.federation.desk import APPROVED

    sites, log = Approved(folder / APPROVED), AuditLog(folder / NAME)
    if revoke:
        done = sites.revoke(fingerprint)
        log.write("revoked", fingerprint=done.fingerprint, site=done.name)
        click.echo(f"{done.name} is shut out")
        return
    done = sites.approve(fingerprint, name)
    log.write("approved", fingerprint=done.fingerprint, site=done.name)
    click.echo(f"{done.name} may come in")


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@folder_option
@click.option("--name", default="", help="Name of the run  [the time]")
@click.option("--detach", is_flag=True, help="Return at once; hu federate status says how it goes.")
def run(plan: Path, changes: tuple[str, ...], folder: Path, name: str, detach: bool) -> None:
    """Order a run of PLAN (a plan.json with a federation section) and follow it to its end."""
    from hounsfield.core.errors import BadInput
    from hounsfield.core.plan import Plan
    from hounsfield.federation.desk import Order, Status, leave_order, run_folder
    from hounsfield.federation.party_folder import is_held
    from hounsfield.io.files import write_text

    if not plan.is_file():
        raise BadInput("PLAN is not a file; name a plan.json, as hu train writes one")
    asked = Plan.from_json(plan.read_text("utf-8"))
    if changes:
        asked = asked.changed(changes_of(changes))
    if not asked.federation.on:
        raise BadInput('the plan is for one site; set federation.strategy, e.g. federation.strategy="fedavg"')
    if is_held(folder) and Status.read(folder).run.on:
        raise BadInput("a run is going on; wait for it: hu federate status")
    name = name or datetime.now(UTC).strftime("run-%Y%m%d-%H%M%S")
    place = run_folder(folder, name)
    if place.exists():
        raise BadInput(
            f'there is a run "{name}" already; go on with it by hu federate resume, or give another --name'
        )
    if is_held(folder):
        write_text(place / "plan.json", asked.to_json())
    before = Status.read(folder).run.order
    leave_order(folder, Order("run", name))
    click.echo(f"ordered run {name}")
    if not detach:
        _follow(folder, before)


@click.command()
@folder_option
@click.option("--name", default="", help="Name of the run  [the last one]")
@click.option("--detach", is_flag=True, help="Return at once; hu federate status says how it goes.")
def resume(folder: Path, name: str, detach: bool) -> None:
    """Go on with a run that was interrupted or failed, from the checkpoint of its last round."""
    from hounsfield.core.errors import BadInput
    from hounsfield.federation.desk import Order, Status, leave_order, run_folder

    last = Status.read(folder).run
    name = name or last.name
    if not name or not (run_folder(folder, name) / "plan.json").is_file():
        raise BadInput("there is no such run to go on with; hu federate status shows the last one")
    if name == last.name and last.state == "finished":
        raise BadInput(f'run "{name}" is finished; there is nothing to go on with')
    leave_order(folder, Order("resume", name))
    click.echo(f"going on with run {name}")
    if not detach:
        _follow(folder, last.order)


@click.command()
@folder_option
@as_json_option
def status(folder: Path, as_json: bool) -> None:
    """Say who is there, who asks to be let in, and how the run goes."""
    from dataclasses import asdict

    from hounsfield.federation.desk import Status
    from hounsfield.federation.party_folder import is_held

    found, served = Status.read(folder), is_held(folder)
    if as_json:
        say_json({"served": served, **asdict(found)})
        return
    click.echo(
        f"listening on {found.host}:{found.port}" if served else "no coordinator serves this folder now"
    )
    for site in found.sites:
        state = site["state"] if served or site["state"] == "revoked" else "unknown"
        click.echo(f"  {site['name']:<24} {state:<8} {site['fingerprint']}")
    for knock in found.knocks if served else ():
        click.echo(f"  asks to be let in                 {knock['fingerprint']}")
    _say_run(found)


def _follow(folder: Path, before: int) -> None:
    """Say each change of the run that follows the order after `before`, until it ends.

    Raises Interrupted where the coordinator ends, GateRefused where the run fails.
    """
    from hounsfield.core.errors import GateRefused, Interrupted
    from hounsfield.federation.desk import Status
    from hounsfield.federation.party_folder import is_held

    said = ""
    while True:
        served, found = is_held(folder), Status.read(folder).run
        if found.order > before:
            if (note := f"{found.state}: {found.note}") != said:
                said = note
                click.echo(note)
            if found.state == "finished":
                return
            if found.state == "failed":
                raise GateRefused(f"the run did not finish: {found.note}; hu federate resume goes on with it")
        if not served:
            raise Interrupted("the coordinator ended; begin hu federate serve again, then hu federate resume")
        time.sleep(0.3)


def _say_run(found: Status) -> None:
    if found.run.name:
        click.echo(f"run {found.run.name}: {found.run.state}: {found.run.note}")


def _say_with_time(sentence: str) -> None:
    click.echo(f"{datetime.now().strftime('%H:%M:%S')} {sentence}")
