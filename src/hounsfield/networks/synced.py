"""Batch normalisation over the whole batch where several processes each hold a part of it.

On a GPU torch's own SyncBatchNorm does it; it has none for a CPU, so that one is here. Parameters, buffers
and their names stay those of the normalisation that is replaced.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["HostSyncNorm", "synced"]


def synced(network: nn.Module) -> nn.Module:
    """Put a normalisation over all processes in the place of every batch normalisation; the same network.

    The parameters themselves are kept, so an optimiser over them goes on. Without a process group, or in
    evaluation mode, it computes what the batch normalisation would.
    """
    parameter = next(network.parameters(), None)
    on_gpu = parameter is not None and parameter.is_cuda
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm | HostSyncNorm):
                setattr(parent, name, _replaced(child, on_gpu))
    return network


def _replaced(norm: _BatchNorm, on_gpu: bool) -> nn.Module:
    made: nn.Module
    facts: dict[str, Any] = {"eps": norm.eps, "momentum": norm.momentum, "affine": norm.affine}
    facts["track_running_stats"] = norm.track_running_stats
    # timm's normalisations carry the activation after them
    after = [norm.get_submodule(name) for name in ("drop", "act") if hasattr(norm, name)]
    kind = _GpuSyncNorm if on_gpu else HostSyncNorm
    made = kind(norm.num_features, **facts)
    for own, name in ((norm._parameters, "weight"), (norm._parameters, "bias")):
        made.register_parameter(name, own[name])
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        made.register_buffer(name, norm._buffers[name])
    for name, module in zip(("drop", "act"), after, strict=False):
        made.add_module(name, module)
    made.train(norm.training)
    return made


def _followed(module: nn.Module, x: Tensor) -> Tensor:
    """What timm's normalisation lets follow: its dropout and its activation."""
    for name in ("drop", "act"):
        after = module._modules.get(name)
        if after is not None:
            x = after(x)
    return x


class _GpuSyncNorm(nn.SyncBatchNorm):
    """torch's SyncBatchNorm, and what followed the normalisation that it replaces."""

    def forward(self, x: Tensor) -> Tensor:
        return _followed(self, super().forward(x))


class HostSyncNorm(_BatchNorm):
    """Batch normalisation (Ioffe & Szegedy 2015) of (N, C, …) over the rows of all processes, on a CPU.

    Each process sends its count, sums and sums of squares in double precision, taken from its own mean
    and variance, so that nothing cancels; gradients cross the same sum. Processes may hold unequal rows.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"a batch normalisation was given {input.ndim} axes; expected (N, C, ...)")

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        alone = not distributed.is_available() or not distributed.is_initialized()
        if not self.training or alone or distributed.get_world_size() == 1:
            return _followed(self, super().forward(x))
        mean, variance, count = _moments(x)
        if self.track_running_stats:
            self._track(mean, variance, count)
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight.double()
        shift = -mean * scale
        if self.affine:
            shift = shift + self.bias.double()
        shape = (1, -1) + (1,) * (x.ndim - 2)
        y = x.float() * scale.float().reshape(shape) + shift.float().reshape(shape)
        return _followed(self, y.to(x.dtype))

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Running statistics as torch keeps them: the unbiased variance, the mean by momentum."""
        assert self.running_mean is not None and self.running_var is not None
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if share is None:
                share = 1 / float(self.num_batches_tracked)
        unbiased = variance * count / (count - 1).clamp_min(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share or 0.0)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share or 0.0)


class _Sum(torch.autograd.Function):
    """A tensor summed over all processes; its gradient is summed over them likewise."""

    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C), variance (C) and count of all processes' values, in double precision."""
    axes = [0, *range(2, x.ndim)]
    own = x.numel() // x.shape[1]
    if own:
        variance, mean = torch.var_mean(x.float(), axes, correction=0)
    else:  # a process without rows still takes part in the sum
        mean = variance = x.float().sum(axes)
    mean, variance = mean.double(), variance.double()
    count = torch.tensor([own], dtype=torch.float64)
    sums: Tensor = _Sum.apply(torch.cat([mean * own, (variance + mean * mean) * own, count]))  # type: ignore[no-untyped-call]
    total = sums[-1]
    mean, square = sums[:-1].chunk(2)
    mean, square = mean / total, square / total
    return mean, (square - mean * mean).clamp_min(0), total
