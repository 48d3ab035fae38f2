"""What a U-Net of volumes answers, in half of the memory: the same numbers, where nothing is learned.

The plain way joins what an encoder's stage found to what comes up from below, which at full resolution holds
five maps of the whole window at once. Here the convolution over the joined maps is the sum of two, one over
each, and the second is made slab by slab from the stage below, so that two maps are held.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hounsfield.networks.unet import UNet

__all__ = ["lean_answer"]

_SLAB = 1 << 22
"""Numbers of a stage's map that are brought up at once."""


def lean_answer(network: nn.Module, x: Tensor) -> Tensor:
    """The full-resolution answer of a network that does not train, for images (N, C, …) of two or three axes.

    >>> net = UNet(channels=1, outputs=2, width=4, strides=((1, 1, 1), (2, 2, 2), (2, 2, 2))).eval()
    >>> x = torch.randn(1, 1, 8, 8, 8)
    >>> with torch.no_grad():
    ...     torch.allclose(lean_answer(net, x), net(x), atol=1e-5)
    True
    """
    if not isinstance(network, UNet) or x.ndim != 5 or network.training or torch.is_grad_enabled():
        answer: Tensor = network(x)
        return answer
    found = network.encoded(x)
    x = found.pop()
    for n in range(len(network.up) - 1, -1, -1):
        convolution, *rest = network.decoder[n]
        wide = convolution.out_channels
        joined = functional.conv3d(
            found.pop(), convolution.weight[:, :wide].contiguous(), padding=convolution.padding
        )
        _add_from_below(joined, x, network.up[n], convolution)
        x = joined
        del joined
        for layer in rest:
            x = layer(x)
    return network.head(x)


def _add_from_below(joined: Tensor, below: Tensor, up: nn.Module, convolution: nn.Module) -> None:
    """Add to `joined` the convolution over what comes up from below, a slab of slices at a time.

    A transposed convolution whose stride is its kernel makes a slab from the slices under it alone; the
    convolution wants a slice more on either side, and noughts beyond the ends.
    """
    wide = convolution.out_channels
    weight = convolution.weight[:, wide:].contiguous()  # type: ignore[index]
    step, reach = up.stride[0], convolution.padding[0]  # type: ignore[index]
    flat = (0, *convolution.padding[1:])  # type: ignore[misc, index]
    slices, beyond = below.shape[2], -(-reach // step)
    most = max(1, _SLAB // max(1, joined[:, :, :step].numel()))
    for low in range(0, slices, most):
        high = min(slices, low + most)
        first, last = max(0, low - beyond), min(slices, high + beyond)
        made = up(below[:, :, first:last])
        start, stop = step * low - reach, step * high + reach
        cut = made[:, :, max(start, 0) - step * first : min(stop, step * slices) - step * first]
        pad = max(0, -start), max(0, stop - step * slices)
        if any(pad):
            cut = functional.pad(cut, (0, 0, 0, 0, *pad)).contiguous(memory_format=torch.channels_last_3d)
        joined[:, :, step * low : step * high] += functional.conv3d(cut, weight, padding=flat)  # type: ignore[arg-type]
