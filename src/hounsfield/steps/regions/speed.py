"""How long one patch takes to learn from on this machine, measured on the plan's own network and loss."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hounsfield.core.plan import Plan

__all__ = ["seconds_per_patch"]


def seconds_per_patch(
    plan: Plan, loss: Callable[[Any, Any], Any], wanted: Callable[[int], tuple[Any, ...]]
) -> float:
    """Seconds for forward, backward and update of one patch of a batch, on one core or on the plan's GPU.

    `wanted` makes what the loss asks for of so many patches. On a CPU the cores on which other members will
    train meanwhile are kept busy, since they share its memory.
    """
    import torch

    from hounsfield.steps.compute import mixed_precision, pick_device
    from hounsfield.steps.fit import members_beside
    from hounsfield.steps.learner import network_of_plan, network_shape
    from hounsfield.steps.schedule import optimiser_of
    from hounsfield.steps.speed import least_seconds

    device = pick_device(plan.device)
    shape = network_shape(plan)
    form = torch.channels_last if len(shape) == 2 else torch.channels_last_3d
    network = network_of_plan(plan, 1, seed=0).to(device).to(memory_format=form)  # type: ignore[call-overload]
    optimiser = optimiser_of(network, plan.fit)
    n = plan.fit.batch_size
    images = torch.randn(n, len(plan.grid.channels), *shape).to(device).contiguous(memory_format=form)
    told = tuple(t.to(device) for t in wanted(n))

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision(plan, device)):
            answer = network(images)
        loss(answer, told).backward()
        optimiser.step()

    idle = [copy.deepcopy(network).eval() for _ in range(members_beside(plan) - 1)]
    with _busy([lambda other=other: other(images) for other in idle]):  # type: ignore[misc]
        return least_seconds(step, device) / n


@contextmanager
def _busy(works: list[Callable[[], Any]]) -> Iterator[None]:
    """Do each piece of work again and again in a thread of its own until the block ends."""
    import torch

    done = threading.Event()

    def run(work: Callable[[], Any]) -> None:
        torch.set_num_threads(1)  # of this thread
        with torch.inference_mode():
            while not done.is_set():
                work()

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
