"""A coordinator's door that is served on this machine, with certificates of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hounsfield.federation.approved import Approved
from hounsfield.federation.door import Door, fleet_app
from hounsfield.federation.keys import make_authority
from hounsfield.federation.link import Link
from hounsfield.federation.server import Server


@dataclass(frozen=True)
class Serving:
    """Who is approved, the link's state, the door, and the port that it is served at."""

    approved: Approved
    link: Link
    door: Door
    port: int


@contextmanager
def serving(folder: Path) -> Iterator[Serving]:
    """Within, a door is served at a free port of 127.0.0.1; `folder` gets ca.crt and the server's files."""
    make_authority(folder, ("127.0.0.1",))
    approved, link = Approved(folder / "approved.json"), Link()
    door = Door(fleet_app(link), link, approved, told=lambda _: None)
    server = Server(
        door, host="127.0.0.1", port=0, certificate=folder / "server.crt", key=folder / "server.key",
        strangers=door.strangers,
    )  # fmt: skip
    server.start()
    yield Serving(approved, link, door, server.port)
    server.stop()
