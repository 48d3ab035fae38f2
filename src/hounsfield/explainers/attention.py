"""The share of every place in a logit, of a network that pools by attention: exact, from one forward pass."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hounsfield.core.errors import BadInput
from hounsfield.explainers.contract import evaluating, signed_logit
from hounsfield.explainers.gradcam import fine_maps

__all__ = ["attention"]


def attention(
    network: nn.Module, images: Tensor, *, output: int, towards: Literal["positive", "negative"] = "positive"
) -> NDArray[np.float32]:
    """Evidence maps (N, J, I) or (N, K, J, I) in [0, 1]: what each place adds to the logit, where it speaks
    for what is asked.

    The network must say so itself (`AttentionNet.shares`); BadInput for one that does not.

    >>> attention(nn.Linear(2, 1), torch.zeros(1, 1, 2, 2), output=0)
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: the attention of a network "Linear" was asked for, which pools by ...
    """
    if not callable(getattr(network, "shares", None)):
        raise BadInput(
            f'the attention of a network "{type(network).__name__}" was asked for, which pools by none; '
            'expected network.name "attention"; use the explainer "gradcam"'
        )
    with evaluating(network, images) as given, torch.no_grad():
        feature_map = network.features(given)  # type: ignore[operator]
        shares = network.shares(feature_map)  # type: ignore[operator]
        coarse = signed_logit(shares, output, towards).view(len(images), 1, *feature_map.shape[2:])
    return fine_maps(coarse.float(), tuple(images.shape[2:]))[:, 0]
