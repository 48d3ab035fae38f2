"""The form of every network: features, then a head, so that an explanation can stand in between."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from hounsfield.core.errors import BadInput
from hounsfield.networks.freeze import rest_frozen_norms

__all__ = ["Classifier", "refuse_volumes"]


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

    def features(self, x: Tensor) -> Tensor:
        """The last feature map of the images."""
        raise NotImplementedError

    def head(self, feature_map: Tensor) -> Tensor:
        """Logits (N, outputs) of a feature map."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

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
            'set network.name="compact" or input.size to one slice'
        )
    return size[1], size[2]
