"""The networks that timm builds: by a plain name (resnet18), or any other as "timm:NAME"."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from hounsfield.core import plan
from hounsfield.core.errors import BadInput
from hounsfield.core.registry import nearest
from hounsfield.networks import TIMM_PREFIX
from hounsfield.networks.classifier import Classifier, refuse_small, refuse_volumes
from hounsfield.networks.dropout import drop_input, share_dropout
from hounsfield.networks.families import FAMILIES
from hounsfield.networks.freeze import layers_with_parameters
from hounsfield.networks.inflate import inflate
from hounsfield.networks.links import Link, links_of
from hounsfield.networks.timm_weights import start_backbone
from hounsfield.networks.torchvision_ops import import_timm

__all__ = ["Backbone", "build_backbone"]

_ENDS = (
    "global_pool",
    "pre_logits",
    "head",
    "head_drop",
    "head_dist",
    "fc",
    "fc_norm",
    "attn_pool",
    "classifier",
)
"""Children of a timm model that `forward_head` uses."""


class Backbone(Classifier):
    """A timm model behind the two halves of a classifier.

    A convolutional or windowed model gives the feature map (N, F, j, i), an inflated one (N, F, k, j, i); a
    model of tokens (a plain vision transformer) gives (N, tokens, F), which occlusion can explain but
    Grad-CAM cannot.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        self.fixed = frozenset(name for name, p in self.named_parameters() if not p.requires_grad)

    def features(self, x: Tensor) -> Tensor:
        maps: Tensor = self.model.forward_features(x)
        return maps.permute(0, 3, 1, 2) if self._channels_last else maps

    def head(self, feature_map: Tensor) -> Tensor:
        given = feature_map.permute(0, 2, 3, 1) if self._channels_last else feature_map
        logits: Tensor = self.model.forward_head(given)
        return logits

    def layers(self) -> tuple[nn.Module, ...]:
        """The modules that own parameters, in the order of their definition, without the classifier."""
        classifier = {id(m) for top in _classifiers(self.model) for m in top.modules()}
        return tuple(m for m in layers_with_parameters(self.model) if id(m) not in classifier)

    def links(self) -> tuple[Link, ...]:
        """The model's children in their order, stages and sequences taken apart into their blocks.

        That is what the families with a plain name do; of any other model it is a guess, which counts its
        layers for the learning rates, and which `frozen_prefix` puts to the test before it relies on it.
        """
        own = tuple(self.model.parameters(recurse=False))
        children = dict(self.model.named_children())
        body = {name: m for name, m in children.items() if name not in _ENDS}
        if hasattr(self.model, "_pos_embed") and "patch_embed" in body:  # a vision transformer
            used = tuple(body.pop(key) for key in ("patch_embed", "pos_drop", "patch_drop") if key in body)
            links = [Link("embed", self._embed, used, own)]
        else:
            links = []
        links += [link for name, m in body.items() for link in _taken_apart(m, name)]
        if links and not links[0].parameters:
            links[0] = Link(links[0].name, links[0].apply, links[0].modules, own)
        return (*links, *self._head_links({name: m for name, m in children.items() if name in _ENDS}))

    def _embed(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.model.patch_drop(self.model._pos_embed(self.model.patch_embed(x)))
        return tokens

    def _head_links(self, ends: dict[str, nn.Module]) -> Iterator[Link]:
        if "global_pool" not in ends and hasattr(self.model, "pool"):
            yield Link("pool", self.model.pool, tuple(m for k, m in ends.items() if k == "attn_pool"))
        tops = {id(m) for m in _classifiers(self.model)}
        for name, module in ends.items():
            parts = list(module.named_children()) if id(module) not in tops else []
            apart = name == "head" and parts
            for link in links_of(module, name) if apart else [Link(name, module, (module,))]:
                yield Link(link.name, link.apply, link.modules, head=any(id(m) in tops for m in link.modules))


def build_backbone(
    network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int]
) -> Backbone:
    """The timm model of a plan, with its own input channels and a new classifier; 3D by inflation.

    `trainable_layers` counts the modules that own parameters, in the order of their definition, without
    the classifier, which always learns. A plan's width and depth do not apply. Weights: "" draws
    them, "pretrained" takes model.safetensors of the hub repository that timm names, a path takes a
    file of timm's names (or one that this network was saved to). A transformer's positions are drawn, or
    interpolated, for the image's size, which is padded to whole patches. Raises BadInput for an unknown
    name, a size that the model cannot take or weights that do not fit; MissingDependency without timm or
    without the file.
    """
    family = FAMILIES.get(network.name)
    name = family.timm if family else network.name.removeprefix(TIMM_PREFIX)
    if family:
        if not family.volumes:
            refuse_volumes(network.name, size)
        refuse_small(network.name, size, family.least)
    timm = import_timm()
    config = _config(timm, name)
    options = {"in_chans": channels, "num_classes": outputs, "drop_rate": network.dropout}
    try:
        model = _created(timm, config, name, options, size)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise _unfit(name, channels, size, config, error) from error
    if size[0] > 1:
        model = inflate(model, network.name)
    if not family:
        _try(model, config, name, channels, size)
    _drop_in_modules(model, network.dropout)
    made = Backbone(model)
    if network.weights:
        made.left_out = start_backbone(model, config, network.weights)
    return made


def _created(
    timm: ModuleType, config: Any, name: str, options: dict[str, Any], size: tuple[int, int, int]
) -> Any:
    """timm's model; one of fixed size for this size, rounded up to whole patches where it pads."""
    if not config.fixed_input_size:
        return timm.create_model(name, pretrained=False, **options)
    model = timm.create_model(name, pretrained=False, **options, img_size=size[1:])
    embed = getattr(model, "patch_embed", None)
    patch = getattr(embed, "patch_size", None)
    if patch is None or not hasattr(embed, "dynamic_img_pad"):
        return model
    whole = tuple(-(-n // p) * p for n, p in zip(size[1:], patch, strict=True))
    if whole != tuple(size[1:]):
        model = timm.create_model(name, pretrained=False, **options, img_size=whole)
        model.patch_embed.strict_img_size, model.patch_embed.dynamic_img_pad = False, True
    return model


def _try(model: Any, config: Any, name: str, channels: int, size: tuple[int, int, int]) -> None:
    """BadInput where an image of this size does not pass; some sizes fail only there."""
    shape = (channels, *(size if size[0] > 1 else size[1:]))
    fault = _fault(model, shape)
    if fault is not None:
        raise _unfit(name, channels, size, config, fault, _least(model, config, shape))


def _fault(model: Any, shape: tuple[int, ...], *, only_shapes: bool = False) -> Exception | None:
    """What keeps an image from passing; shapes alone are tried first, which costs no arithmetic."""
    was, found = model.training, None
    model.eval()
    state = {k: v.to("meta") for k, v in (*model.named_parameters(), *model.named_buffers())}
    with torch.no_grad():
        try:
            torch.func.functional_call(model, state, (torch.zeros(1, *shape, device="meta"),))
        except Exception as error:  # noqa: BLE001 - whatever a foreign model raises
            found = error
            if not only_shapes:
                found = _real_fault(model, shape)
    model.train(was)
    return found


def _real_fault(model: Any, shape: tuple[int, ...]) -> Exception | None:
    parameter = next(model.parameters())
    try:
        model(torch.zeros(1, *shape, device=parameter.device))
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        return error
    return None


def _least(model: Any, config: Any, shape: tuple[int, ...]) -> int | None:
    """The fewest rows and columns that pass, where the model is not made for one size."""
    if config.fixed_input_size:
        return None
    low, high = 0, max(config.input_size[1:])
    while high - low > 1:
        middle = (low + high) // 2
        passes = _fault(model, (*shape[:-2], middle, middle), only_shapes=True) is None
        low, high = (low, middle) if passes else (middle, high)
    return high if high > min(shape[-2:]) else None


def _unfit(
    name: str,
    channels: int,
    size: tuple[int, int, int],
    config: Any,
    fault: Exception,
    least: int | None = None,
) -> BadInput:
    if least is not None:
        return BadInput(
            f'backbone "{name}" was asked for images of {size[1]} x {size[2]}; expected at least '
            f"{least} x {least}; change input.size or choose another"
        )
    return BadInput(
        f'backbone "{name}" cannot be made for {channels} channel(s) of {size[1]} x {size[2]} ({fault}); '
        f"it was designed for {tuple(config.input_size)}; change input.size or choose another"
    )


def _config(timm: ModuleType, name: str) -> Any:
    """timm's own description of the model; a name with a scheme or folder would reach for the net."""
    known = not set(name) & set(":/") and timm.is_model(name)
    config = None
    if known:
        try:
            config = timm.get_pretrained_cfg(name)
        except RuntimeError as error:
            raise BadInput(f'timm has no weights tagged "{name}" ({error}); leave the tag out') from error
    if config is None:
        raise BadInput(f'timm has no model "{name}"; {nearest(name, timm.list_models())}')
    return config


def _drop_in_modules(model: Any, p: float) -> None:
    """Have dropout in modules only: where timm calls it as a function, the classifier drops its input."""
    if not share_dropout(model) and p > 0:
        for classifier in _classifiers(model):
            drop_input(classifier, p)
    for module in model.modules():
        if isinstance(getattr(module, "drop_rate", None), float):
            module.drop_rate = 0.0


def _classifiers(model: Any) -> tuple[nn.Module, ...]:
    found = model.get_classifier()
    return (found,) if isinstance(found, nn.Module) else tuple(found)


def _taken_apart(module: nn.Module, name: str) -> Iterator[Link]:
    """The links of a sequence or a stage, of those within it, or the module itself."""
    inner = dict(module.named_children())
    if type(module) in (nn.Sequential, nn.ModuleList) or set(inner) == {"downsample", "blocks"}:
        for key, child in inner.items():
            yield from _taken_apart(child, f"{name}.{key}")
    else:
        yield Link(name, module, (module,))
