"""Networks by name: images in, logits out, with the last feature map in between for explanations.

Importing this package loads no torch; the module of a network is imported when it is built.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from hounsfield.core import plan
from hounsfield.core.errors import BadInput
from hounsfield.core.registry import Registry
from hounsfield.networks.families import FAMILIES

if TYPE_CHECKING:
    from hounsfield.networks.classifier import Classifier

__all__ = ["ATTENDING", "EITHER_NORM", "NETWORKS", "TIMM_PREFIX", "Builder", "build"]

TIMM_PREFIX = "timm:"

ATTENDING = ("attention",)
"""Networks that pool by attention, which marked findings can teach where to look."""

EITHER_NORM = ("plain", "compact", "attention")
"""Networks that normalise by the batch or by groups of channels, as the plan says."""


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


_build_backbone = _later("hounsfield.networks.backbones", "build_backbone")

NETWORKS: Registry[Builder] = Registry("network")
NETWORKS.add("compact", _later("hounsfield.networks.compact", "build_compact"))
NETWORKS.add("attention", _later("hounsfield.networks.attention", "build_attention"))
NETWORKS.add("plain", _later("hounsfield.networks.compact", "build_plain"))
NETWORKS.add("article-a", _later("hounsfield.networks.article", "build_article_a"))
NETWORKS.add("article-b", _later("hounsfield.networks.article", "build_article_b"))
NETWORKS.add("article-c", _later("hounsfield.networks.article", "build_article_c"))
for _name in FAMILIES:
    NETWORKS.add(_name, _build_backbone)


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
    A name that begins with "timm:" is any backbone of timm. Its last `trainable_layers` learn, and its
    dropout draws one mask for a whole batch (`networks.dropout`). Raises BadInput for an unknown name or
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
    if network.trainable_layers < -1 or not 0 <= network.dropout < 1:
        raise BadInput(
            f"network.trainable_layers is {network.trainable_layers} and network.dropout {network.dropout}; "
            "expected -1 (train everything), 0 (only the head) or a number of layers, and a share from 0 to "
            "below 1; correct the plan"
        )
    if network.norm != "batch" and network.name not in EITHER_NORM:
        raise BadInput(
            f'network.norm is {network.norm}, and network "{network.name}" has the normalisation that it was '
            f"made with; leave network.norm out, or choose {' or '.join(EITHER_NORM)}"
        )
    builder = _builder(network.name)
    if seed is None:
        return _finished(
            builder(network, channels=channels, outputs=outputs, size=size), network, channels, size
        )
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        made = builder(network, channels=channels, outputs=outputs, size=size)
    return _finished(made, network, channels, size)


def _finished(
    made: Classifier, network: plan.Network, channels: int, size: tuple[int, int, int]
) -> Classifier:
    """What is alike for every network: its image's shape, its shared dropout, its frozen layers."""
    from hounsfield.networks.dropout import share_dropout
    from hounsfield.networks.freeze import set_trainable

    made.input_shape = (channels, *(size if size[0] > 1 else size[1:]))
    share_dropout(made)
    set_trainable(made, network.trainable_layers)
    return made


def _builder(name: str) -> Builder:
    return _build_backbone if name.startswith(TIMM_PREFIX) else NETWORKS[name]
