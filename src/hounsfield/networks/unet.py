"""A U-Net with a residual encoder for pictures and volumes (Ronneberger 2015; Isensee 2024, ResEnc).

The encoder has residual blocks and strided convolutions, the decoder one transposed convolution and one
convolution a stage. Every stage of the decoder can answer at its own resolution (deep supervision).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hounsfield.core import plan
from hounsfield.core.errors import BadInput
from hounsfield.networks.classifier import Classifier
from hounsfield.networks.dropout import share_dropout
from hounsfield.networks.pointwise import Pointwise3d
from hounsfield.networks.stem import Stem

__all__ = ["UNet", "build_unet", "norm_of"]

Steps = tuple[int, ...]


class UNet(Classifier):
    """Images (N, C, J, I) or (N, C, K, J, I) to logits (N, outputs, …) of every voxel.

    `strides` are one a stage and axis, the first usually 1; `kernels` likewise (1 along an axis that is still
    coarser than the others). In training with `deep` the answer is a tuple, full resolution first, down to
    the last but two stages. Sides must be divisible by the product of the strides.

    >>> net = UNet(channels=1, outputs=2, width=4, strides=((1, 1), *[(2, 2)] * 3))
    >>> [tuple(y.shape[2:]) for y in net(torch.zeros(2, 1, 16, 16))]
    [(16, 16), (8, 8)]
    >>> net.eval()(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 2, 8, 8])
    """

    def __init__(
        self,
        *,
        channels: int,
        outputs: int,
        width: int,
        strides: Sequence[Steps],
        kernels: Sequence[Steps] = (),
        widest: int = 320,
        blocks: Sequence[int] = (),
        deep: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        stages = len(strides)
        kernels = kernels or tuple(tuple(3 for _ in s) for s in strides)
        blocks = blocks or [1] * stages
        wide = [min(widest, width * 2**n) for n in range(stages)]
        self.strides = tuple(strides)
        self.stem = Stem(_conv(channels, wide[0], kernels[0]), norm_of(wide[0]), _act())
        still = tuple(1 for _ in strides[0])
        self.encoder = nn.ModuleList(
            [nn.Sequential(*(_Residual(wide[0], wide[0], kernels[0], still) for _ in range(blocks[0] - 1)))]
        )
        for n in range(1, stages):
            first = _Residual(wide[n - 1], wide[n], kernels[n], strides[n])
            more = (_Residual(wide[n], wide[n], kernels[n], still) for _ in range(blocks[n] - 1))
            self.encoder.append(nn.Sequential(first, *more))
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList(_up(wide[n + 1], wide[n], strides[n + 1]) for n in range(stages - 1))
        self.decoder = nn.ModuleList(
            nn.Sequential(_conv(2 * wide[n], wide[n], kernels[n]), norm_of(wide[n]), _act())
            for n in range(stages - 1)
        )
        answers = max(1, stages - 2) if deep else 1
        last = _pointwise(strides[0])
        self.answers = nn.ModuleList(last(wide[n], outputs, 1) for n in range(min(answers, stages)))
        self.deep = deep and len(self.answers) > 1
        for module in self.modules():
            if isinstance(module, _CONVOLUTIONS):
                nn.init.kaiming_normal_(module.weight, a=_SLOPE, nonlinearity="leaky_relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def divisor(self) -> Steps:
        """What each side of an image must be divisible by."""
        return tuple(_product(s[axis] for s in self.strides) for axis in range(len(self.strides[0])))

    def encoded(self, x: Tensor) -> list[Tensor]:
        """The encoder's feature maps, full resolution first."""
        x = self.stem(x)
        found = []
        for stage in self.encoder:
            x = stage(x)
            found.append(x)
        return found

    def maps(self, x: Tensor) -> list[Tensor]:
        """The decoder's feature maps, full resolution first."""
        found = self.encoded(x)
        x = self.dropout(found[-1])
        made = [x]
        for n in range(len(self.up) - 1, -1, -1):
            x = self.decoder[n](torch.cat([found[n], self.up[n](x)], 1))
            made.append(x)
        return made[::-1]

    def features(self, x: Tensor) -> Tensor:
        return self.maps(x)[0]

    def head(self, feature_map: Tensor) -> Tensor:
        logits: Tensor = self.answers[0](feature_map)
        return logits

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:  # type: ignore[override]
        maps = self.maps(x)
        if not (self.training and self.deep):
            return self.head(maps[0])
        return tuple(answer(held) for answer, held in zip(self.answers, maps, strict=False))


def build_unet(
    network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int], deep: bool = True,
    seed: int | None = None,
) -> UNet:  # fmt: skip
    """The U-Net of a plan, for patches of `size` (k, j, i).

    Raises BadInput for strides that do not divide the size. With a `seed` the first weights are drawn from it
    and torch's own generator is left alone.

    >>> made = build_unet(plan.Network(width=4, strides=((1, 1, 1), (1, 2, 2))), channels=1, outputs=3,
    ...                   size=(1, 16, 16))
    >>> made.divisor
    (2, 2)
    """
    flat = size[0] == 1
    strides = network.strides or _usual(size, network.depth)
    kernels = network.kernels or tuple((1 if flat else 3, 3, 3) for _ in strides)
    cut = 1 if flat else 0
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        made = UNet(
            channels=channels,
            outputs=outputs,
            width=network.width,
            strides=[tuple(s[cut:]) for s in strides],
            kernels=[tuple(k[cut:]) for k in kernels],
            widest=network.widest,
            blocks=[network.blocks] * len(strides),
            deep=deep,
            dropout=network.dropout,
        )
    wrong = [n for n, d in zip(size[cut:], made.divisor, strict=True) if n % d]
    if wrong:
        raise BadInput(
            f"a patch of {'×'.join(map(str, size))} voxels is not divisible by the product of the strides "
            f"{'×'.join(map(str, made.divisor))}; correct grid.patch or network.strides"
        )
    made.input_shape = (channels, *size[cut:])
    share_dropout(made)
    return made


def _usual(size: tuple[int, int, int], depth: int) -> tuple[tuple[int, int, int], ...]:
    """Halve every axis that stays at least 4 long."""
    strides, held = [(1, 1, 1)], list(size)
    for _ in range(depth - 1):
        step = [2 if n % 2 == 0 and n >= 8 else 1 for n in held]
        held = [n // s for n, s in zip(held, step, strict=True)]
        strides.append((step[0], step[1], step[2]))
    return tuple(strides)


class _Residual(nn.Module):
    """Two convolutions added to a shortcut (He 2016), pooled and projected where the block strides."""

    def __init__(self, wide: int, wide_out: int, kernel: Steps, stride: Steps) -> None:
        super().__init__()
        self.first = _conv(wide, wide_out, kernel, stride)
        self.first_norm = norm_of(wide_out)
        self.second = _conv(wide_out, wide_out, kernel)
        self.second_norm = norm_of(wide_out)
        self.act = _act()
        pool = nn.AvgPool2d if len(stride) == 2 else nn.AvgPool3d
        shorter: list[nn.Module] = [pool(stride, stride)] if max(stride) > 1 else []
        if wide != wide_out:
            shorter.append(_pointwise(stride)(wide, wide_out, 1, bias=False))
        self.shortcut = nn.Sequential(*shorter)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        found: Tensor = self.act(y + self.shortcut(x))
        return found


def norm_of(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu 2018) of pairs of channels at least: no batch statistics, any batch size.

    >>> norm_of(16).num_groups
    8
    """
    groups = next(g for g in (8, 4, 2, 1) if (channels % g == 0 and channels // g >= 2) or g == 1)
    return nn.GroupNorm(groups, channels)


_SLOPE = 0.01
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def _act() -> nn.LeakyReLU:
    return nn.LeakyReLU(_SLOPE, inplace=True)


def _pointwise(stride: Steps) -> type[nn.Conv2d] | type[nn.Conv3d]:
    return nn.Conv2d if len(stride) == 2 else Pointwise3d


def _conv(wide: int, wide_out: int, kernel: Steps, stride: Steps = ()) -> nn.Module:
    made = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
    padding = tuple(k // 2 for k in kernel)
    return made(wide, wide_out, kernel, stride or 1, padding, bias=False)  # type: ignore[arg-type]


def _up(wide: int, wide_out: int, stride: Steps) -> nn.Module:
    made = nn.ConvTranspose2d if len(stride) == 2 else nn.ConvTranspose3d
    return made(wide, wide_out, stride, stride)  # type: ignore[arg-type]


def _product(numbers: object) -> int:
    import math

    return math.prod(numbers)  # type: ignore[arg-type]
