"""2D networks carried to volumes by inflation (I3D, Carreira & Zisserman 2017), with their weights.

A kernel of 3 x 3 becomes 3 x 3 x 3, the same in each slice and divided by 3; norms, poolings and strides
follow. At the first and last slice the volume is continued by that slice, so a volume of equal slices has
exactly the logits of the 2D network on one of them. An axis of fewer than six slices is not halved: a thin
stack keeps its slices (as in "compact"). VGG's dense layers stay within a slice and are averaged over
slices afterwards.

Only networks whose every module is in the table below can be carried over. Attention, layer norms over
channels and poolings written as functions (Inception) know of two axes and are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hounsfield.core.errors import BadInput
from hounsfield.networks.families import VOLUME_NETWORKS

__all__ = ["SHORTEST_HALVED", "inflate", "inflate_tensors"]

SHORTEST_HALVED = 6
"""A volume of fewer slices keeps them all where the 2D network would halve its axes."""

_FOLLOW: dict[str, tuple[str, ...]] = {
    "timm.models.vgg": ("VGG", "ConvMlp"),
    "timm.models.resnet": ("ResNet", "BasicBlock", "Bottleneck"),
    "timm.models.densenet": ("DenseNet", "DenseBlock", "DenseLayer", "DenseTransition"),
    "timm.models.efficientnet": ("EfficientNet",),
    "timm.models._efficientnet_blocks": (
        "ConvBnAct",
        "DepthwiseSeparableConv",
        "EdgeResidual",
        "InvertedResidual",
    ),
    "timm.layers.classifier": ("ClassifierHead",),
    "torch.nn.modules.container": ("Sequential",),
    "torch.nn.modules.activation": ("ReLU", "SiLU", "GELU", "Sigmoid", "Hardswish", "Hardsigmoid"),
    "torch.nn.modules.linear": ("Linear", "Identity"),
    "torch.nn.modules.dropout": ("Dropout",),
    "torch.nn.modules.flatten": ("Flatten",),
}
"""Modules, by where they are defined, whose own code is the same for two axes and three."""


def inflate(model: nn.Module, name: str) -> nn.Module:
    """Carry a network (N, C, J, I) over to volumes (N, C, K, J, I), in place; names of weights stay.

    Kernels with a depth are drawn anew, with the variance that the flat ones were drawn with, spread over
    their slices; `inflate_tensors` repeats trained ones. Raises BadInput for a network that has a module
    which cannot be carried over.
    """
    return _carried(model, flat=False, name=name)


def inflate_tensors(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Flat kernels (F, C, j, i) as the network's (F, C, k, j, i): repeated k times, divided by k.

    >>> made = inflate_tensors({"w": torch.ones(1, 1, 3, 3)}, {"w": torch.zeros(1, 1, 3, 3, 3)})
    >>> made["w"].shape, round(float(made["w"].sum()), 5)
    (torch.Size([1, 1, 3, 3, 3]), 9.0)
    """
    made = dict(given)
    for name, tensor in given.items():
        if name in wanted and tensor.ndim == 4 and wanted[name].ndim == 5:
            depth = wanted[name].shape[2]
            made[name] = tensor.unsqueeze(2).repeat(1, 1, depth, 1, 1) / depth
    return made


class _Conv(nn.Conv3d):
    """A convolution whose volume goes on beyond its ends as its first and last slice."""

    def __init__(self, flat: nn.Conv2d, depth: int) -> None:
        dilation = _pair(flat.dilation)
        super().__init__(
            flat.in_channels,
            flat.out_channels,
            (depth, *_pair(flat.kernel_size)),
            stride=(1, *_pair(flat.stride)),
            padding=(0, *_pair(flat.padding)),
            dilation=(dilation[0], *dilation),
            groups=flat.groups,
            bias=flat.bias is not None,
            device=flat.weight.device,
        )
        self.halves = max(flat.stride)
        with torch.no_grad():
            if depth > 1:
                self.weight.normal_().mul_(flat.weight.std() / depth**0.5)
            else:
                self.weight.copy_(flat.weight.unsqueeze(2))
            if self.bias is not None and flat.bias is not None:
                self.bias.copy_(flat.bias)

    def forward(self, x: Tensor) -> Tensor:
        stride = (self.halves if x.shape[2] >= SHORTEST_HALVED else 1, *self.stride[1:])
        more = self.dilation[0] * (self.kernel_size[0] - 1) // 2
        if more:  # by joining, whose gradient is deterministic on a GPU too
            shape = (-1, -1, more, -1, -1)
            x = torch.cat([x[:, :, :1].expand(shape), x, x[:, :, -1:].expand(shape)], 2)
        return functional.conv3d(x, self.weight, self.bias, stride, self.padding, self.dilation, self.groups)


class _Pool(nn.Module):
    """A pooling that takes slices together only where it halves their number."""

    def __init__(self, flat: nn.MaxPool2d | nn.AvgPool2d) -> None:
        super().__init__()
        self.kernel, self.stride = _pair(flat.kernel_size), _pair(flat.stride)
        self.padding, self.ceil_mode = _pair(flat.padding), flat.ceil_mode
        self.average = isinstance(flat, nn.AvgPool2d)
        self.count_padding = isinstance(flat, nn.AvgPool2d) and flat.count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        halved = max(self.stride) > 1 and x.shape[2] >= SHORTEST_HALVED
        kernel = (self.kernel[0] if halved else 1, *self.kernel)
        stride = (self.stride[0] if halved else 1, *self.stride)
        padding = (self.padding[0] if halved else 0, *self.padding)
        if self.average:
            return functional.avg_pool3d(x, kernel, stride, padding, self.ceil_mode, self.count_padding)
        return functional.max_pool3d(x, kernel, stride, padding, 1, self.ceil_mode)


class _Norm(nn.BatchNorm3d):
    """A batch normalisation with the numbers of another."""

    def __init__(self, flat: Any) -> None:
        super().__init__(flat.num_features, flat.eps, flat.momentum, flat.affine, flat.track_running_stats)


class _NormAct(_Norm):
    """timm's normalisation with the activation behind it."""

    def __init__(self, flat: Any) -> None:
        super().__init__(flat)
        self.drop: nn.Module = flat.drop
        self.act: nn.Module = flat.act

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.drop(super().forward(x)))
        return y


class _GlobalPool(nn.Module):
    """The mean over a whole volume, as a row of features where the 2D network gives one."""

    def __init__(self, flat: Any) -> None:
        super().__init__()
        self.flatten = isinstance(flat.flatten, nn.Flatten)

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = x.mean((2, 3, 4), keepdim=not self.flatten)
        return mean


class _SqueezeExcite(nn.Module):
    """Channels weighed by what the whole volume holds of them (Hu 2018)."""

    def __init__(self, flat: Any) -> None:
        super().__init__()
        self.conv_reduce: nn.Module = flat.conv_reduce
        self.act1: nn.Module = flat.act1
        self.conv_expand: nn.Module = flat.conv_expand
        self.gate: nn.Module = flat.gate

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.conv_reduce(x.mean((2, 3, 4), keepdim=True))
        weight = self.gate(self.conv_expand(self.act1(weight)))
        return x * weight


class _SliceMlp(nn.Module):
    """VGG's two dense layers, within each slice; a map smaller than their kernel is stretched to it."""

    def __init__(self, flat: Any) -> None:
        super().__init__()
        self.least: int = flat.input_kernel_size
        self.fc1: nn.Module = flat.fc1
        self.act1: nn.Module = flat.act1
        self.drop: nn.Module = flat.drop
        self.fc2: nn.Module = flat.fc2
        self.act2: nn.Module = flat.act2

    def forward(self, x: Tensor) -> Tensor:
        depth, rows, columns = x.shape[2:]
        if min(rows, columns) < self.least:
            x = functional.adaptive_avg_pool3d(x, (depth, max(rows, self.least), max(columns, self.least)))
        y: Tensor = self.act2(self.fc2(self.drop(self.act1(self.fc1(x)))))
        return y


def _carried(module: nn.Module, *, flat: bool, name: str) -> nn.Module:
    """A module for volumes in the place of one for images, its children first; `flat` keeps kernels flat."""
    kind, home = type(module).__name__, type(module).__module__
    if (kind, home) == ("SelectAdaptivePool2d", "timm.layers.adaptive_avgmax_pool"):
        if getattr(module, "pool_type", "") != "avg":
            raise _refusal(name, module)
        return _GlobalPool(module)
    dense = (kind, home) == ("ConvMlp", "timm.models.vgg")
    for key, child in list(module.named_children()):
        made = _carried(child, flat=flat or dense, name=name)
        if made is not child:
            setattr(module, key, made)
    if kind in _FOLLOW.get(home, ()) and not dense:
        return module
    return _replaced(module, flat=flat, name=name).train(module.training)


def _replaced(module: nn.Module, *, flat: bool, name: str) -> nn.Module:
    match type(module).__module__, type(module).__name__:
        case "torch.nn.modules.conv", "Conv2d" if isinstance(module, nn.Conv2d) and _is_padded_by_zeros(
            module
        ):
            deep = not flat and module.kernel_size[0] % 2 == 1
            return _Conv(module, module.kernel_size[0] if deep else 1)
        case "torch.nn.modules.pooling", "MaxPool2d" | "AvgPool2d":
            return _Pool(module)  # type: ignore[arg-type]
        case "torch.nn.modules.batchnorm", "BatchNorm2d":
            return _with_state(_Norm(module), module)
        case "timm.layers.norm_act", "BatchNormAct2d":
            return _with_state(_NormAct(module), module)
        case "timm.models._efficientnet_blocks", "SqueezeExcite":
            return _SqueezeExcite(module)
        case "timm.models.vgg", "ConvMlp":
            return _SliceMlp(module)
    raise _refusal(name, module)


def _is_padded_by_zeros(conv: nn.Conv2d) -> bool:
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _with_state(made: nn.Module, flat: nn.Module) -> nn.Module:
    """A normalisation's parameters and statistics have no axes of space: they are taken over."""
    for key, parameter in flat._parameters.items():
        made.register_parameter(key, parameter)
    for key, buffer in flat._buffers.items():
        made.register_buffer(key, buffer)
    return made


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return first, second


def _refusal(name: str, module: nn.Module) -> BadInput:
    return BadInput(
        f'network "{name}" was asked for volumes; it takes 2D images only, because its '
        f"{type(module).__name__} cannot be carried to a third axis; set input.size to one slice, or "
        f"network.name to one of {', '.join(VOLUME_NETWORKS)}"
    )
