"""How much memory an image needs on its way through a network, before a batch is too large for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hounsfield.networks.dropout import set_rows

__all__ = ["bytes_per_image"]


def bytes_per_image(network: nn.Module, shape: Sequence[int], device: torch.device) -> int:
    """Bytes that the forward pass of one image of `shape` (C, J, I) or (C, K, J, I) keeps for the backward.

    Measured in training mode, for the layers that learn at present, under the caller's autocast: the
    difference between three images and two, so that parameters and what is kept once a batch do not
    count. The gradient of the largest of these tensors, and what a kernel borrows while it computes, come
    on top: allow about half as much again. Modes, statistics, generators and gradients are left as they
    were; rows of a batch that `set_rows` named are forgotten. All processes of a group must call it
    together where the network's normalisation is `synced`.

    >>> bytes_per_image(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), (1, 10, 10), torch.device("cpu"))
    1424
    """
    buffers = {name: b.clone() for name, b in network.named_buffers()}
    modes = [(module, module.training) for module in network.modules()]
    devices = [device.index or 0] if device.type == "cuda" else []
    set_rows(network, 0, 0, 0)
    network.train()
    try:
        with torch.random.fork_rng(devices=devices), torch.inference_mode(False), torch.enable_grad():
            two, three = (_kept(network, torch.zeros(n, *shape, device=device)) for n in (2, 3))
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(buffers[name])
    return max(0, three - two)


def _kept(network: nn.Module, images: Tensor) -> int:
    """Bytes of all memory that autograd holds on to, each piece counted once."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(images)
    kept = sum(sizes.values())
    del logits
    return kept
