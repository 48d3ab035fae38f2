"""How long one training step takes on this machine, measured on the plan's own network."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hounsfield.core.case import LabelEncoding
from hounsfield.core.plan import Plan

if TYPE_CHECKING:
    import torch

__all__ = ["least_seconds", "seconds_per_image"]

STEPS = 3


def seconds_per_image(plan: Plan, encoding: LabelEncoding) -> float:
    """Seconds of a training step for one image, on one core or on the plan's GPU: the least of a few."""
    import torch

    from hounsfield.networks import build
    from hounsfield.steps.batches import augmented_images
    from hounsfield.steps.compute import mixed_precision, pick_device
    from hounsfield.steps.prepare import Prepared
    from hounsfield.steps.schedule import optimiser_of
    from hounsfield.transforms.draw import draw

    size, n = plan.input.size, min(plan.fit.batch_size, 32)
    start = plan.network.model_copy(update={"weights": ""})
    network = build(start, channels=plan.input.channels, outputs=encoding.outputs, size=size, seed=0)
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 255, (n, plan.input.channels, *size), np.uint8)
    levels = np.tile(np.array([1 / 74, -1.7, -np.inf, np.inf], np.float32), (n, 1))
    prepared = Prepared(tuple(map(str, range(n))), stored, levels)
    rows, shape = np.arange(n), size[1:] if size[0] == 1 else size
    form = torch.channels_last if size[0] == 1 else torch.channels_last_3d
    device = pick_device(plan.device)
    network = network.to(device).to(memory_format=form)  # type: ignore[call-overload]
    optimiser = optimiser_of(network, plan.fit)

    def step() -> None:
        changes = draw(plan.augment, n, shape, rng)
        images = augmented_images(prepared, rows, changes, plan, device)
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision(plan, device)):
            loss = network(images).float().square().mean()
        loss.backward()
        optimiser.step()

    return least_seconds(step, device) / n


def least_seconds(step: Callable[[], None], device: torch.device) -> float:
    """Seconds of a training step, on one core or on a GPU: the least of a few after a first one.

    On a CPU it is the time of this thread alone: what else runs here now is no property of the plan.
    """
    import torch

    from hounsfield.steps.compute import computing

    clock = time.perf_counter if device.type == "cuda" else time.thread_time
    spent = []
    with computing(1):
        for _ in range(STEPS + 1):
            began = clock()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            spent.append(clock() - began)
    return min(spent[1:])
