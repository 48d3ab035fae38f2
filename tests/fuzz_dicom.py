"""Reads mutated DICOM files until the time is over: no dead process, hang, stray error or huge allocation.

`python tests/fuzz_dicom.py --seconds 3600 --seed 0` runs mutations one after another in a child process,
which is watched from here. A mutation has failed where the child dies, hangs (5 s of its own work, or 30 s
in all), lets an exception out that is not a HounsfieldError, or takes more memory than the file's length can
justify: 64 MiB and 1100 bytes a byte of the file. The factor is that of deflate, the strongest compression of
plain bytes (1032:1). Address space counts as well, for memory that is asked for and not touched; threads
and libraries take it in large pieces, so it may grow by 512 MiB more. What has failed is kept with the files
beside it, its mutation and its traceback; `--replay FOLDER` reads it again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fuzz_mutations import mutated
from fuzz_reading import MIB, lay, read_all, start_from, work

HANG_SECONDS = 5.0
KEPT_OF_A_KIND = 3


@dataclass(frozen=True)
class Failure:
    """One mutation that failed: how, what it was, where it is kept ("" after the first few of a kind)."""

    kind: str
    what: str
    fault: str
    kept: Path | None

    @property
    def signature(self) -> str:
        """The kind, the last place in this project, and the last line, by which like failures are counted."""
        places = re.findall(r'File "[^"]*(hounsfield/[^"]+", line \d+)', self.fault)
        last = self.fault.strip().splitlines()[-1] if self.fault.strip() else ""
        return " ".join((self.kind, *places[-1:], re.sub(r"[\d.]+", "N", last)[:120]))


@dataclass
class Report:
    """What a run has seen."""

    mutations: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    peak_bytes: int = 0

    def text(self) -> str:
        rate = self.mutations / max(self.seconds, 1e-9)
        lines = [f"{self.mutations} mutations in {self.seconds:.0f} s ({rate:.0f} a second)"]
        lines += [f"largest growth of memory {self.peak_bytes / MIB:.0f} MiB"]
        lines += [f"{n:8d}  {outcome}" for outcome, n in self.outcomes.most_common(40)]
        lines += [f"{len(self.failures)} failures"]
        for signature, n in Counter(f.signature for f in self.failures).most_common():
            first = next(f for f in self.failures if f.signature == signature)
            lines += [
                f"{n:8d}  {signature}",
                f"          first: {first.what}",
                f"          kept: {first.kept}",
            ]
        return "\n".join(lines)


# Allocators that reserve addresses by the gigabyte for every thread would hide what the reading asks for.
_WITHOUT_RESERVES = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}


class _Child:
    """A process that reads, the mutation it is at, and the lines it has said."""

    def __init__(self, args: argparse.Namespace, slot: int, home: Path) -> None:
        self.args, self.errors = args, home / f"said{slot}"
        words = ["--worker", "--folder", home / f"slot{slot}", "--first", slot, "--step", args.jobs]
        words += ["--seed", args.seed, *(["--plant", args.plant] if args.plant else [])]
        words += ["--made-only"] if args.made_only else []
        paths = os.pathsep.join(p for p in sys.path if p)
        self.process = subprocess.Popen(
            [sys.executable, __file__, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=self.errors.open("wb"),
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(home), **_WITHOUT_RESERVES},
        )
        self.what, self.reader, self.hung, self.rest = "", 0, False, b""
        self.started = self.worked = 0.0

    @property
    def out(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def lines(self) -> list[dict[str, Any]]:
        """What it has said since the last call. Raises RuntimeError if it has ended: it never should."""
        content = os.read(self.out.fileno(), 1 << 16)
        if not content:
            raise RuntimeError(f"the process that reads has ended:\n{self.said()}")
        *whole, self.rest = (self.rest + content).split(b"\n")
        return [json.loads(line) for line in whole]

    def said(self) -> str:
        return self.errors.read_text(errors="replace")[-3000:]

    def begin(self, line: dict[str, Any]) -> None:
        self.what, self.reader, self.hung = line["what"], line["pid"], False
        self.started, self.worked = time.monotonic(), self.work_seconds()

    def stop_if_it_hangs(self) -> None:
        """End a mutation that has taken too much work, or far too long whatever else the machine does."""
        took, limit = time.monotonic() - self.started, self.args.hang_seconds
        if self.what and not self.hung and took > limit:
            self.hung = took > 6 * limit or self.work_seconds() - self.worked > limit
            if self.hung:
                os.kill(self.reader, signal.SIGKILL)

    def work_seconds(self) -> float:
        """Seconds of processor time of the process that reads, and of what it has started."""
        ticks, waiting = 0, [self.reader]
        while waiting:
            task = Path(f"/proc/{(pid := waiting.pop())}")
            with suppress(OSError, IndexError):
                ticks += sum(map(int, (task / "stat").read_text().rsplit(")", 1)[1].split()[11:13]))
                waiting += map(int, (task / f"task/{pid}/children").read_text().split())
        return ticks / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Kill it and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.out.close()
        self.process.wait()


def run(args: argparse.Namespace) -> Report:
    """Mutate and read until the time is over, which begins with the first mutation."""
    report, began = Report(), 0.0
    home = Path(tempfile.mkdtemp(prefix="fuzz-"))
    watched = selectors.DefaultSelector()
    children = [_Child(args, slot, home) for slot in range(args.jobs)]
    try:
        for child in children:
            watched.register(child.out, selectors.EVENT_READ, child)
        while not (args.most and report.mutations >= args.most):
            for key, _ in watched.select(timeout=0.2):
                for line in key.data.lines():
                    began = began or time.monotonic()
                    _hear(key.data, line, args, report)
            if began and time.monotonic() - began > args.seconds:
                break
            for child in children:
                child.stop_if_it_hangs()
    finally:
        for child in children:
            child.end()
        shutil.rmtree(home, ignore_errors=True)
    report.seconds = time.monotonic() - began
    return report


def _hear(child: _Child, line: dict[str, Any], args: argparse.Namespace, report: Report) -> None:
    if line["event"] == "start":
        child.begin(line)
        return
    report.mutations += 1
    if line["event"] == "lost":
        kind = "hang" if child.hung else "death"
        _keep(line["number"], child.what, kind, f"status {line['code']}\n{child.said()}", args, report)
    else:
        report.peak_bytes = max(report.peak_bytes, line["bytes"])
        report.outcomes.update(line["outcomes"])
        if line["fault"]:
            stray = "allocation" if line["fault"].startswith("allocation") else "exception"
            _keep(line["number"], child.what, stray, line["fault"], args, report)
    child.what = ""


def _keep(number: int, what: str, kind: str, fault: str, args: argparse.Namespace, report: Report) -> None:
    """Make the mutation again from its number, and keep it with what is known of its fault."""
    kept = Path(args.out) / f"{kind}-{args.seed}-{number}"
    failure = Failure(kind, what, fault, kept)
    if sum(f.signature == failure.signature for f in report.failures) >= KEPT_OF_A_KIND:
        failure = Failure(kind, what, fault, None)
    else:
        seed, _ = mutated(start_from(args), args.seed, number)
        lay(kept, seed)
        (kept / "why.txt").write_text(f"{what}\n\n{fault}")
    report.outcomes[f"failure: {kind}"] += 1
    report.failures.append(failure)


def replay(place: Path) -> list[str]:
    """Read a kept folder, or a single file, again, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(place.glob("*.dcm")) if place.is_dir() else [place]
        for path in files:
            shutil.copy(path, folder)
        return read_all(Path(folder))


def options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Read mutated DICOM files until the time is over.")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", default="fuzz-failures", help="where failures are kept")
    parser.add_argument("--replay", type=Path, help="read one kept failure again")
    parser.add_argument(
        "--most", type=int, default=0, help="stop after this many mutations (0: by time alone)"
    )
    parser.add_argument("--hang-seconds", type=float, default=HANG_SECONDS)
    parser.add_argument(
        "--made-only", action="store_true", help="start from the files made here, not from real ones"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    for name in ("folder", "plant"):  # the child's own, and the tests'
        parser.add_argument(f"--{name}", default="", help=argparse.SUPPRESS)
    for name in ("first", "step"):
        parser.add_argument(f"--{name}", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main() -> int:
    args = options()
    if args.worker:
        work(args)
        return 0
    if args.replay:
        sys.stdout.write("\n".join(replay(args.replay)) + "\n")
        return 0
    report = run(args)
    sys.stdout.write(report.text() + "\n")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
