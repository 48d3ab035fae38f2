"""A contender in a process of its own on one core: each line of input is a number of items to do.

    python worker.py CORE CONTENDER '{"argument": value}'

Answers in lines of JSON: first what the contender is, then for each line what it cost (seconds of the
processor and of the clock, its children included) and a digest of what came out.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from typing import Any


def _spent() -> tuple[float, float]:
    """Seconds of the processor, of this process and of children that have ended, and of the clock."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime, time.perf_counter()


def main(core: int, name: str, arguments: dict[str, Any]) -> None:
    """Pin this process to a core, make the contender and answer until the input ends."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not mix with the answers

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")

    contender = importlib.import_module(f"contenders.{name}").make(**arguments)
    contender.run(1)  # compiles, allocates, reads what is read once
    say(contender.facts())
    for line in sys.stdin:
        processor, clock = _spent()
        own = contender.run(int(line))
        processor, clock = (
            after - before for after, before in zip(_spent(), (processor, clock), strict=True)
        )
        cost = {"cpu": processor, "wall": clock} if own is None else {"cpu": own, "wall": own}
        say({**cost, "digest": contender.digest()})


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
