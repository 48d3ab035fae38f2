"""The processes that train together under torchrun: who takes which rows, and how they hear of each other.

Rank 0 does the whole path and writes every file; the others follow it, member by member, by PyTorch's own
distributed data-parallel engine. They share the run's folder, on one host or by a common file system.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["ALONE", "Group", "is_follower", "join"]

_PATIENCE = timedelta(days=7)
"""How long a follower waits for rank 0 to scan, decode and prepare."""


class Group:
    """One process of `world`, number `rank`. By itself it is a group of one, and no torch is loaded.

    >>> Group().share(5)
    (0, 5)
    """

    def __init__(self, rank: int = 0, world: int = 1, store: Any = None) -> None:
        self.rank, self.world = rank, world
        self._store = store
        self._words = 0

    @property
    def leads(self) -> bool:
        """True for the process that reports and writes files."""
        return self.rank == 0

    def share(self, n: int) -> tuple[int, int]:
        """The rows [start, stop) of n that are this process's; shares differ by at most one row.

        >>> [Group(r, 3).share(8) for r in range(3)]
        [(0, 3), (3, 6), (6, 8)]
        """
        whole, rest = divmod(n, self.world)
        start = self.rank * whole + min(self.rank, rest)
        return start, start + whole + (self.rank < rest)

    def sum(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The sum of each number over all processes."""
        found = np.asarray(values, np.float64)
        if self.world == 1:
            return found
        import torch
        import torch.distributed as dist

        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        total = torch.from_numpy(found.copy()).to(device)
        dist.all_reduce(total)
        return np.asarray(total.cpu().numpy(), np.float64)

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with its gradients averaged over the processes; the network itself where it is
        alone.
        """
        if self.world == 1:
            return network
        from inspect import signature

        from torch.nn.parallel import DistributedDataParallel

        ids = [device.index] if device.type == "cuda" else None
        known = signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        still: dict[str, Any] = {name: False}  # statistics are the same in all: `networks.synced`
        made: nn.Module = DistributedDataParallel(network, device_ids=ids, **still)
        return made

    def unsynchronised(self, network: nn.Module) -> AbstractContextManager[Any]:
        """Within, gradients are added up without being exchanged."""
        if self.world == 1:
            return nullcontext()
        held: AbstractContextManager[Any] = network.no_sync()  # type: ignore[operator]
        return held

    def say(self, word: dict[str, Any]) -> None:
        """Tell the followers something, as JSON; nothing where there are none."""
        if self.world > 1 and self.leads:
            self._store.set(f"word-{self._words}", json.dumps(word))
            self._words += 1

    def hear(self) -> dict[str, Any]:
        """The next thing that rank 0 says; waits for it."""
        key = f"word-{self._words}"
        self._store.wait([key], _PATIENCE)
        self._words += 1
        found = json.loads(self._store.get(key))
        return dict(found)

    def leave(self) -> None:
        """Take leave of the others."""
        if self.world > 1:
            import torch.distributed as dist

            dist.destroy_process_group()


ALONE = Group()


def is_follower() -> bool:
    """True in a process of torchrun that is not the first."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and int(os.environ.get("RANK", "0")) > 0


def join(device: str) -> Group:
    """The group that torchrun has started this process in; a group of one without torchrun.

    GPUs speak by NCCL, CPUs by Gloo. Raises BadInput where torchrun's variables are not whole.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return ALONE
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    from hounsfield.steps.compute import pick_device

    here = pick_device(device)
    if here.type == "cuda":
        torch.cuda.set_device(here)
    try:
        store, rank, world = next(iter(rendezvous("env://")))
    except (ValueError, RuntimeError) as error:
        raise BadInput(
            "WORLD_SIZE is set, but the processes cannot find each other; expected the variables of "
            "torchrun; start with `torchrun --nproc-per-node N -m hounsfield train …`, or unset WORLD_SIZE"
        ) from error
    backend = "nccl" if here.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=PrefixStore("train", store), rank=rank, world_size=world)
    return Group(rank, world, PrefixStore("word", store))
