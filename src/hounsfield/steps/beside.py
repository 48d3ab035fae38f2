"""Members in processes of their own, side by side: heard line by line, started again when one dies."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from hounsfield.core.errors import BadInput, GateRefused, HounsfieldError, Interrupted, MissingDependency
from hounsfield.steps.job import Job
from hounsfield.steps.stop import Stop, listening

__all__ = ["side_by_side"]

Progress = Callable[[dict[str, Any]], None]

_MOST_STARTS = 3
_SAVING_SECONDS = 60.0


def side_by_side(job: Job, waiting: list[int], say: Progress) -> None:
    """Run members in processes that end when this one does, a line of JSON an epoch.

    A process that dies without a word is started again from its last checkpoint, twice at most; one that was
    killed, as the system does when memory runs out, with one sibling fewer from then on. SIGTERM and Ctrl-C
    are passed on: every member saves before Interrupted is raised.
    """
    with listening() as stop:
        _Siblings(job, waiting, say, stop).run()


class _Siblings:
    def __init__(self, job: Job, waiting: list[int], say: Progress, stop: Stop) -> None:
        self.job, self.queue, self.say, self.stop = job, list(waiting), say, stop
        self.beside = job.beside
        self.running: dict[int, subprocess.Popen[str]] = {}
        self.starts: dict[int, int] = {}
        self.told: dict[int, dict[str, Any]] = {}
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        try:
            while self.running or (self.queue and not self.stop.asked):
                while self.queue and len(self.running) < self.beside and not self.stop.asked:
                    self._start(self.queue.pop(0))
                if self.stop.asked:
                    self._pass_on()
                    break
                for key, _ in self.selector.select(timeout=0.5):
                    self._hear(key.fileobj, key.data)  # type: ignore[arg-type]
        finally:
            for process in self.running.values():
                process.kill()
                process.wait()
            self.selector.close()
        self.stop.refuse_to_go_on("every member is saved where it stood")

    def _start(self, member: int) -> None:
        folder, threads = self.job.folder, self.job.threads
        # The children find this very package, however this process found it.
        home = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(home),
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        command = [sys.executable, "-P", "-m", "hounsfield.steps.member", str(folder), str(member)]
        with (folder / f"member-{member}.log").open("w") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=environment, start_new_session=True,
            )  # fmt: skip
        self.starts[member] = self.starts.get(member, 0) + 1
        self.running[member] = process
        self.selector.register(_stdout(process), selectors.EVENT_READ, member)

    def _hear(self, stream: IO[str], member: int) -> None:
        line = stream.readline()
        if not line:
            self.selector.unregister(stream)
            self._ended(member, self.running.pop(member))
            return
        facts = json.loads(line)
        if "error" not in facts:
            self.say(facts)
            return
        kinds = {c.exit_code: c for c in (BadInput, GateRefused, Interrupted, MissingDependency)}
        raise kinds.get(facts["exit_code"], HounsfieldError)(facts["error"])

    def _ended(self, member: int, process: subprocess.Popen[str]) -> None:
        code = process.wait()
        _close(process)
        if not code:
            return
        log = (self.job.folder / f"member-{member}.log").read_text().strip().splitlines()
        last = log[-1][:200] if log else "it left no message; it may have been killed for memory"
        what = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        if self.starts[member] >= _MOST_STARTS:
            raise HounsfieldError(
                f"the process that trained member {member} ended with {what} ({last}) for the "
                f"{_MOST_STARTS}rd time; what it had learned is saved; rerun with --resume"
            )
        if code == -signal.SIGKILL:
            self.beside = max(1, self.beside - 1)
        self.queue.insert(0, member)
        said = f"its process ended with {what} ({last}): started again from its last checkpoint"
        self.say({"member": member, "event": said})

    def _pass_on(self) -> None:
        """Have every member save and end."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(_SAVING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close(process)
        self.running.clear()


def _close(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdout is None:
        raise HounsfieldError("a training process has no output to listen to; train again")
    return process.stdout
