"""Importing timm and torchvision where torchvision was built for another torch.

torchvision's package index build links CUDA; beside a CPU torch its C++ library cannot be loaded, so
its operators are never declared and `import torchvision` stops at "operator torchvision::nms does not
exist" (seen with torch 2.13.0+cpu and torchvision 0.28.0), and timm with it. Declaring the operators
lets both load. They are declared, not implemented: models and transforms work, and calling
torchvision.ops.nms still fails with torch's own message.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from hounsfield.core.errors import MissingDependency

__all__ = ["SCHEMAS", "import_timm", "import_torchvision"]

_POOL = "float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_SHAPE = "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
_DEFORM = (
    "Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w, "
    "SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, "
    "bool use_mask"
)
_FIVE = "(Tensor, Tensor, Tensor, Tensor, Tensor)"

SCHEMAS: dict[str, str] = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align": f"(Tensor input, Tensor rois, {_POOL}, int sampling_ratio, bool aligned) -> Tensor",
    "_roi_align_backward": (
        f"(Tensor grad, Tensor rois, {_POOL}, {_SHAPE}, int sampling_ratio, bool aligned) -> Tensor"
    ),
    "qroi_align": (
        "(Tensor input, Tensor rois, float input_scale, int input_zero_point, float rois_scale, "
        f"int rois_zero_point, {_POOL}, int sampling_ratio, bool aligned) -> Tensor"
    ),
    "ps_roi_align": f"(Tensor input, Tensor rois, {_POOL}, int sampling_ratio) -> (Tensor, Tensor)",
    "_ps_roi_align_backward": (
        f"(Tensor grad, Tensor rois, Tensor channel_mapping, {_POOL}, int sampling_ratio, {_SHAPE}) -> Tensor"
    ),
    "roi_pool": f"(Tensor input, Tensor rois, {_POOL}) -> (Tensor, Tensor)",
    "_roi_pool_backward": f"(Tensor grad, Tensor rois, Tensor argmax, {_POOL}, {_SHAPE}) -> Tensor",
    "ps_roi_pool": f"(Tensor input, Tensor rois, {_POOL}) -> (Tensor, Tensor)",
    "_ps_roi_pool_backward": (
        f"(Tensor grad, Tensor rois, Tensor channel_mapping, {_POOL}, {_SHAPE}) -> Tensor"
    ),
    "deform_conv2d": f"({_DEFORM}) -> Tensor",
    "_deform_conv2d_backward": f"(Tensor grad, {_DEFORM}) -> {_FIVE}",
}
"""torchvision's 13 operators and their signatures, as its C++ library declares them."""


def import_torchvision() -> ModuleType:
    """torchvision, its operators declared first where only that kept it from loading.

    Raises MissingDependency where it is not installed.
    """
    return _import("torchvision")


def import_timm() -> ModuleType:
    """timm, torchvision's operators declared first where only that kept it from loading.

    Raises MissingDependency where it is not installed.
    """
    return _import("timm")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingDependency(f'{error.name} is not installed; pip install "hounsfield[timm]"') from error
    except RuntimeError as error:
        if "operator torchvision::" not in str(error) or "does not exist" not in str(error):
            raise
    _forget("torchvision", name)
    _declare_operators()
    return importlib.import_module(name)


def _forget(*packages: str) -> None:
    """Drop half-imported modules, so that the second import runs them from the start."""
    for module in list(sys.modules):
        if module.partition(".")[0] in packages:
            del sys.modules[module]


def _declare_operators() -> None:
    import torch

    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", schema)
