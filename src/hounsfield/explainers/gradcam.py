"""Grad-CAM: the last feature map, weighed by how its channels move a logit; every class in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hounsfield.core.errors import BadInput
from hounsfield.explainers.contract import evaluating, signed_logit

__all__ = ["fine_maps", "gradcam", "gradcam_classes"]

_AGREES = 1e-4
"""How far a head may lie from pooling and a linear layer to be taken for it: a share of the largest logit."""


def gradcam(
    network: nn.Module, images: Tensor, *, output: int, towards: Literal["positive", "negative"] = "positive"
) -> NDArray[np.float32]:
    """Evidence maps (N, J, I) or (N, K, J, I) in [0, 1] (Selvaraju et al. 2017, equations 1 and 2).

    The network must have `features(images)` and `head(feature_map)`; the map is as coarse as its last
    feature map and interpolated linearly to the images. Raises BadInput where the network has no
    feature map of the images' axes (a plain vision transformer), and as `Explainer` says.

    >>> class Brightness(nn.Module):
    ...     def features(self, x): return x
    ...     def head(self, feature_map): return feature_map.mean((2, 3))
    >>> gradcam(Brightness(), torch.tensor([[[[0.0, 2.0], [1.0, 0.0]]]]), output=0).tolist()
    [[[0.0, 1.0], [0.5, 0.0]]]
    """
    return _maps(network, images, [output], towards)[:, 0]


def gradcam_classes(
    network: nn.Module, images: Tensor, *, towards: Literal["positive", "negative"] = "positive"
) -> NDArray[np.float32]:
    """Grad-CAM of every output, (N, outputs, J, I) or (N, outputs, K, J, I): what `gradcam` gives for each.

    The images pass the network once. Where the head is a global average pooling and a linear layer, the
    gradients are the layer's weights (Selvaraju et al. 2017, section 3.1), so nothing is differentiated; any
    other head, but never the features, is differentiated once an output.

    >>> class Both(nn.Module):
    ...     def features(self, x): return x
    ...     def head(self, feature_map): return feature_map.mean((2, 3)) @ torch.tensor([[1.0, -1.0]])
    >>> gradcam_classes(Both(), torch.tensor([[[[0.0, 2.0], [1.0, 0.0]]]])).tolist()
    [[[[0.0, 1.0], [0.5, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]]
    """
    return _maps(network, images, None, towards)


def _maps(
    network: nn.Module, images: Tensor, outputs: Sequence[int] | None, towards: str
) -> NDArray[np.float32]:
    if not callable(getattr(network, "features", None)) or not callable(getattr(network, "head", None)):
        raise BadInput(
            f'Grad-CAM was asked of a network "{type(network).__name__}" without features and head; '
            'expected both; use the explainer "occlusion"'
        )
    with evaluating(network, images) as given, torch.no_grad():
        feature_map = network.features(given)  # type: ignore[operator]
        if feature_map.ndim != images.ndim:
            raise BadInput(
                f"Grad-CAM was asked of a network whose features have shape {tuple(feature_map.shape)}; "
                f'expected a map of {images.ndim} axes; use the explainer "occlusion"'
            )
        weights = _channel_weights(network, feature_map, outputs, towards)
        coarse = weights @ feature_map.flatten(2)  # (N, outputs, positions)
        coarse = coarse.view(*coarse.shape[:2], *feature_map.shape[2:])
    return fine_maps(coarse.float(), tuple(images.shape[2:]))


def _channel_weights(
    network: nn.Module, feature_map: Tensor, outputs: Sequence[int] | None, towards: str
) -> Tensor:
    """Equation 1: the mean gradient of each logit by each channel, (N, outputs, F) or (1, outputs, F)."""
    layer = _linear_after_pooling(network, feature_map)
    if layer is not None:
        which = range(len(layer)) if outputs is None else outputs
        rows = [signed_logit(layer.T, k, towards) for k in which]  # a column of weights an output
        return torch.stack(rows)[None] / feature_map[0, 0].numel()
    space = tuple(range(2, feature_map.ndim))
    with torch.inference_mode(False), torch.enable_grad():
        leaf = feature_map.clone().requires_grad_()
        logits = network.head(leaf)  # type: ignore[operator]
        which = range(logits.shape[1]) if outputs is None else outputs
        # in evaluation mode images do not meet, so one backward pass serves them all
        gradients = [
            torch.autograd.grad(signed_logit(logits, k, towards).sum(), leaf, retain_graph=True)[0].mean(
                space
            )
            for k in which
        ]
    return torch.stack(gradients, 1)


def _linear_after_pooling(network: nn.Module, feature_map: Tensor) -> Tensor | None:
    """The weights (outputs, F) of a head that averages the map and applies a linear layer, else None.

    The layer is found by its shape and put to the test: on these very images, pooling and it must give the
    head's own logits.
    """
    wide = feature_map.shape[1]
    layers = [m for m in network.modules() if isinstance(m, nn.Linear) and m.in_features == wide]
    if not layers:
        return None
    layer = layers[-1]
    logits = network.head(feature_map)  # type: ignore[operator]
    claimed = functional.linear(feature_map.flatten(2).mean(2), layer.weight, layer.bias)
    if claimed.shape != logits.shape:
        return None
    agree = torch.allclose(claimed, logits, rtol=0, atol=_AGREES * float(logits.abs().max()))
    return layer.weight.detach() if agree else None


def fine_maps(coarse: Tensor, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Equation 2 at the size of the images, (N, outputs, …), each map divided by its largest value.

    Linear interpolation is a product with one matrix an axis, which costs less than torch's own where the
    maps of many classes are enlarged; image by image, so that a map is still cached when it is divided.
    """
    positive = torch.nan_to_num(coarse, nan=0.0, posinf=0.0, neginf=0.0).clamp_min_(0)
    matrices = [_stretch(old, new).to(coarse) for old, new in zip(coarse.shape[2:], size, strict=True)]
    fine = coarse.new_empty(*coarse.shape[:2], *size)
    for n, maps in enumerate(positive):
        for axis, matrix in reversed(list(enumerate(matrices, 1))):
            if axis == len(size):
                maps = maps @ matrix.T
            elif axis == len(size) - 1:
                maps = matrix @ maps
            else:
                maps = torch.einsum("kz,oz...->ok...", matrix, maps)
        largest = maps.flatten(1).amax(1).view(-1, *(1,) * len(size))
        torch.div(maps, torch.where(largest > 0, largest, 1), out=fine[n])
    unit: NDArray[np.float32] = fine.cpu().numpy()
    return unit


def _stretch(old: int, new: int) -> Tensor:
    """The matrix (new, old) that interpolates one axis linearly, its ends where torch has them."""
    rows = functional.interpolate(torch.eye(old)[None], size=new, mode="linear", align_corners=False)
    return rows[0].T.contiguous()
