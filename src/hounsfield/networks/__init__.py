"""Networks by name: images in, logits out, with the last feature map in between for explanations.

Importing this package loads no torch; the module of a network is imported when it is built.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from hounsfield.core import plan
from hounsfield.core.errors import BadInput
from hounsfield.core.registry import Registry

if TYPE_CHECKING:
    from hounsfield.networks.classifier import Classifier

__all__ = ["NETWORKS", "TIMM_PREFIX", "Builder", "build"]

TIMM_PREFIX = "timm:"


class Builder(Protocol):
    """Makes the network that a plan describes, for images of a size (k, j, i) and some channels."""

    def __call__(
        self, network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int]
    ) -> Classifier: ...


def _later(module: str, function: str) -> Builder:
    def build_later(
        network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int]
    ) -> Classifier:
        builder: Builder = getattr(importlib.import_module(module), function)
        return builder(network, channels=channels, outputs=outputs, size=size)

    return build_later


NETWORKS: Registry[Builder] = Registry("network")
NETWORKS.add("compact", _later("hounsfield.networks.compact", "build_compact"))
NETWORKS.add("plain", _later("hounsfield.networks.compact", "build_plain"))
NETWORKS.add("article-a", _later("hounsfield.networks.article", "build_article_a"))
NETWORKS.add("article-b", _later("hounsfield.networks.article", "build_article_b"))
NETWORKS.add("article-c", _later("hounsfield.networks.article", "build_article_c"))


def build(
    network: plan.Network,
    *,
    channels: int,
    outputs: int,
    size: tuple[int, int, int],
    seed: int | None = None,
) -> Classifier:
    """The network of a plan, for images (N, channels, J, I) if size[0] is 1, else (N, channels, K, J, I).

    `outputs` is the number of logits, `size` the voxels (k, j, i). With a `seed` the first weights
    are drawn from it and torch's own generator is left alone; without, torch's generator is used.
    A name that begins with "timm:" is a backbone of timm. Raises BadInput for an unknown name or
    a size that the network cannot take, MissingDependency where timm or a weight file is not there.

    >>> net = build(plan.Network(width=8), channels=1, outputs=2, size=(1, 28, 28), seed=0)
    >>> sum(p.numel() for p in net.parameters()) > 1000
    True
    """
    if len(size) != 3 or min(size) < 1 or channels < 1 or outputs < 1:
        raise BadInput(
            f"a network for {channels} channel(s), size {tuple(size)} and {outputs} output(s) was asked for; "
            "expected a size (slices, rows, columns) and counts of at least 1; correct the plan's input"
        )
    if network.trainable_layers < -1:
        raise BadInput(
            f"network.trainable_layers is {network.trainable_layers}; expected -1 (train everything), "
            "0 (only the head) or a number of layers; correct the plan"
        )
    builder = _builder(network.name)
    if seed is None:
        return builder(network, channels=channels, outputs=outputs, size=size)
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return builder(network, channels=channels, outputs=outputs, size=size)


def _builder(name: str) -> Builder:
    if name.startswith(TIMM_PREFIX):
        return _later("hounsfield.networks.backbones", "build_backbone")
    return NETWORKS[name]
