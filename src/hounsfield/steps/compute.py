"""What a run computes on: device, precision, cores and memory, and torch's settings while it trains."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Plan

if TYPE_CHECKING:
    import torch

__all__ = [
    "available_cores",
    "computing",
    "fast_bfloat16",
    "free_memory",
    "mixed_precision",
    "pick_device",
    "short_of_memory",
]

_CGROUP = Path("/sys/fs/cgroup")


def pick_device(name: str) -> torch.device:
    """The device that the plan names; "auto" is the GPU where there is one (this rank's own under torchrun).

    Raises BadInput for a device that is not here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind == "cuda" and torch.cuda.is_available():
        place = int(number) if number.isdigit() else int(os.environ.get("LOCAL_RANK", "0"))
        if place < torch.cuda.device_count():
            return torch.device("cuda", place)
    elif kind == "cpu":
        return torch.device("cpu")
    raise BadInput(f'the plan asks for device "{name}", which is not here; set device=auto or device=cpu')


def mixed_precision(plan: Plan, device: torch.device) -> bool:
    """Whether this plan computes in bfloat16 on this device."""
    wanted = plan.fit.precision
    return wanted == "bfloat16" or (wanted == "auto" and fast_bfloat16(device))


def fast_bfloat16(device: torch.device) -> bool:
    """Whether this chip computes in bfloat16 faster than in float32 (docs/benchmarks.md)."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def free_memory(device: torch.device) -> int | None:
    """Bytes that may still be taken on the device, None where nobody can tell.

    On a CPU the least of what the system calls available and of what the control group leaves.
    """
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [n for n in (_available(), _left_in_group()) if n is not None]
    return min(found) if found else None


def _available() -> int | None:
    table = Path("/proc/meminfo")
    if not table.is_file():
        return None
    for line in table.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _left_in_group() -> int | None:
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    try:
        return max(0, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return None


def short_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python means that memory did not suffice."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in said or "out of memory" in said)


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """Torch's settings while a member trains; the process is left as it was found."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads))
    torch.set_flush_denormal(True)  # vanishing numbers cost a hundredfold on a CPU
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)
