"""A private step against a plain one, and against Opacus's own hooks: time of one core, alternating, medians.

python benchmarks/private_step.py [--side 28] [--width 16] [--batch 32] [--times 9] [--network compact]

The network is that of a plan with network.norm=group; SGD, one image a patient. Time is that of the process
(not of the wall), so that a busy machine disturbs little.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from opacus.grad_sample.grad_sample_module import GradSampleHooks
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from hounsfield.core.plan import Network
from hounsfield.federation.privacy.private_step import PrivateStep
from hounsfield.networks import build
from hounsfield.steps.batches import Piece

CLIP, NOISE = 1.0, 1.1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--network", default="compact", choices=("compact", "plain"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    steps = {"plain": _plain, "private": _private, "opacus": _opacus}
    made = {name: step(asked, rng) for name, step in steps.items()}
    seconds = _alternating(made, asked.times)
    net = _network(asked)
    print(
        f"{asked.network}, width {asked.width}, {sum(p.numel() for p in net.parameters())} weights, "
        f"{asked.batch} images of {asked.side} x {asked.side}, {asked.times} steps each"
    )
    for name, found in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(found, seconds["plain"], strict=True))
        least = min(found) / min(seconds["plain"])
        print(
            f"{name:8} median {1e3 * statistics.median(found):7.1f} ms, least {1e3 * min(found):7.1f} ms; "
            f"of plain: median of pairs {ratio:.2f}, least by least {least:.2f}"
        )


def _network(asked: argparse.Namespace) -> nn.Module:
    plan = Network(name=asked.network, norm="group", width=asked.width)
    return build(plan, channels=1, outputs=1, size=(1, asked.side, asked.side), seed=1).train()


def _batch(asked: argparse.Namespace) -> tuple[nn.Module, torch.optim.Optimizer, torch.Tensor, torch.Tensor]:
    net = _network(asked).to(memory_format=torch.channels_last)
    torch.manual_seed(0)
    images = torch.randn(asked.batch, 1, asked.side, asked.side).contiguous(memory_format=torch.channels_last)
    return net, torch.optim.SGD(net.parameters(), lr=0.01, fused=True), images, torch.rand(asked.batch, 1)


def _plain(asked: argparse.Namespace, _: np.random.Generator) -> Callable[[], None]:
    net, optimiser, images, wanted = _batch(asked)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        cross_entropy(net(images), wanted).backward()
        optimiser.step()

    return step


def _private(asked: argparse.Namespace, rng: np.random.Generator) -> Callable[[], None]:
    net, optimiser, images, wanted = _batch(asked)
    piece = Piece(images, wanted, 0, asked.batch, asked.batch, who=np.arange(asked.batch))
    private = PrivateStep(
        net, lambda logits, truth: cross_entropy(logits, truth, reduction="none"),
        clip=CLIP, noise=NOISE, expected=float(asked.batch),
    )  # fmt: skip

    def step() -> None:
        private.gradient([piece], rng)
        optimiser.step()

    return step


def _opacus(asked: argparse.Namespace, rng: np.random.Generator) -> Callable[[], None]:
    """The same step by Opacus's hooks as they are."""
    net, optimiser, images, wanted = _batch(asked)
    GradSampleHooks(net, loss_reduction="sum")

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        cross_entropy(net(images), wanted, reduction="sum").backward()
        parameters = list(net.parameters())
        rows = [p.grad_sample.flatten(1) for p in parameters]
        length = torch.stack([torch.linalg.vector_norm(r, dim=1) for r in rows]).norm(dim=0)
        factor = (CLIP / length).clamp(max=1.0)
        for p, r in zip(parameters, rows, strict=True):
            noise = torch.from_numpy(rng.standard_normal(p.numel(), np.float32)).view(p.shape)
            p.grad = ((factor @ r).view(p.shape) + NOISE * CLIP * noise) / asked.batch
            p.grad_sample = None
        optimiser.step()

    return step


def _alternating(steps: dict[str, Callable[[], None]], times: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in steps}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for turn in range(times + 1):
            for name, step in steps.items():
                began = time.process_time()
                step()
                if turn:  # the first warms up
                    found[name].append(time.process_time() - began)
    return found


if __name__ == "__main__":
    main()
