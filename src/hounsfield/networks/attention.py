"""An image as a bag of places: the compact net with gated attention in the place of the average.

A finding of a few millimetres in a picture of a whole breast is lost in an average over all places. Here each
place of the last feature map is weighed by how much the network looks at it (Ilse 2018, gated attention), and
the weights say which region a score came from (Shen 2021, GMIC, has the same aim in two passes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hounsfield.core import plan
from hounsfield.networks.compact import CompactNet, built

__all__ = ["AttentionNet", "WithAttention", "build_attention"]

_HIDDEN = 64


class AttentionNet(CompactNet):
    """`CompactNet`'s features, pooled by attention: `attention` gives the weight of each place.

    The logit of an output is the sum over places of weight x (the place's features by the output's row of the
    last layer) plus its bias, so that the share of every place in it is known (`shares`).

    >>> net = AttentionNet(size=(64, 48), channels=1, outputs=1, width=8, depth=3).eval()
    >>> maps = net.features(torch.zeros(2, 1, 64, 48))
    >>> weights = net.attention(maps)
    >>> weights.shape, bool(torch.allclose(weights.sum(1), torch.ones(2)))
    (torch.Size([2, 192]), True)
    >>> bool(torch.allclose(net.shares(maps).sum(2) + net.classifier.bias, net.head(maps), atol=1e-5))
    True
    """

    def __init__(
        self, *, size: Sequence[int], channels: int, outputs: int, dropout: float = 0.0, **shape: Any
    ) -> None:
        super().__init__(size=size, channels=channels, outputs=outputs, dropout=dropout, **shape)
        wide = self.classifier.in_features
        self.seen = nn.Sequential(nn.Linear(wide, _HIDDEN), nn.Tanh())
        self.gate = nn.Sequential(nn.Linear(wide, _HIDDEN), nn.Sigmoid())
        self.weight = nn.Linear(_HIDDEN, 1)
        nn.init.zeros_(self.weight.weight)  # every place counts alike before anything is learned

    def attention(self, feature_map: Tensor) -> Tensor:
        """The weight (N, positions) of every place of a feature map; they sum to 1."""
        return self.attention_logits(feature_map).softmax(1)

    def attention_logits(self, feature_map: Tensor) -> Tensor:
        """`attention` before its softmax."""
        places = feature_map.flatten(2).transpose(1, 2)
        logits: Tensor = self.weight(self.seen(places) * self.gate(places))
        return logits[:, :, 0].float()

    def pooled(self, feature_map: Tensor) -> Tensor:
        """A row of features (N, F) an image."""
        weights = self.attention(feature_map).to(feature_map.dtype)
        return torch.einsum("nfp,np->nf", feature_map.flatten(2), weights)

    def shares(self, feature_map: Tensor) -> Tensor:
        """What each place adds to each logit, (N, outputs, positions)."""
        evidence = torch.einsum("nfp,of->nop", feature_map.flatten(2).float(), self.classifier.weight.float())
        return evidence * self.attention(feature_map)[:, None]

    def pooling(self) -> tuple[nn.Module, ...]:
        return self.seen, self.gate, self.weight


class WithAttention(nn.Module):
    """An `AttentionNet` that gives (logits, attention logits (N, [k,] j, i)), so that both can be taught.

    >>> net = AttentionNet(size=(64, 48), channels=1, outputs=1, width=8, depth=3)
    >>> [tuple(found.shape) for found in WithAttention(net)(torch.zeros(2, 1, 64, 48))]
    [(2, 1), (2, 16, 12)]
    """

    def __init__(self, network: AttentionNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        feature_map = self.network.features(x)
        looked = self.network.attention_logits(feature_map)
        return self.network.head(feature_map), looked.view(len(x), *feature_map.shape[2:])


def build_attention(
    network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int]
) -> AttentionNet:
    """The attention net of a plan: 2D where size is one slice, else 3D.

    >>> net = build_attention(plan.Network(width=4, depth=2), channels=1, outputs=1, size=(1, 32, 32))
    >>> net(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 1])
    """
    return built(
        AttentionNet, "attention", network, channels=channels, outputs=outputs, size=size,
        blocks=network.blocks,
    )  # fmt: skip
