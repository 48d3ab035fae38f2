"""Small networks for images and volumes, trained from random weights: "plain" and "compact".

"plain" stacks pairs of convolutions with max-pooling between the stages (Simonyan 2015); "compact" has
basic residual blocks (He 2016) with an average-pooled shortcut (He 2019, ResNet-D). Both use batch or
group normalisation (Wu 2018) and global average pooling. The stem shrinks long axes before the first
stage, so that a CPU can train on large inputs; an axis that has become short is no longer halved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hounsfield.core import plan
from hounsfield.core.errors import BadInput
from hounsfield.networks.classifier import Classifier
from hounsfield.networks.freeze import layers_with_parameters
from hounsfield.networks.links import Link, links_of
from hounsfield.networks.pretrained import refuse_pretrained, start_from
from hounsfield.networks.unet import norm_of

__all__ = ["CompactNet", "build_compact", "build_plain", "built"]

Net = TypeVar("Net", bound="CompactNet")

Norm = Literal["batch", "group"]

_SHORTEST_HALVED = 6
"""An axis of fewer voxels is not halved further."""


class CompactNet(Classifier):
    """`depth` stages of `blocks` blocks, `width`, 2 `width`, 4 `width` … channels wide.

    `size` is (j, i) or (k, j, i); it decides the strides, and the network is 2D or 3D by its length.
    `pool` is "average", or "both" to put the maximum beside it; `plain` leaves the shortcuts out; `norm`
    "group" normalises each image by itself, so that no image's answer depends on the others of its batch.

    >>> net = CompactNet(size=(28, 28), channels=1, outputs=2, width=8, depth=3)
    >>> net.features(torch.zeros(1, 1, 28, 28)).shape, net(torch.zeros(1, 1, 28, 28)).shape
    (torch.Size([1, 32, 7, 7]), torch.Size([1, 2]))
    """

    def __init__(
        self,
        *,
        size: Sequence[int],
        channels: int,
        outputs: int,
        width: int = 32,
        depth: int = 3,
        blocks: int = 1,
        dropout: float = 0.0,
        pool: Literal["average", "both"] = "average",
        plain: bool = False,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        flat = len(size) == 2
        stem, extent = _stem(tuple(size), channels, width, norm)
        if plain and extent == tuple(size):  # the first pair of convolutions is the stem
            stem, wide = nn.Sequential(), channels
        else:
            wide = width
        layers: list[nn.Module] = [stem]
        made = _Plain if plain else _Residual
        for stage in range(depth):
            wide_out = width * 2**stage
            for block in range(blocks):
                starts = stage > 0 and block == 0
                stride = tuple(2 if starts and n >= _SHORTEST_HALVED else 1 for n in extent)
                layers.append(made(wide, wide_out, stride, norm))
                extent = tuple(-(-n // s) for n, s in zip(extent, stride, strict=True))
                wide = wide_out
        self.body = nn.Sequential(*layers)
        self.axes = (2, 3) if flat else (2, 3, 4)
        self.pool = pool
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(wide * (2 if pool == "both" else 1), outputs)
        _initialise(self)

    def features(self, x: Tensor) -> Tensor:
        maps: Tensor = self.body(x)
        return maps

    def pooled(self, feature_map: Tensor) -> Tensor:
        """A row of features (N, F) an image."""
        average = feature_map.mean(self.axes)
        return torch.cat([average, feature_map.amax(self.axes)], 1) if self.pool == "both" else average

    def pooling(self) -> tuple[nn.Module, ...]:
        """The modules that pool, where any of them learns."""
        return ()

    def head(self, feature_map: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(self.pooled(feature_map)))
        return logits

    def layers(self) -> tuple[nn.Module, ...]:
        return layers_with_parameters(self.body)

    def links(self) -> tuple[Link, ...]:
        head = (
            Link("pool", self.pooled, self.pooling(), head=True),
            Link("dropout", self.dropout, (self.dropout,), head=True),
            Link("classifier", self.classifier, (self.classifier,), head=True),
        )
        return (*links_of(self.body, "body"), *head)


def build_plain(
    network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int]
) -> CompactNet:
    """The plain net of a plan: 2D where size is one slice, else 3D.

    >>> net = build_plain(plan.Network(width=4, depth=2), channels=1, outputs=1, size=(1, 28, 28))
    >>> net(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 1])
    """
    return built(CompactNet, "plain", network, channels=channels, outputs=outputs, size=size, plain=True)


def build_compact(
    network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int]
) -> CompactNet:
    """The compact net of a plan: 2D where size is one slice, else 3D.

    >>> net = build_compact(plan.Network(width=4, depth=2), channels=1, outputs=1, size=(16, 16, 16))
    >>> net(torch.zeros(2, 1, 16, 16, 16)).shape
    torch.Size([2, 1])
    """
    return built(CompactNet, "compact", network, channels=channels, outputs=outputs, size=size)


def built(
    kind: type[Net],
    name: str,
    network: plan.Network,
    *,
    channels: int,
    outputs: int,
    size: tuple[int, int, int],
    **shape: Any,
) -> Net:
    """A net of this `kind` as the plan asks for it, with the plan's weights; `name` is what it is called."""
    refuse_pretrained(name, network.weights)
    if network.width < 1 or network.depth < 1 or not 0 <= network.dropout < 1:
        raise BadInput(
            f'network "{name}" was asked for width {network.width}, depth {network.depth} and '
            f"dropout {network.dropout}; expected at least 1, at least 1, and 0 to below 1; correct the plan"
        )
    made = kind(
        size=size[1:] if size[0] == 1 else size,
        channels=channels,
        outputs=outputs,
        width=network.width,
        depth=network.depth,
        dropout=network.dropout,
        norm=network.norm,
        **shape,
    )
    if network.weights:
        made.left_out = start_from(made, network.weights, head="classifier")
    return made


class _Plain(nn.Module):
    """Where the stage begins a max-pooling, then twice a 3 x 3 (x 3) convolution, normalisation, ReLU."""

    def __init__(self, wide: int, wide_out: int, stride: tuple[int, ...], norm: Norm) -> None:
        super().__init__()
        flat, one = len(stride) == 2, (1,) * len(stride)
        self.stride = stride
        self.pairs = nn.Sequential(
            *(_conv(wide, wide_out, 3, one), _norm(wide_out, flat, norm), nn.ReLU()),
            *(_conv(wide_out, wide_out, 3, one), _norm(wide_out, flat, norm), nn.ReLU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        if max(self.stride) > 1:
            pool = functional.max_pool2d if len(self.stride) == 2 else functional.max_pool3d
            x = pool(x, self.stride, ceil_mode=True)
        y: Tensor = self.pairs(x)
        return y


class _Residual(nn.Module):
    """Two 3 x 3 (x 3) convolutions added to a shortcut; the branch starts as zero."""

    def __init__(self, wide: int, wide_out: int, stride: tuple[int, ...], norm: Norm) -> None:
        super().__init__()
        flat = len(stride) == 2
        self.stride = stride
        self.first = _conv(wide, wide_out, 3, stride)
        self.first_norm = _norm(wide_out, flat, norm)
        self.second = _conv(wide_out, wide_out, 3, (1,) * len(stride))
        self.second_norm = _norm(wide_out, flat, norm)
        self.shortcut: nn.Module = nn.Identity()
        if wide != wide_out:
            self.shortcut = nn.Sequential(
                _conv(wide, wide_out, 1, (1,) * len(stride)), _norm(wide_out, flat, norm)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        if max(self.stride) > 1:
            pool = functional.avg_pool2d if len(self.stride) == 2 else functional.avg_pool3d
            x = pool(x, self.stride, ceil_mode=True, count_include_pad=False)
        return functional.relu(y + self.shortcut(x))


def _stem(
    size: tuple[int, ...], channels: int, width: int, norm: Norm
) -> tuple[nn.Sequential, tuple[int, ...]]:
    """Convolution, normalisation, ReLU and, on long axes, pooling; and the extent that remains.

    An image's axis above 96 is quartered; a volume's above 40 is halved and above 96 quartered.
    """
    flat = len(size) == 2
    stride = tuple(2 if n > (96 if flat else 40) else 1 for n in size)
    pooled = tuple(2 if n > 96 else 1 for n in size)
    layers: list[nn.Module] = [_conv(channels, width, 3, stride), _norm(width, flat, norm), nn.ReLU()]
    extent = tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
    if max(pooled) > 1:
        layers.append((nn.MaxPool2d if flat else nn.MaxPool3d)(pooled, ceil_mode=True))
        extent = tuple(-(-n // s) for n, s in zip(extent, pooled, strict=True))
    return nn.Sequential(*layers), extent


def _conv(wide: int, wide_out: int, kernel: int, stride: tuple[int, ...]) -> nn.Module:
    made = nn.Conv2d if len(stride) == 2 else nn.Conv3d
    return made(wide, wide_out, kernel, stride, kernel // 2, bias=False)  # type: ignore[arg-type]


def _norm(wide: int, flat: bool, norm: Norm) -> nn.Module:
    if norm == "group":
        return norm_of(wide)
    return nn.BatchNorm2d(wide) if flat else nn.BatchNorm3d(wide)


def _initialise(network: CompactNet) -> None:
    """He normal (2015) for convolutions; the last scale of each branch zero (Goyal 2017, 5.1)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, _Residual):
            nn.init.zeros_(module.second_norm.weight)  # type: ignore[arg-type]
    nn.init.normal_(network.classifier.weight, std=0.01)
    nn.init.zeros_(network.classifier.bias)
