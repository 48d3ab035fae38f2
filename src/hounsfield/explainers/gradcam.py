"""Grad-CAM: the last feature map, weighed by how each of its channels moves a logit."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hounsfield.core.errors import BadInput
from hounsfield.explainers.contract import evaluating, signed_logit, unit_maps

__all__ = ["gradcam"]


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
    if not callable(getattr(network, "features", None)) or not callable(getattr(network, "head", None)):
        raise BadInput(
            f'Grad-CAM was asked of a network "{type(network).__name__}" without features and head; '
            'expected both; use the explainer "occlusion"'
        )
    with evaluating(network, images) as given:
        with torch.no_grad():
            feature_map = network.features(given)  # type: ignore[operator]
        if feature_map.ndim != images.ndim:
            raise BadInput(
                f"Grad-CAM was asked of a network whose features have shape {tuple(feature_map.shape)}; "
                f'expected a map of {images.ndim} axes; use the explainer "occlusion"'
            )
        with torch.inference_mode(False), torch.enable_grad():
            feature_map = feature_map.clone().requires_grad_()
            logit = signed_logit(network.head(feature_map), output, towards)  # type: ignore[operator]
            # in evaluation mode images do not meet, so one backward pass serves them all
            (gradient,) = torch.autograd.grad(logit.sum(), feature_map)
    space = tuple(range(2, images.ndim))
    weight = gradient.mean(space, keepdim=True)
    coarse = (weight * feature_map.detach()).sum(1, keepdim=True).clamp_min(0)
    mode = "bilinear" if images.ndim == 4 else "trilinear"
    fine = functional.interpolate(coarse, size=images.shape[2:], mode=mode, align_corners=False)
    return unit_maps(fine[:, 0])
