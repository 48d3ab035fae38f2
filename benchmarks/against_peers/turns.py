"""Contenders take turns on one core, never two at once, so that the machine's noise hits all alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["HERE", "Entry", "Turns", "alternate"]

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
PYTHON = {"ours": CHECKOUT / ".venv/bin/python", "peers": CHECKOUT / ".venv-peers/bin/python"}

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    ),
    "1",
)  # fmt: skip
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
    "PYTHONWARNINGS": "ignore",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Entry:
    """A contender: the name it has in the table, its file under contenders/, whose environment it needs.

    `items` fixes how many items a turn has; 0 lets a turn last about as long as the row says.
    """

    name: str
    file: str
    home: str = "ours"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    items: int = 0


@dataclass(frozen=True)
class Turns:
    """How a row is measured: so many turns, each at least so many seconds for every contender."""

    turns: int = 7
    seconds: float = 0.7


class Worker:
    """A contender's process; leaving the context ends it."""

    def __init__(self, entry: Entry, core: int) -> None:
        self.entry = entry
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__
        kept = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        command = [PYTHON[entry.home], HERE / "worker.py", str(core), entry.file]
        self._process = subprocess.Popen(
            [*map(str, command), json.dumps(dict(entry.arguments))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**kept, **ONE_THREAD, **QUIET},
        )
        self.facts = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream:
                stream.close()

    def run(self, items: int) -> dict[str, Any]:
        """Seconds of the processor ("cpu"), of the clock ("wall") and a digest for so many items."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{items}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return dict(json.loads(line))
        self._log.seek(0)
        sys.exit(f"{self.entry.name} ended with code {self._process.wait()}:\n{self._log.read()[-3000:]}")


def alternate(entries: Sequence[Entry], how: Turns) -> dict[str, Any]:
    """Every contender's seconds an item in each turn, by its name, and the digest of its last turn."""
    core = max(os.sched_getaffinity(0))
    with ExitStack() as stack:
        workers = {}
        for entry in entries:
            print(f"  starting {entry.name}", file=sys.stderr, flush=True)
            workers[entry.name] = stack.enter_context(Worker(entry, core))
        items = {name: w.entry.items or _enough(w, how.seconds) for name, w in workers.items()}
        found: dict[str, Any] = {
            name: {"items": items[name], "cpu": [], "wall": [], "facts": w.facts}
            for name, w in workers.items()
        }
        for turn in range(how.turns):
            for name, worker in workers.items():
                spent = worker.run(items[name])
                found[name]["cpu"].append(round(spent["cpu"] / items[name], 9))
                found[name]["wall"].append(round(spent["wall"] / items[name], 9))
                found[name]["digest"] = spent["digest"]
            print(f"  turn {turn + 1} of {how.turns}", file=sys.stderr, flush=True)
    return found


def _enough(worker: Worker, seconds: float) -> int:
    """How many items last about so long."""
    items = 1
    while True:
        spent = worker.run(items)["cpu"]
        if spent >= 0.3 * seconds:
            return max(1, round(items * seconds / spent))
        items *= 3 if spent < 0.1 * seconds else 2
