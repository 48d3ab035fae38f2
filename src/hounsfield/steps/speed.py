"""How long one training step takes on this machine, measured on the plan's own network."""

from __future__ import annotations

import time

import numpy as np

from hounsfield.core.case import LabelEncoding
from hounsfield.core.plan import Plan

__all__ = ["seconds_per_image"]

STEPS = 3


def seconds_per_image(plan: Plan, encoding: LabelEncoding) -> float:
    """Seconds for forward, backward and update of one image, on one core or on the plan's GPU; a median."""
    import torch

    from hounsfield.networks import build
    from hounsfield.steps.member import mixed_precision, pick_device
    from hounsfield.steps.schedule import optimiser_of
    from hounsfield.transforms.augment import augment

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        size, n = plan.input.size, min(plan.fit.batch_size, 32)
        start = plan.network.model_copy(update={"weights": ""})
        network = build(start, channels=plan.input.channels, outputs=encoding.outputs, size=size, seed=0)
        shape = (n, plan.input.channels, *(size[1:] if size[0] == 1 else size))
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        form = torch.channels_last if size[0] == 1 else torch.channels_last_3d
        device = pick_device(plan.device)
        network = network.to(device).to(memory_format=form)  # type: ignore[call-overload]
        images = images.to(device)
        optimiser = optimiser_of(network, plan.fit)
        generator = torch.Generator().manual_seed(0)
        # On a CPU the time of this thread alone: what else runs here now is no property of the plan.
        clock = time.perf_counter if device.type == "cuda" else time.thread_time
        spent = []
        for _ in range(STEPS + 1):
            began = clock()
            changed = augment(images, plan.augment, generator).contiguous(memory_format=form)
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision(plan, device)):
                loss = network(changed).float().square().mean()
            loss.backward()
            optimiser.step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            spent.append(clock() - began)
        return float(np.median(spent[1:])) / n
    finally:
        torch.set_num_threads(before)
