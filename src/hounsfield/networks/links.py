"""A network as the links that it applies one after another: what freezing, rates and caches count by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from hounsfield.networks.classifier import Classifier

__all__ = ["Link", "distances", "links_of"]


@dataclass(frozen=True)
class Link:
    """One of the functions that, applied in order, are the network: images in, logits out at the end.

    `modules` are those that it runs, `parameters` those that it uses and no module of it owns (a class
    token). `head` marks the new classifier, which every plan trains.
    """

    name: str
    apply: Callable[[Tensor], Tensor]
    modules: tuple[nn.Module, ...] = ()
    parameters: tuple[nn.Parameter, ...] = ()
    head: bool = False

    def learned(self) -> Iterator[nn.Parameter]:
        """Every parameter of this link."""
        for module in self.modules:
            yield from module.parameters()
        yield from self.parameters


def links_of(sequence: nn.Module, prefix: str, *, head: bool = False) -> list[Link]:
    """The children of a module that applies them in order, each a link.

    >>> [link.name for link in links_of(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), "body")]
    ['body.0', 'body.1']
    """
    return [Link(f"{prefix}.{name}", m, (m,), head=head) for name, m in sequence.named_children()]


def distances(network: Classifier) -> dict[str, int]:
    """How many layers each parameter stands from the head, by its name; the head itself 0.

    A layer is a link with a kernel: a convolution of VGG or the article, a residual block, a dense block
    or a transition, an inception block, a block of ConvNeXt or of a transformer. A normalisation counts
    with the kernel before it, a class token with the first layer. Where a network names no links, a layer
    is a module with a kernel, in the order of definition.

    >>> from hounsfield.core.plan import Network
    >>> from hounsfield.networks import build
    >>> net = build(Network(name="article-a"), channels=1, outputs=1, size=(1, 28, 28))
    >>> {k: v for k, v in distances(net).items() if k.endswith("weight")}
    {'backbone.0.weight': 2, 'backbone.3.weight': 1, 'classifier.2.weight': 0, 'classifier.4.weight': 0}
    """
    layers = _layers(network)
    rank = {id(p): len(layers) - i for i, layer in enumerate(layers) for p in layer}
    return {name: rank.get(id(p), 0) for name, p in network.named_parameters()}


def _layers(network: Classifier) -> list[list[nn.Parameter]]:
    """The backbone's parameters, a list a layer, from the first layer to the last."""
    links = network.links()
    groups: Sequence[list[nn.Parameter]] = (
        [list(link.learned()) for link in links if not link.head]
        if links
        else [list(module.parameters(recurse=False)) for module in network.layers()]
    )
    layers: list[list[nn.Parameter]] = []
    for group in groups:
        if layers and not any(p.ndim > 1 for p in group):
            layers[-1] += group
        elif group:
            layers.append(group)
    return layers
