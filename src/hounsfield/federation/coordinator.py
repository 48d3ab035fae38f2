"""The coordinator as a process: it lets approved sites in, takes orders from its folder, drives the rounds.

All that it must remember lies in its folder, each file whole or not at all. Killed and begun again, it finds
its approvals, its log, its plan and the checkpoint of the last round; the sites come back by themselves.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from hounsfield.core.errors import HounsfieldError
from hounsfield.core.plan import Plan
from hounsfield.federation.approved import Approved, node_id_of
from hounsfield.federation.audit_log import NAME, AuditLog
from hounsfield.federation.desk import APPROVED, Order, Run, State, Status, run_folder, take_order
from hounsfield.federation.door import Door, Knock, fleet_app
from hounsfield.federation.flower import Grid, Message
from hounsfield.federation.keys import make_authority
from hounsfield.federation.link import Link, LinkGrid
from hounsfield.federation.messages import items_of, refusal_of
from hounsfield.federation.party_folder import alone
from hounsfield.federation.server import Server
from hounsfield.io.files import write_json, write_text

__all__ = ["Coordinator", "Drive", "SiteNames"]

TICK_S = 0.2
GATHER_S = 120.0
"""How long a run waits for all approved sites, before it begins with those that are there."""

Told = Callable[[str], None]


class SiteNames(Mapping[int, str]):
    """The names of the approved sites by number, as they are now: a site may be let in while a run goes on.

    A revoked site keeps its name and is not listed.
    """

    def __init__(self, approved: Approved) -> None:
        self._approved = approved

    def __getitem__(self, node: int) -> str:
        for approval in self._approved.all():
            if node_id_of(approval.fingerprint) == node:
                return approval.name
        raise KeyError(node)

    def __iter__(self) -> Iterator[int]:
        return iter([node_id_of(a.fingerprint) for a in self._approved.all() if not a.revoked])

    def __len__(self) -> int:
        return len(list(iter(self)))


class Drive(Protocol):
    """The rounds: `names` are the sites' by number; `folder` is the run's, with its plan and checkpoints."""

    def __call__(
        self, grid: Grid, plan: Plan, folder: Path, *, names: Mapping[int, str], resume: bool, told: Told
    ) -> None: ...


class Coordinator:
    """One coordinator in its folder; without `certificate` and `key` they are made for `names`."""

    def __init__(
        self,
        folder: Path,
        drive: Drive,
        *,
        host: str,
        port: int,
        names: tuple[str, ...] = (),
        certificate: Path | None = None,
        key: Path | None = None,
        told: Told = lambda _: None,
    ) -> None:
        self.folder, self._drive, self._told = folder, drive, told
        self._where = (host, port)
        self._names = names or (host,)
        self._certificate, self._key = certificate, key
        self.approved = Approved(folder / APPROVED)
        self.log = AuditLog(folder / NAME)
        self._run = Run()
        self._worker: threading.Thread | None = None
        self._written = ""

    def serve(self, stop: threading.Event) -> None:
        """Serve until `stop` is set; BadInput where folder, port or certificate cannot be used."""
        with alone(self.folder):
            self._begin()
            try:
                while not stop.wait(TICK_S):
                    self._tick()
            finally:
                self._server.stop()
                self.log.write("ended")
                if self._run.on:
                    self._now("interrupted", "the coordinator was ended; resume goes on")
                self._write_status()

    def _begin(self) -> None:
        if self._certificate is None:
            make_authority(self.folder, self._names)
        self.link = Link()
        self._door = Door(fleet_app(self.link), self.link, self.approved, told=self._knocked)
        self._server = Server(
            self._door,
            host=self._where[0],
            port=self._where[1],
            certificate=self._certificate or self.folder / "server.crt",
            key=self._key or self.folder / "server.key",
            strangers=self._door.strangers,
        )
        self._server.start()
        last = Status.read(self.folder).run
        if last.on:
            last = replace(
                last, state="interrupted", note="the coordinator ended while it ran; resume goes on"
            )
        self._run = last
        self.log.write("began", port=self._server.port)
        self._write_status()
        self._told(f"listening on {self._where[0]}:{self._server.port}")
        if last.unfinished:
            self._told(f"run {last.name} is unfinished: hu federate resume goes on with it")

    def _tick(self) -> None:
        for approval in self.approved.all():
            if approval.revoked:
                self.link.remove(approval.fingerprint)
        self.link.keep_alive()
        if not self._run.on and (order := take_order(self.folder)) is not None:
            self._take(order)
        self._write_status()

    def _take(self, order: Order) -> None:
        folder = run_folder(self.folder, order.run)
        self.log.write("ordered", action=order.action, run=order.run)
        self._run = Run(order=self._run.order + 1)
        self._now("waiting", "waiting for sites", name=order.run)
        self._worker = threading.Thread(
            target=self._work, args=(folder, order.action == "resume"), daemon=True, name="rounds"
        )
        self._worker.start()

    def _work(self, folder: Path, resume: bool) -> None:
        """Drive a run to its end, in a thread; what goes wrong becomes its state."""
        try:
            plan = Plan.from_json((folder / "plan.json").read_text("utf-8"))
            names = SiteNames(self.approved)
            self._gather(names, plan.federation.smallest_sites)
            self._now("running", "begun")
            grid = LinkGrid(self.link, noted=self._noted)
            self._drive(grid, plan, folder, names=names, resume=resume, told=self._progress)
            self._now("finished", self._run.note)
        except HounsfieldError as error:
            self._now("failed", " ".join(str(error).split()))
        except Exception as error:  # noqa: BLE001 - the sites stay connected, and resume can go on
            write_text(folder / "error.txt", traceback.format_exc())
            self._now("failed", f"the rounds failed ({type(error).__name__}); error.txt says where")

    def _gather(self, names: SiteNames, smallest: int) -> None:
        """Wait for all approved sites, for a while; then for the smallest number."""
        ends = time.monotonic() + GATHER_S
        while True:
            there = set(self.link.online()) & set(names)
            missing = sorted(names[node] for node in names if node not in there)
            if len(there) >= smallest and (not missing or time.monotonic() > ends):
                return
            said = (
                f"waiting for {', '.join(missing)}" if missing else f"waiting for {smallest} approved sites"
            )
            if said != self._run.note:
                self._now("waiting", said)
            time.sleep(TICK_S)

    def _noted(self, what: str, message: Message) -> None:
        """Log what is asked of whom, and what was answered."""
        metadata = message.metadata
        asked = what.startswith("asked")
        node = metadata.dst_node_id if asked else metadata.src_node_id
        refusal = refusal_of(message)
        items = [asdict(item) for item in items_of(message)]
        self.log.write(
            what,
            site=SiteNames(self.approved)[node],
            kind=metadata.message_type,
            round=metadata.group_id,
            message=metadata.message_id if asked else metadata.reply_to_message_id,
            **({"refused": refusal.reason.name} if refusal else {}),
            items=items,
            bytes=sum(item["bytes"] for item in items),
            **({} if asked else {"site_log_head": self._door.log_heads.get(node, "")}),
        )

    def _knocked(self, knock: Knock) -> None:
        self.log.write("turned away", fingerprint=knock.fingerprint)
        self._told(f"a site asks to be let in: hu federate approve {knock.fingerprint}")

    def _progress(self, note: str) -> None:
        self._now("running", note)

    def _now(self, state: State, note: str, *, name: str = "") -> None:
        run = Run(name or self._run.name, state, note, self._run.order)
        if run.state != self._run.state:
            self.log.write("run", run=run.name, state=run.state, note=run.note)
            write_json(run_folder(self.folder, run.name) / "state.json", asdict(run))
        self._run = run
        self._told(f"{run.name}: {run.state}: {run.note}")

    def _write_status(self) -> None:
        """Write the status where it differs from what is there."""
        online = set(self.link.online())
        sites = tuple(
            {
                "name": a.name,
                "fingerprint": a.fingerprint,
                "state": "revoked"
                if a.revoked
                else "there"
                if node_id_of(a.fingerprint) in online
                else "away",
            }
            for a in self.approved.all()
        )
        knocks = tuple(asdict(k) for k in self._door.knocks)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        status = Status(self._where[0], self._server.port, now, sites, knocks, self._run)
        key = repr((sites, [k["fingerprint"] for k in knocks], self._run, now[:15]))
        if key != self._written:
            self._written = key
            status.write(self.folder)
