"""The networks that bear a plain name and come from timm: what timm calls them and what they can take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAMILIES", "VOLUME_NETWORKS", "Family"]


@dataclass(frozen=True)
class Family:
    """timm's name, the fewest rows and columns that pass, and whether volumes can (by inflation).

    `least` was found by trying (tests/networks/test_backbones.py tries again): VGG halves five times,
    Inception's convolutions are not padded, DenseNet and ConvNeXt shrink without rounding up; a residual
    network or EfficientNet computes from a single pixel on, if to no use. A transformer needs a patch.
    """

    timm: str
    least: int = 1
    volumes: bool = False


FAMILIES: dict[str, Family] = {
    "vgg16": Family("vgg16", 32, volumes=True),
    "vgg19": Family("vgg19", 32, volumes=True),
    "resnet18": Family("resnet18", volumes=True),
    "resnet34": Family("resnet34", volumes=True),
    "resnet50": Family("resnet50", volumes=True),
    "resnet101": Family("resnet101", volumes=True),
    "inception_v3": Family("inception_v3", 75),
    "densenet121": Family("densenet121", 29, volumes=True),
    "densenet169": Family("densenet169", 29, volumes=True),
    "efficientnet_b0": Family("efficientnet_b0", volumes=True),
    "efficientnet_b3": Family("efficientnet_b3", volumes=True),
    "convnext_tiny": Family("convnext_tiny", 32),
    "convnext_small": Family("convnext_small", 32),
    "vit_tiny": Family("vit_tiny_patch16_224", 16),
    "vit_small": Family("vit_small_patch16_224", 16),
    "vit_base": Family("vit_base_patch16_224", 16),
}

VOLUME_NETWORKS: tuple[str, ...] = (
    "attention",
    "compact",
    "plain",
    *(name for name, family in FAMILIES.items() if family.volumes),
)
"""The registered networks that take volumes (K, J, I)."""
