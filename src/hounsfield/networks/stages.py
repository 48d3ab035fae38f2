"""A network split behind its frozen first part, whose features need to be computed only once an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from hounsfield.networks.classifier import Classifier
from hounsfield.networks.links import Link

__all__ = ["Prefix", "Rest", "frozen_prefix"]


class Rest(nn.Module):
    """The links behind a split, as one network: features to logits, with the parameters that learn."""

    def __init__(self, links: Sequence[Link]) -> None:
        super().__init__()
        self.links = tuple(links)
        self.parts = nn.ModuleList([m for link in links for m in link.modules])
        self.loose = nn.ParameterList([p for link in links for p in link.parameters])

    def forward(self, features: Tensor) -> Tensor:
        for link in self.links:
            features = link.apply(features)
        return features


@dataclass(frozen=True)
class Prefix:
    """A network as `rest(prefix(x))`: its first `depth` links, all frozen and free of chance, and the rest.

    `rest` shares its modules with the network: their parameters and modes are the network's own, so switch
    `network.train()`, not the rest, between training and evaluation.
    """

    depth: int
    frozen: tuple[Link, ...]
    rest: Rest

    def prefix(self, x: Tensor) -> Tensor:
        """The features (N, …) that the rest starts from; no gradient is kept."""
        with torch.no_grad():
            for link in self.frozen:
                x = link.apply(x)
        return x


def frozen_prefix(network: Classifier) -> Prefix | None:
    """The longest first part of a network that training leaves as it is, or None if there is none.

    A link belongs to it if no parameter in it learns and nothing in it is drawn or updated while the
    network trains: its batch normalisations rest, it drops nothing. It reaches into the head as far as
    that holds, so a frozen backbone's features are kept after the global pooling. Parts without parameters
    alone are no prefix. The split is tried on a random image: unless `rest(prefix(x))` is `network(x)`,
    the links named by the network are not what it computes, and the split falls back to behind
    `features`, if nothing within learns. After `set_trainable` split anew.

    >>> from hounsfield.core.plan import Network
    >>> from hounsfield.networks import build
    >>> plan = Network(name="article-c", trainable_layers=4)
    >>> split = frozen_prefix(build(plan, channels=1, outputs=1, size=(1, 32, 32), seed=0))
    >>> split.frozen[-1].name, split.prefix(torch.zeros(1, 1, 32, 32)).shape
    ('backbone.23', torch.Size([1, 512, 2, 2]))
    """
    if not network.input_shape:
        return None
    with _undisturbed(network):
        x = _image(network)
        for links in (network.links(), _halves(network, x)):
            network.train()
            made = _split(links)
            if made is not None and _same(network, made, x):
                return made
    return None


def _split(links: Sequence[Link]) -> Prefix | None:
    depth = 0
    while depth < len(links) and _settled(links[depth]):
        depth += 1
    if not any(True for link in links[:depth] for _ in link.learned()):
        return None
    return Prefix(depth, tuple(links[:depth]), Rest(links[depth:]))


def _settled(link: Link) -> bool:
    """Whether a link gives the same for an image whenever it is asked during training."""
    if any(p.requires_grad for p in link.learned()):
        return False
    for module in (m for top in link.modules for m in top.modules()):
        if isinstance(module, _BatchNorm) and module.training:
            return False
        if isinstance(module, _DropoutNd) and module.p > 0:
            return False
        if float(getattr(module, "drop_prob", 0.0) or 0.0) > 0:  # stochastic depth, drop block
            return False
    return True


def _halves(network: Classifier, x: Tensor) -> tuple[Link, ...]:
    """Features and head as two links, each with the modules that ran, for any network."""
    ran: dict[int, nn.Module] = {}

    def note(module: nn.Module, _: object) -> None:
        ran[id(module)] = module

    hooks = [m.register_forward_pre_hook(note) for m in network.modules()]
    try:
        with torch.no_grad():
            network.eval().features(x)
    finally:
        for hook in hooks:
            hook.remove()
    used = {id(p) for m in ran.values() for p in m.parameters()}
    loose = tuple(
        p
        for module in network.modules()
        if id(module) not in ran and any(True for _ in module.children())
        for p in module.parameters(recurse=False)
        if id(p) not in used
    )  # a class token: owned by a module that is not called itself
    return (
        Link("features", network.features, tuple(ran.values()), loose),
        Link("head", network.head, (network,), head=True),
    )


def _same(network: Classifier, made: Prefix, x: Tensor) -> bool:
    """Whether the split computes the network, the same in training and evaluation, and keeps its input."""
    with torch.no_grad():
        try:
            network.train()
            trained = made.prefix(x)
            network.eval()
            features = made.prefix(x)
            kept = features.clone()
            logits = made.rest(features)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return False  # links that do not follow one another
        return _equal(logits, network(x)) and torch.equal(kept, features) and _equal(kept, trained)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def _image(network: Classifier) -> Tensor:
    parameter = next(network.parameters())
    drawn = torch.randn(1, *network.input_shape, generator=torch.Generator().manual_seed(0))
    return drawn.to(parameter.device, parameter.dtype)


@contextmanager
def _undisturbed(network: nn.Module) -> Iterator[None]:
    """The network's modes and torch's generators are left as they were."""
    modes = [(module, module.training) for module in network.modules()]
    devices = sorted({p.device.index or 0 for p in network.parameters() if p.is_cuda})
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
