"""The form of every network: features, then a head, so that an explanation can stand in between."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from hounsfield.core.errors import BadInput
from hounsfield.networks.families import VOLUME_NETWORKS
from hounsfield.networks.freeze import layers_with_parameters, rest_frozen_norms
from hounsfield.networks.links import Link

__all__ = ["Classifier", "refuse_small", "refuse_volumes"]


class Classifier(nn.Module):
    """Images (N, C, J, I) or (N, C, K, J, I) to logits (N, outputs): forward(x) is head(features(x)).

    `features` gives the last feature map, (N, F, j, i) or (N, F, k, j, i), which Grad-CAM weighs.
    In training mode a frozen batch normalisation keeps the statistics that it was frozen with.

    >>> import torch
    >>> class Brightness(Classifier):
    ...     def features(self, x): return x
    ...     def head(self, feature_map): return feature_map.mean((2, 3))
    >>> Brightness()(torch.ones(2, 1, 4, 4)).shape
    torch.Size([2, 1])
    """

    left_out: tuple[str, ...] = ()
    """Tensors of the head that a weight file could not give, so that they start anew."""

    input_shape: tuple[int, ...] = ()
    """The shape of one image, (C, J, I) or (C, K, J, I), that the network was built for."""

    fixed: frozenset[str] = frozenset()
    """Names of parameters that never learn, whatever is unfrozen (a sine table of positions)."""

    def features(self, x: Tensor) -> Tensor:
        """The last feature map of the images."""
        raise NotImplementedError

    def head(self, feature_map: Tensor) -> Tensor:
        """Logits (N, outputs) of a feature map."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def layers(self) -> tuple[nn.Module, ...]:
        """The backbone's layers that `trainable_layers` counts, first to last, without the classifier.

        Unless a network says otherwise: every module that owns parameters except the last.
        """
        return layers_with_parameters(self)[:-1]

    def links(self) -> tuple[Link, ...]:
        """The functions that `forward` applies one after another; empty where that is not known."""
        return ()

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; frozen batch normalisations stay in evaluation."""
        super().train(mode)
        rest_frozen_norms(self)
        return self


def refuse_volumes(name: str, size: tuple[int, int, int]) -> tuple[int, int]:
    """(rows, columns) of a flat size; BadInput for a volume, which this network cannot take.

    >>> refuse_volumes("article-a", (1, 224, 224))
    (224, 224)
    """
    if size[0] != 1:
        raise BadInput(
            f'network "{name}" was asked for volumes of size {tuple(size)}; it takes 2D images only; '
            f"set input.size to one slice, or network.name to one of {', '.join(VOLUME_NETWORKS)}"
        )
    return size[1], size[2]


def refuse_small(name: str, size: tuple[int, int, int], least: int) -> None:
    """BadInput for an image with fewer than `least` rows or columns, which this network cannot shrink.

    >>> refuse_small("vgg16", (1, 64, 64), 32)
    """
    if min(size[1:]) < least:
        raise BadInput(
            f'network "{name}" was asked for images of {size[1]} x {size[2]}; expected at least '
            f"{least} x {least}; enlarge input.size, or choose a smaller network such as compact"
        )
