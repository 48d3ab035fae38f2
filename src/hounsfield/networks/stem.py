"""The first layers of a network of maps, whose answer lies with its channels last in memory.

An image of one channel lies the same way in either order, so that PyTorch takes it, and all that is made of
it up to the next convolution, for channels first: every layer after it then turns a map of full resolution
round. One copy behind the first convolution spares the others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Stem"]


class Stem(nn.Sequential):
    """A convolution and what follows it, on images (N, C, J, I) or (N, C, K, J, I).

    >>> stem = Stem(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
    >>> stem(torch.ones(1, 1, 8, 8)).is_contiguous(memory_format=torch.channels_last)
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = self
        form = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        x = first(x).contiguous(memory_format=form)
        for layer in rest:
            x = layer(x)
        return x
