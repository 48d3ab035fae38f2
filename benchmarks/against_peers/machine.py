"""What the numbers were measured on: processor, cores, memory, Python."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["machine"]

_TELLING = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "bf16",
)


def machine() -> str:
    """One line about this machine, without its name.

    >>> "Python" in machine()
    True
    """
    told = _cpuinfo()
    flags = set((told.get("flags") or told.get("Features") or "").split())
    found = ", ".join(f for f in _TELLING if f in flags) or "no vector extension known here"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = told.get("model name", platform.machine())
    return (
        f"{model} (family {told.get('cpu family', '?')}, model {told.get('model', '?')}; {found}), "
        f"{cores} cores, {_memory()} GiB, Linux, Python {platform.python_version()}"
    )


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    pairs = (line.partition(":") for line in path.read_text().split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _memory() -> str:
    path = Path("/proc/meminfo")
    if not path.is_file():
        return "?"
    return f"{int(path.read_text().split()[1]) / 2**20:.0f}"
