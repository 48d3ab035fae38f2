"""Explainers by name: where in an image a network found evidence for one of its outputs.

Importing this package loads no torch; the module of an explainer is imported when it is called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Literal, Protocol

from hounsfield.core.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = ["EXPLAINERS", "Explainer", "Towards"]

Towards = Literal["positive", "negative"]


class Explainer(Protocol):
    """Images (N, C, J, I) or (N, C, K, J, I) to maps (N, J, I) or (N, K, J, I), float32 in [0, 1].

    A map shows what raises logit number `output` ("positive") or lowers it ("negative": for the one
    logit of a binary task, the evidence for the first class). The largest value of a map is 1; a map
    without any evidence is all 0. The network is left as it was found. Raises BadInput for an
    output that the network does not have, or images that it cannot take.
    """

    def __call__(
        self, network: nn.Module, images: Tensor, *, output: int, towards: Towards = "positive"
    ) -> NDArray[np.float32]: ...


def _later(module: str, function: str) -> Explainer:
    def explain_later(
        network: nn.Module, images: Tensor, *, output: int, towards: Towards = "positive"
    ) -> NDArray[np.float32]:
        explainer: Explainer = getattr(importlib.import_module(module), function)
        return explainer(network, images, output=output, towards=towards)

    return explain_later


EXPLAINERS: Registry[Explainer] = Registry("explainer")
EXPLAINERS.add("attention", _later("hounsfield.explainers.attention", "attention"))
EXPLAINERS.add("gradcam", _later("hounsfield.explainers.gradcam", "gradcam"))
EXPLAINERS.add(
    "integrated_gradients", _later("hounsfield.explainers.integrated_gradients", "integrated_gradients")
)
EXPLAINERS.add("occlusion", _later("hounsfield.explainers.occlusion", "occlusion"))
