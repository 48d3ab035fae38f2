"""How a person steers the coordinator: through its folder, and by nothing that a network reaches.

`hu federate run` leaves an order there, the coordinator takes it, and writes what goes on into `status.json`.
Whoever may write in the folder may give orders; the folder's owner decides who that is.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hounsfield.core.errors import BadInput
from hounsfield.federation.party_folder import is_held
from hounsfield.io.files import write_json

__all__ = [
    "APPROVED",
    "Order",
    "Run",
    "State",
    "Status",
    "leave_order",
    "run_folder",
    "take_order",
]

APPROVED = "approved.json"
_ORDER, _STATUS, _RUNS = "order.json", "status.json", "runs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")

State = Literal["none", "waiting", "running", "finished", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done with which run: begin it, or go on with it."""

    action: Literal["run", "resume"]
    run: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands: its name, its state, what happened last in words, and which order it follows."""

    name: str = ""
    state: State = "none"
    note: str = ""
    order: int = 0

    @property
    def unfinished(self) -> bool:
        """True if `hu federate resume` can go on with it."""
        return self.state in ("failed", "interrupted")

    @property
    def on(self) -> bool:
        """True while it goes on."""
        return self.state in ("waiting", "running")


@dataclass(frozen=True, slots=True)
class Status:
    """What the coordinator wrote last: where it listens, its sites, keys that wait for approval, its run."""

    host: str = ""
    port: int = 0
    time: str = ""
    sites: tuple[dict[str, Any], ...] = ()
    knocks: tuple[dict[str, Any], ...] = ()
    run: Run = field(default_factory=Run)

    def write(self, folder: Path) -> None:
        """Put it where `read` finds it."""
        write_json(folder / _STATUS, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Status:
        """The last status of a folder; of one where no coordinator ever ran, an empty one."""
        try:
            given = json.loads((folder / _STATUS).read_text("utf-8"))
            run = Run(**given.pop("run"))
            sites, knocks = tuple(given.pop("sites")), tuple(given.pop("knocks"))
            return cls(**given, sites=sites, knocks=knocks, run=run)
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput("status.json is damaged; remove it, and begin hu federate serve again") from error


def run_folder(folder: Path, name: str) -> Path:
    """Where a run of this name lies; BadInput for a name that is none.

    >>> run_folder(Path("coordinator"), "chest-1").name
    'chest-1'
    """
    if not _NAME.fullmatch(name):
        raise BadInput("--name has odd characters; expected up to 60 letters, digits, dots and dashes")
    return folder / _RUNS / name


def leave_order(folder: Path, order: Order) -> None:
    """Leave an order; BadInput where no coordinator is there to take it, or it has not taken the last one."""
    if not is_held(folder):
        raise BadInput("no coordinator serves this folder; begin hu federate serve, or name its --folder")
    if (folder / _ORDER).exists():
        raise BadInput("the coordinator has not taken the last order yet; wait a second and try again")
    write_json(folder / _ORDER, asdict(order))


def take_order(folder: Path) -> Order | None:
    """The order that was left, once; None where there is none, or where it is damaged."""
    place = folder / _ORDER
    try:
        given = json.loads(place.read_text("utf-8"))
        order = Order(given["action"], given["run"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        order = None
    place.unlink(missing_ok=True)
    return order
