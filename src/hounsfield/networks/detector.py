"""A detector without anchors: every cell of one feature map says whether an object's centre lies in it.

A residual encoder, a feature pyramid (Lin 2017a) from its coarsest stage down to the one map that is asked
for, one convolution there, and from it how likely a centre is (CenterNet, Zhou 2019), where in the cell it
lies and how large the object is. The stem strides, so that most of the work is done on few cells: a small
object need not be seen at full resolution, only its channels must hold it (SCPM-Net, Luo 2022). Batches are
normalised, not groups of channels: what a network learned on patches holds in a window of any size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hounsfield.core import plan
from hounsfield.core.errors import BadInput
from hounsfield.networks.classifier import Classifier
from hounsfield.networks.dropout import share_dropout
from hounsfield.networks.pointwise import Pointwise3d
from hounsfield.networks.pretrained import refuse_pretrained, start_from
from hounsfield.networks.stem import Stem

__all__ = ["Detector", "build_detector"]

Steps = tuple[int, ...]
_PRIOR = 0.01  # how likely a centre is in any cell before anything is learned (Lin 2017b, 4.1)
_SHORTEST_HALVED = 6  # an axis of fewer cells is not halved below the map that is asked for


class Detector(Classifier):
    """Images (N, C, J, I) or (N, C, K, J, I) to one map (N, classes + 2 D, cells…) of D = 2 or 3 axes.

    The channels are the logits of a centre for each class, then the logarithm of the size in cells along each
    axis, then the centre's distance from the middle of the cell in cells along each axis. `strides` are one a
    stage and axis; a cell of the map is `stride` voxels wide, which the product of the first strides must
    give, and an axis of n voxels has ceil(n / stride) cells.

    >>> net = Detector(channels=1, classes=2, width=4, strides=((2, 2), (2, 2), (2, 2)), stride=(4, 4))
    >>> net(torch.zeros(1, 1, 32, 48)).shape
    torch.Size([1, 6, 8, 12])
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        width: int,
        strides: Sequence[Steps],
        stride: Steps,
        blocks: int = 1,
        widest: int = 320,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        flat = len(stride) == 2
        wide = [min(widest, width * 2**n) for n in range(len(strides))]
        self.classes, self.stride = classes, tuple(stride)
        self.strides = tuple(strides)
        self.map_stage = _stage_of(strides, stride)
        self.stem = Stem(*_normed(channels, wide[0], strides[0]))
        self.encoder = nn.ModuleList(
            nn.Sequential(
                *(
                    _Residual(
                        wide[max(n - 1, 0)] if b == 0 else wide[n],
                        wide[n],
                        strides[n] if b == 0 and n else tuple(1 for _ in stride),
                    )
                    for b in range(blocks)
                )
            )
            for n in range(len(strides))
        )
        pyramid = min(widest, 2 * wide[self.map_stage])
        pointwise = nn.Conv2d if flat else Pointwise3d
        self.laterals = nn.ModuleList(pointwise(w, pyramid, 1) for w in wide[self.map_stage :])
        one = tuple(1 for _ in stride)
        self.smooth = _normed(pyramid, pyramid, one)
        self.dropout = nn.Dropout(dropout)
        self.centre = pointwise(pyramid, classes, 1)
        self.place = pointwise(pyramid, 2 * len(stride), 1)
        _initialise(self)

    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        held: list[Tensor] = []
        for stage in self.encoder:
            x = stage(x)
            held.append(x)
        held = held[self.map_stage :]
        top: Tensor = self.laterals[-1](held[-1])
        for n in range(len(held) - 2, -1, -1):
            top = self.laterals[n](held[n]) + _enlarged(top, self.strides[self.map_stage + n + 1], held[n])
        smooth: Tensor = self.smooth(top)
        return smooth

    def head(self, feature_map: Tensor) -> Tensor:
        x = self.dropout(feature_map)
        return torch.cat([self.centre(x), self.place(x)], 1)


def build_detector(
    network: plan.Network,
    *,
    channels: int,
    classes: int,
    patch: tuple[int, int, int],
    stride: tuple[int, int, int],
    seed: int | None = None,
) -> Detector:
    """The detector of a plan for patches (k, j, i): 2D where patch[0] is 1, else 3D.

    `network.depth` counts the stages from the first stride on. Without `network.strides` every stage strides:
    up to the map, the axes with the longer stride first, below it every axis of at least 6 cells. With a
    `seed` the first weights are drawn from it and torch's own generator is left alone. Raises BadInput for a
    stride that is no power of 2, that no stage has, or that a flat patch cannot take.

    >>> net = build_detector(plan.Network(width=4, depth=4), channels=1, classes=1, patch=(16, 32, 32),
    ...                      stride=(2, 4, 4), seed=0)
    >>> net.strides, net(torch.zeros(1, 1, 16, 32, 32)).shape
    (((1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1)), torch.Size([1, 7, 8, 8, 8]))
    """
    _check(network, channels, classes, patch, stride)
    flat = 1 if patch[0] == 1 else 0
    strides = network.strides or _usual(patch, stride, network.depth)

    def made() -> Detector:
        return Detector(
            channels=channels,
            classes=classes,
            width=network.width,
            strides=[s[flat:] for s in strides],
            stride=stride[flat:],
            blocks=network.blocks,
            widest=network.widest,
            dropout=network.dropout,
        )

    if seed is None:
        net = made()
    else:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            net = made()
    net.input_shape = (channels, *patch[flat:])
    share_dropout(net)
    if network.weights:
        net.left_out = start_from(net, network.weights, head="centre")
    return net


def _check(
    network: plan.Network,
    channels: int,
    classes: int,
    patch: tuple[int, int, int],
    stride: tuple[int, int, int],
) -> None:
    refuse_pretrained("detector", network.weights)
    if channels < 1 or classes < 1 or min(*patch, network.width, network.depth) < 1:
        raise BadInput(
            f"a detector of {channels} channel(s), {classes} class(es), patches of {tuple(patch)}, width "
            f"{network.width} and depth {network.depth} was asked for; expected at least 1 of each; correct "
            "the plan"
        )
    powers = all(s > 0 and s & (s - 1) == 0 for s in stride)
    if not powers or (patch[0] == 1 and stride[0] != 1) or any(s > n for s, n in zip(stride, patch)):  # noqa: B905
        raise BadInput(
            f"detection.stride is {tuple(stride)} for patches of {tuple(patch)} voxels; expected powers of 2 "
            "that are no longer than the patch, 1 along the slices of pictures; correct the plan"
        )


def _usual(
    patch: tuple[int, int, int], stride: tuple[int, int, int], depth: int
) -> tuple[tuple[int, int, int], ...]:
    """Strides of the stages: to the map as fast as its longest axis needs, then while axes are long."""
    halvings = [int(math.log2(s)) for s in stride]
    most = max(halvings)
    strides: list[tuple[int, int, int]] = [] if most else [(1, 1, 1)]
    for left in range(most, 0, -1):
        k, j, i = (2 if h >= left else 1 for h in halvings)
        strides.append((k, j, i))
    cells = [-(-n // s) for n, s in zip(patch, stride, strict=True)]
    while len(strides) < depth:
        k, j, i = (2 if n >= _SHORTEST_HALVED else 1 for n in cells)
        strides.append((k, j, i))
        cells = [-(-n // s) for n, s in zip(cells, strides[-1], strict=True)]
    return tuple(strides)


def _stage_of(strides: Sequence[Steps], stride: Steps) -> int:
    """The last stage whose cells are `stride` voxels wide."""
    reached = [
        tuple(math.prod(s[a] for s in strides[: n + 1]) for a in range(len(stride)))
        for n in range(len(strides))
    ]
    if tuple(stride) not in reached:
        raise BadInput(
            f"detection.stride is {tuple(stride)}, and the stages' cells are "
            f"{', '.join('×'.join(map(str, r)) for r in reached)} voxels wide; choose one of these, or "
            "correct network.strides"
        )
    return next(n for n, r in enumerate(reached) if r == tuple(stride))


class _Residual(nn.Module):
    """Two convolutions added to a shortcut (He 2016), pooled and projected where the block strides."""

    def __init__(self, wide: int, wide_out: int, stride: Steps) -> None:
        super().__init__()
        flat = len(stride) == 2
        self.first = _normed(wide, wide_out, stride)
        self.second = _conv(wide_out, wide_out, tuple(1 for _ in stride))
        self.norm = _norm(wide_out, stride)
        self.act = nn.ReLU(inplace=True)
        shorter: list[nn.Module] = []
        if max(stride) > 1:
            pool = nn.AvgPool2d if flat else nn.AvgPool3d
            shorter.append(pool(stride, stride, ceil_mode=True, count_include_pad=False))  # type: ignore[arg-type]
        if wide != wide_out:
            shorter.append((nn.Conv2d if flat else Pointwise3d)(wide, wide_out, 1, bias=False))
        self.shortcut = nn.Sequential(*shorter)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(self.second(self.first(x))) + self.shortcut(x))
        return y


def _enlarged(coarse: Tensor, stride: Steps, fine: Tensor) -> Tensor:
    """Every cell repeated `stride` times, cut to the finer map: a cell lies over the cells it was made of."""
    for axis, times in enumerate(stride, start=2):
        if times > 1:
            coarse = coarse.repeat_interleave(times, axis).narrow(axis, 0, fine.shape[axis])
    return coarse


def _normed(wide: int, wide_out: int, stride: Steps) -> nn.Sequential:
    return nn.Sequential(_conv(wide, wide_out, stride), _norm(wide_out, stride), nn.ReLU(inplace=True))


def _norm(wide: int, stride: Steps) -> nn.Module:
    return nn.BatchNorm2d(wide) if len(stride) == 2 else nn.BatchNorm3d(wide)


def _conv(wide: int, wide_out: int, stride: Steps) -> nn.Module:
    made = nn.Conv2d if len(stride) == 2 else nn.Conv3d
    return made(wide, wide_out, 3, stride, 1, bias=False)  # type: ignore[arg-type]


def _initialise(network: Detector) -> None:
    """He normal (2015) for convolutions, small last ones, and a low prior for centres (Lin 2017b, 4.1)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for last in (network.centre, network.place):
        nn.init.normal_(last.weight, std=0.01)
    assert network.centre.bias is not None
    nn.init.constant_(network.centre.bias, -math.log((1 - _PRIOR) / _PRIOR))
