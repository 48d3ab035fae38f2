"""The process that reads mutated files one after another, and looks at itself: errors, memory, time."""

from __future__ import annotations

import json
import mmap
import os
import re
import resource
import shutil
import signal
import struct
import traceback
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from fuzz_mutations import mutated
from fuzz_seeds import Seed, real_data, seeds

__all__ = ["MIB", "PLANTED", "lay", "read_all", "start_from", "work"]

MIB = 1 << 20
BASE_BYTES, BYTES_PER_BYTE = 64 * MIB, 1100
SPARE_ADDRESSES = 512 * MIB
MOST_ADDRESSES = 8 << 30  # a net under everything, so that a fault does not take the machine with it
PLANTED = ("death", "hang", "allocation", "exception")
PLANT_AT = 3


def allowed_bytes(length: int) -> int:
    """How much memory reading a file of this length may take."""
    return BASE_BYTES + BYTES_PER_BYTE * length


def read_all(folder: Path) -> list[str]:
    """Every outcome of the whole read path on a folder, in words without numbers; what is stray is raised."""
    from hounsfield.core.errors import HounsfieldError
    from hounsfield.io import Source, index_of, read_volume
    from hounsfield.io.nifti_write import nifti_of

    outcomes = [_shown(folder)]
    try:
        index = index_of(folder)
    except HounsfieldError as error:
        return [*outcomes, f"refused: {_kind(str(error).rsplit('most often: ', 1)[-1])}"]
    outcomes += [f"refused: {_kind(r.reason)}" for r in index.refused]
    with Source(folder) as source:
        for series in index.series:
            try:
                nifti_of(read_volume(source, series))
                outcomes.append("read")
            except HounsfieldError as error:
                outcomes.append(f"not decoded: {_kind(str(error).removeprefix(f'image {series.id}: '))}")
    return outcomes


def _shown(folder: Path) -> str:
    """What `hu show` makes of the folder: its header described and, where it can be, drawn."""
    from hounsfield.core.errors import HounsfieldError
    from hounsfield.steps.show import show

    try:
        shown = show(folder)
        if shown.seen is None:
            return "described"
        shown.picture()
        return "drawn"
    except HounsfieldError:
        return "not shown"


def _kind(reason: str) -> str:
    """The reason without numbers and quotations, so that like reasons are counted together."""
    return re.sub(r'"[^"]*"', '"…"', re.sub(r"[\d.]+", "N", reason))[:70]


def work(args: Namespace) -> None:
    """Warm up, then read in forked children: one that dies, or whose memory has grown, costs no new start.

    What happens is told a line each, on a stream that no decoder can write to.
    """
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    found, folder = start_from(args), Path(args.folder)
    for start in found:  # compile and import everything before memory is watched
        lay(folder, start)
        read_all(folder)
    at = mmap.mmap(-1, 8)  # the number of the mutation that is being read, shared with the child
    number = args.first
    while True:
        if not (reader := os.fork()):
            with suppress(BaseException):
                _read_from(number, at, found, args, said)
                os._exit(0)
            os._exit(70)
        _, status = os.waitpid(reader, 0)
        (number,) = struct.unpack("<q", at[:])
        if status:
            said.write(json.dumps({"event": "lost", "number": number, "code": status}) + "\n")
        number += args.step


def _read_from(number: int, at: mmap.mmap, found: list[Seed], args: Namespace, said: IO[str]) -> None:
    """Read one mutation after another, until the peak of addresses hides what the next would ask for."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    folder, memory = Path(args.folder), _memory()
    while memory["VmPeak"] - memory["VmSize"] < SPARE_ADDRESSES:
        at[:] = struct.pack("<q", number)
        start, what = mutated(found, args.seed, number)
        length = lay(folder, start)
        begun = {"event": "start", "number": number, "what": what, "pid": os.getpid()}
        said.write(json.dumps(begun) + "\n")
        ended = {"event": "end", "number": number, **_one(folder, length, args, number)}
        said.write(json.dumps(ended) + "\n")
        number += args.step
        memory = _memory()


def start_from(args: Namespace) -> list[Seed]:
    """The files that a run mutates."""
    return seeds(real_data(), made_only=args.made_only)


def lay(folder: Path, seed: Seed) -> int:
    """Write the seed's files into the emptied folder; their length is given back."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for n, content in enumerate((seed.content, *seed.beside)):
        (folder / f"{n}.dcm").write_bytes(content)
    return len(seed.content) + sum(map(len, seed.beside))


def _one(folder: Path, length: int, args: Namespace, number: int) -> dict[str, Any]:
    before = _memory(reset=True)
    fault, outcomes = "", []
    try:
        if args.plant and number == PLANT_AT:
            _plant(args.plant)
        outcomes = read_all(folder)
    except Exception:  # noqa: BLE001 - whatever comes out is what is looked for
        fault = traceback.format_exc()
    after = _memory()
    grown = after["VmHWM"] - before["VmRSS"]
    addresses = after["VmPeak"] - before["VmSize"] if after["VmPeak"] > before["VmPeak"] else 0
    limit = allowed_bytes(length)
    if not fault and (grown > limit or addresses > limit + SPARE_ADDRESSES):
        again = _again(folder, limit, outcomes, planted=args.plant == "allocation" and number == PLANT_AT)
        amount = f"{grown / MIB:.0f} MiB ({addresses / MIB:.0f} of addresses)"
        fault = f"allocation: {amount} for {length} bytes\n{again}" if again else ""
    return {"fault": fault, "outcomes": outcomes, "bytes": grown}


def _again(folder: Path, limit: int, outcomes: list[str], *, planted: bool) -> str:
    """Read once more under a limit of addresses: where memory was refused, "" if it was enough this time.

    What is imported or compiled at its first use takes memory once, whatever the file holds.
    """
    before = _memory(reset=True)
    most = before["VmSize"] + limit + SPARE_ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, MOST_ADDRESSES))
    try:
        if planted:
            _plant("allocation")
        found = read_all(folder)
    except Exception:  # noqa: BLE001 - a MemoryError most likely, but whatever it is, it is told
        return traceback.format_exc()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    grown = _memory()["VmHWM"] - before["VmRSS"]
    return "; ".join(found) if grown > limit or found != outcomes else ""


def _memory(*, reset: bool = False) -> dict[str, int]:
    """This process's memory in bytes; the peak begins anew on `reset`."""
    if reset:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    text = Path("/proc/self/status").read_text()
    return {k: int(v) * 1024 for k, v in re.findall(r"(Vm\w+):\s+(\d+) kB", text)}


def _plant(what: str) -> None:
    """A fault that the supervisor must find."""
    if what == "death":
        os.kill(os.getpid(), signal.SIGSEGV)
    while what == "hang":
        pass
    if what == "allocation":
        bytearray(b"\1") * (300 * MIB)
    if what == "exception":
        raise ZeroDivisionError("planted")
