"""A federation of real processes on this machine, of which a test may end any: coordinator, sites, rounds.

The rounds are federated averaging of a vector: each site adds to it what only depends on the site, the round
and the vector, so that what must come out can be computed here. Run as a program it is one of the processes;
usually they are forked from one that has imported everything, which is quicker.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 500
PLAN_HASH = "5" * 64


def step(site: int, number: int, vector: np.ndarray) -> np.ndarray:
    """What a site answers in a round."""
    seed = int(hashlib.sha256(f"{site} {number}".encode()).hexdigest()[:8], 16)
    drawn = np.random.default_rng(seed).normal(size=vector.shape)
    return (0.9 * vector + 0.1 * drawn).astype(np.float32)


def expected(sites: int, rounds: int, size: int = SIZE) -> np.ndarray:
    """The vector after so many rounds, computed without any of the processes."""
    vector = np.zeros(size, np.float32)
    for number in range(1, rounds + 1):
        answers = [step(site, number, vector).astype(np.float64) for site in range(sites)]
        vector = np.mean(answers, axis=0).astype(np.float32)
    return vector


class Rounds:
    """Rounds with a checkpoint after each; sites answer in any order, the mean does not depend on it."""

    def __init__(self, rounds: int, *, size: int = SIZE, timeout: float = 60.0, smallest: int = 0) -> None:
        self.rounds, self.size, self.timeout, self.smallest = rounds, size, timeout, smallest

    def __call__(
        self, grid: Any, plan: Any, folder: Path, *, names: Mapping[int, str], resume: bool, told: Any
    ) -> None:
        from hounsfield.core.errors import BadInput
        from hounsfield.federation.messages import ask_train, refusal_of, vector_of
        from hounsfield.io.files import write_json

        place = folder / "checkpoint.json"
        done, vector, times = 0, np.zeros(self.size, np.float32), []
        if resume and place.exists():
            kept = json.loads(place.read_text())
            done, vector, times = kept["round"], np.array(kept["vector"], np.float32), kept["times"]
        for number in range(done + 1, self.rounds + 1):
            begun = time.monotonic()
            asks = [ask_train(n, vector, plan_hash=PLAN_HASH, number=number) for n in sorted(names)]
            answers = sorted(
                grid.send_and_receive(asks, timeout=self.timeout), key=lambda a: a.metadata.src_node_id
            )
            late = sorted(set(names) - {a.metadata.src_node_id for a in answers})
            refusals = {names[a.metadata.src_node_id]: r for a in answers if (r := refusal_of(a))}
            good = [vector_of(a).astype(np.float64) for a in answers if not a.has_error()]
            if len(good) < (self.smallest or len(names)):
                said = [f"{names[n]} did not answer in {self.timeout:g} s" for n in late]
                said += [f"{name} refused: {r.sentence}" for name, r in refusals.items()]
                raise BadInput("; ".join(said))
            vector = np.mean(good, axis=0).astype(np.float32)
            times.append(time.monotonic() - begun)
            write_json(place, {"round": number, "vector": vector.tolist(), "times": times})
            told(f"round {number} of {self.rounds}")


def _answer(site: int, seconds: float) -> Any:
    from hounsfield.federation.messages import answered_weights, config_of, vector_of

    def answer(message: Any) -> Any:
        time.sleep(seconds)
        number = int(config_of(message)["server-round"])
        return answered_weights(message, step(site, number, vector_of(message)), {"loss": 0.5}, n=10)

    return answer


def _main(given: dict[str, Any]) -> None:
    """Be one of the processes."""
    if given.get("connects"):
        _note_connections(Path(given["connects"]))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    folder = Path(given["folder"])
    if given["what"] == "coordinator":
        from hounsfield.federation.coordinator import Coordinator

        drive = Rounds(**given["rounds"])
        Coordinator(folder, drive, host=given["host"], port=given["port"], told=_say).serve(stop)
    else:
        from hounsfield.federation.audit_log import NAME, AuditLog
        from hounsfield.federation.connection import Connection
        from hounsfield.federation.keys import load_key
        from hounsfield.federation.node import Node

        log = AuditLog(folder / NAME)
        connection = Connection(
            f"{given['host']}:{given['port']}",
            Path(given["ca"]),
            load_key(folder),
            told=_say,
            stop=stop,
            log_head=lambda: log.head,
        )
        Node(connection, _answer(given["site"], given["seconds"]), log, stop=stop).serve()


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def _fresh(given: dict[str, Any], out: Path, enter: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """A process that imports everything itself."""
    words = [*enter, sys.executable, __file__, json.dumps(given)]
    with out.open("ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=file)


def _forked(given: dict[str, Any], out: Path) -> Any:
    """A process forked from one that has imported what takes long."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "hounsfield.federation.coordinator",
            "flwr.superlink.config_loader",
            "flwr.superlink.routers.fleet.router",
            "flwr.supernode.fleet_http_client",
            "uvicorn",
        ]
    )
    process = context.Process(target=_redirected, args=(given, str(out)), daemon=True)
    process.start()
    return process


def _redirected(given: dict[str, Any], out: str) -> None:
    with Path(out).open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _main(given)


def _wait(process: Any, seconds: float | None = None) -> bool:
    """Wait for a process; whether it ended."""
    if isinstance(process, subprocess.Popen):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        return process.poll() is not None
    process.join(seconds)
    return process.exitcode is not None


def _note_connections(place: Path) -> None:
    """Write down every address that this process connects to, from before anything is imported."""
    inner = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def note(address: Any) -> None:
        with place.open("a") as file:
            file.write(json.dumps([str(part) for part in address][:2]) + "\n")

    def connect(self: Any, address: Any) -> Any:
        note(address)
        return inner[0](self, address)

    def connect_ex(self: Any, address: Any) -> Any:
        note(address)
        return inner[1](self, address)

    def lookup(host: Any, *rest: Any, **named: Any) -> Any:
        note((host, rest[0] if rest else ""))
        return inner[2](host, *rest, **named)

    socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = lookup


class Federation:
    """The processes of a test; each can be ended at any moment and begun again. All are ended at its end.

    With `connects` each notes whom it connects to; sites are begun by the words `enter`, on another host.
    """

    def __init__(
        self,
        place: Path,
        *,
        sites: int,
        rounds: dict[str, Any],
        seconds: float = 0.0,
        connects: bool = False,
        host: str = "127.0.0.1",
        enter: tuple[str, ...] = (),
    ) -> None:
        from hounsfield.federation.approved import Approved
        from hounsfield.federation.desk import APPROVED
        from hounsfield.federation.keys import fingerprint, make_authority, make_key

        self.place, self.rounds, self.seconds, self.connects = place, rounds, seconds, connects
        self.coordinator, self.host, self.enter = place / "coordinator", host, enter
        with socket.create_server((host, 0)) as free:
            self.port = free.getsockname()[1]
        make_authority(self.coordinator, (host,))
        self.approved = Approved(self.coordinator / APPROVED)
        self.fingerprints = []
        for site in range(sites):
            key = make_key(place / f"site-{site}")
            self.fingerprints.append(fingerprint(key.public_key()))
            self.approved.approve(self.fingerprints[-1], f"site-{site}")
        self.processes: dict[str, Any] = {}

    def begin(self, name: str) -> None:
        """Begin (again) the process "coordinator" or "site-0", "site-1", …"""
        folder = self.place / name
        given: dict[str, Any] = {"folder": str(folder), "host": self.host, "port": self.port}
        if self.connects:
            given["connects"] = str(self.place / f"{name}.connects")
        if name == "coordinator":
            given |= {"what": "coordinator", "rounds": self.rounds}
        else:
            given |= {
                "what": "site",
                "ca": str(self.coordinator / "ca.crt"),
                "site": int(name[5:]),
                "seconds": self.seconds,
            }
        out = self.place / f"{name}.out"
        enter = () if name == "coordinator" else self.enter
        alone = self.connects or self.enter
        self.processes[name] = _fresh(given, out, enter) if alone else _forked(given, out)

    def begin_all(self) -> None:
        """Begin every process."""
        self.begin("coordinator")
        for site in range(len(self.fingerprints)):
            self.begin(f"site-{site}")

    def kill(self, name: str) -> None:
        """End a process as a power cut does."""
        self.processes[name].kill()
        _wait(self.processes[name])

    def order(self, action: str = "run", name: str = "one") -> None:
        """Order a run, once the coordinator serves."""
        from hounsfield.core.plan import Federation as Section
        from hounsfield.core.plan import Plan
        from hounsfield.federation.desk import Order, leave_order, run_folder
        from hounsfield.io.files import write_text

        self.until(lambda: self.served and self.status.port == self.port)
        plan = Plan(federation=Section(strategy="fedavg"))
        if action == "run":
            write_text(run_folder(self.coordinator, name) / "plan.json", plan.to_json())
        leave_order(self.coordinator, Order(action, name))  # type: ignore[arg-type]

    @property
    def served(self) -> bool:
        """True while a coordinator holds its folder."""
        from hounsfield.federation.party_folder import is_held

        return is_held(self.coordinator)

    @property
    def status(self) -> Any:
        """What the coordinator wrote last."""
        from hounsfield.federation.desk import Status

        return Status.read(self.coordinator)

    def checkpoint(self, name: str = "one") -> dict[str, Any]:
        """The run's checkpoint; of round 0 where there is none."""
        place = self.coordinator / "runs" / name / "checkpoint.json"
        return json.loads(place.read_text()) if place.exists() else {"round": 0}

    def until(self, happened: Any, *, seconds: float = 120.0) -> None:
        """Wait until something is so; fails with what the processes said."""
        ends = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > ends:
                said = {p.name: p.read_text()[-1500:] for p in sorted(self.place.glob("*.out"))}
                raise AssertionError(f"it did not happen in {seconds:.0f} s; {self.status.run}; {said}")
            time.sleep(0.05)

    def finished(self) -> bool:
        """True when the run is; fails at once where it failed."""
        run = self.status.run
        assert run.state != "failed", run.note
        return run.state == "finished"

    def end(self) -> None:
        """End what this test began, by its process numbers."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self.processes.values():
            if not _wait(process, 10):
                process.kill()
                _wait(process)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
