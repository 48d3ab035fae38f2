"""Freezing: all but the last layers of a backbone keep the weights they came with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["freeze_all_but_last", "layers_with_parameters", "rest_frozen_norms"]


def layers_with_parameters(backbone: nn.Module) -> tuple[nn.Module, ...]:
    """The modules that own parameters themselves, in the order of their definition.

    A convolution and the normalisation after it are two layers; a class token counts with its owner.

    >>> [type(m).__name__ for m in layers_with_parameters(
    ...     nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3)))]
    ['Conv2d', 'BatchNorm2d', 'Conv2d']
    """
    return tuple(m for m in backbone.modules() if any(True for _ in m.parameters(recurse=False)))


def freeze_all_but_last(layers: Sequence[nn.Module], trainable: int) -> None:
    """Let only the last `trainable` layers learn; -1 freezes none, 0 freezes all.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> freeze_all_but_last(layers_with_parameters(net), 1)
    >>> [p.requires_grad for p in net.parameters()]
    [False, False, True, True]
    """
    if trainable < 0:
        return
    for layer in layers[: max(len(layers) - trainable, 0)]:
        for parameter in layer.parameters(recurse=False):
            parameter.requires_grad_(False)


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
