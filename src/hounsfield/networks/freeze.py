"""Freezing: all but the last layers of a backbone keep their weights, for a while or for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from hounsfield.networks.classifier import Classifier

__all__ = ["layers_with_parameters", "rest_frozen_norms", "set_trainable"]


def layers_with_parameters(backbone: nn.Module) -> tuple[nn.Module, ...]:
    """The modules that own parameters themselves, in the order of their definition.

    A convolution and the normalisation after it are two layers; a class token counts with its owner.

    >>> [type(m).__name__ for m in layers_with_parameters(
    ...     nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3)))]
    ['Conv2d', 'BatchNorm2d', 'Conv2d']
    """
    return tuple(m for m in backbone.modules() if any(True for _ in m.parameters(recurse=False)))


def set_trainable(network: Classifier, layers: int) -> None:
    """Let only the last `layers` of `network.layers()` learn, beside the head; -1 all, 0 the head alone.

    It may be called again and again while a network trains (staged unfreezing, Howard 2018): layers thaw
    and freeze, and their batch normalisations wake and rest with them. A frozen parameter loses its
    gradient, so that an optimiser over all parameters passes it by.

    >>> from hounsfield.core.plan import Network
    >>> from hounsfield.networks import build
    >>> net = build(Network(name="article-a"), channels=1, outputs=1, size=(1, 28, 28))
    >>> set_trainable(net, 2)
    >>> [name for name, p in net.named_parameters() if not p.requires_grad]
    ['backbone.0.weight', 'backbone.0.bias']
    >>> set_trainable(net, -1)
    >>> all(p.requires_grad for p in net.parameters())
    True
    """
    counted = network.layers()
    frozen = counted[: max(len(counted) - layers, 0)] if layers >= 0 else ()
    never = {id(p) for name, p in network.named_parameters() if name in network.fixed}
    rests = {id(p) for layer in frozen for p in layer.parameters(recurse=False)} | never
    for layer in counted:
        for parameter in layer.parameters(recurse=False):
            parameter.requires_grad_(id(parameter) not in rests)
            if id(parameter) in rests:
                parameter.grad = None
    network.train(network.training)


def rest_frozen_norms(network: nn.Module) -> None:
    """Put each batch normalisation whose parameters are all frozen into evaluation mode.

    Otherwise its running statistics would drift away from the weights that were kept (the trap that
    Keras closes by running a frozen BatchNormalization in inference mode).
    """
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            own = list(module.parameters(recurse=False))
            if own and not any(p.requires_grad for p in own):
                module.eval()
