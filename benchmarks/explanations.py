"""All-class Grad-CAM against one forward pass, alternating in one run, and against a backward pass a class.

    python benchmarks/explanations.py [--rounds 7] [--network resnet18] [--side 224] [--batch 8]

Processor time of one thread; ratios are medians over rounds of times taken one after another. "a
backward pass a class" is what a library does that is asked for one class after another: the network forward,
and back to its last feature map, for each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hounsfield.core.plan import Network
from hounsfield.explainers.gradcam import gradcam_classes
from hounsfield.networks import build

CLASSES = 14


def _naive(network: nn.Module, images: Tensor) -> list[Tensor]:
    """The coarse maps of each class by a forward and a backward pass of its own (Selvaraju 2017)."""
    found = []
    for k in range(CLASSES):
        maps = network.features(images)  # type: ignore[operator]
        logit = network.head(maps)[:, k].sum()  # type: ignore[operator]
        (gradient,) = torch.autograd.grad(logit, maps)
        found.append((gradient.mean((2, 3), keepdim=True) * maps).sum(1).clamp_min(0).detach())
    return found


def _forward(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = network(images)
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(1)
    plan = Network(name=given.network)
    network = build(plan, channels=3, outputs=CLASSES, size=(1, given.side, given.side), seed=0).eval()
    images = torch.randn(given.batch, 3, given.side, given.side, generator=torch.Generator().manual_seed(0))
    ways: dict[str, Callable[[nn.Module, Tensor], object]] = {
        "one forward pass": _forward,
        f"Grad-CAM of all {CLASSES} classes": gradcam_classes,
        f"a backward pass a class, {CLASSES} of them": _naive,
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(given.rounds + 1):
        for name, way in ways.items():
            began = time.process_time()
            way(network, images)
            if number:  # the first round warms up
                spent[name].append(time.process_time() - began)
    first = next(iter(spent.values()))
    print(f"{given.network}, {given.batch} images of {given.side} x {given.side}, one thread")
    for name, times in spent.items():
        ratio = statistics.median(t / f for t, f in zip(times, first, strict=True))
        print(f"{name:<38} {statistics.median(times):7.3f} s   {ratio:6.2f} forward passes")


if __name__ == "__main__":
    main()
