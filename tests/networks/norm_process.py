"""One of several processes that share a batch: a forward and a backward with synchronised normalisation."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed, nn

from hounsfield.networks.synced import synced

CUTS = {"even": (0, 4, 8), "uneven": (0, 3, 8), "empty": (0, 0, 8)}


class Followed(nn.BatchNorm2d):
    """A normalisation with an activation behind it, as timm's."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(super().forward(x))


def network(axes: int) -> nn.Module:
    torch.manual_seed(3)
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if axes == 2 else (nn.Conv3d, nn.BatchNorm3d)
    last = Followed(4) if axes == 2 else norm(4, momentum=None)
    made = nn.Sequential(conv(2, 6, 3), norm(6), nn.ReLU(), conv(6, 4, 2), last)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return made.train()


def batch(axes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return 30 + torch.randn(8, 2, *(5,) * axes, generator=generator) * 3


def run(made: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Outputs, gradients (of the sum over rows) and statistics after two steps."""
    x = x.clone().requires_grad_()
    for _ in range(2):
        made.zero_grad()
        x.grad = None
        y = made(x)
        (y.square() * torch.arange(1.0, 5).reshape(1, 4, *(1,) * (y.ndim - 2))).sum().backward()
    out = {"y": y.detach(), "dx": x.grad}
    out |= {f"d {k}": p.grad for k, p in made.named_parameters()}
    return out | {k: b.clone() for k, b in made.named_buffers()}


def main(store: str, rank: int, out: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", store=distributed.FileStore(store, 2), rank=rank, world_size=2)
    found = {}
    for axes in (2, 3):
        for name, cuts in CUTS.items():
            found[f"{axes} {name}"] = run(synced(network(axes)), batch(axes)[cuts[rank] : cuts[rank + 1]])
    torch.save(found, Path(out))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
