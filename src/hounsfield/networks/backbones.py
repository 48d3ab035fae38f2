"""Any backbone of timm by its name, "timm:resnet18", with weights that are never unpickled."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from hounsfield.core import plan
from hounsfield.core.errors import BadInput, MissingDependency
from hounsfield.core.registry import nearest
from hounsfield.networks import TIMM_PREFIX
from hounsfield.networks.classifier import Classifier, refuse_volumes
from hounsfield.networks.freeze import freeze_all_but_last, layers_with_parameters
from hounsfield.networks.pretrained import adapt_channels, fill, hub_file
from hounsfield.networks.torchvision_ops import import_timm
from hounsfield.networks.weights import read_tensors

__all__ = ["Backbone", "build_backbone"]

_OWN = "model."


class Backbone(Classifier):
    """A timm model behind the two halves of a classifier.

    A convolutional or windowed model gives the feature map (N, F, j, i); a model of tokens (a plain
    vision transformer) gives (N, tokens, F), which occlusion can explain but Grad-CAM cannot.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"

    def features(self, x: Tensor) -> Tensor:
        maps: Tensor = self.model.forward_features(x)
        return maps.permute(0, 3, 1, 2) if self._channels_last else maps

    def head(self, feature_map: Tensor) -> Tensor:
        given = feature_map.permute(0, 2, 3, 1) if self._channels_last else feature_map
        logits: Tensor = self.model.forward_head(given)
        return logits


def build_backbone(
    network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int]
) -> Backbone:
    """The timm model of a plan, with its own input channels, a new classifier and its last layers free.

    `trainable_layers` counts the modules that own parameters, in the order of their definition, without
    the classifier, which always learns. A plan's width and depth do not apply. Weights: "" draws
    them, "pretrained" takes model.safetensors of the hub repository that timm names, a path takes a
    file of timm's names (or one that this network was saved to). Raises BadInput for a volume, an
    unknown name or weights that do not fit; MissingDependency without timm or without the file.
    """
    name = network.name.removeprefix(TIMM_PREFIX)
    rows, columns = refuse_volumes(network.name, size)
    timm = import_timm()
    config = _config(timm, name)
    options: dict[str, Any] = {"in_chans": channels, "num_classes": outputs, "drop_rate": network.dropout}
    if config.fixed_input_size:
        options["img_size"] = (rows, columns)
    try:
        model = timm.create_model(name, pretrained=False, **options)
        with torch.no_grad():  # some sizes fail only when an image passes
            model.eval()(torch.zeros(1, channels, rows, columns))
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise BadInput(
            f'backbone "{name}" cannot be made for {channels} channel(s) of {rows} x {columns} ({error}); '
            f"it was designed for {tuple(config.input_size)}; change input.size or choose another"
        ) from error
    left_out = _start(model, config, network.weights) if network.weights else ()
    classifier = {id(m) for m in _classifier(model).modules()}
    layers = [m for m in layers_with_parameters(model) if id(m) not in classifier]
    freeze_all_but_last(layers, network.trainable_layers)
    made = Backbone(model.train())
    made.left_out = left_out
    return made


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


def _start(model: Any, config: Any, weights: str) -> tuple[str, ...]:
    path = _hub_weights(config) if weights == "pretrained" else weights
    given = read_tensors(path)
    if given and all(key.startswith(_OWN) for key in given):
        given = {key.removeprefix(_OWN): tensor for key, tensor in given.items()}
    wanted = model.state_dict()
    for first in _names(config.first_conv):
        key = f"{first}.weight"
        if key in given and key in wanted and given[key].ndim == 4:
            given[key] = adapt_channels(given[key], wanted[key].shape[1])
    return fill(model, given, head=_names(config.classifier)[0], source=str(path))


def _hub_weights(config: Any) -> Path:
    if not config.hf_hub_id:
        raise MissingDependency(
            f'backbone "{config.architecture}" has no weights on the hub; set network.weights to a local '
            '.safetensors file, or network.weights=""'
        )
    maker = "open_clip_" if "open_clip" in str(config.hf_hub_filename) else ""
    return hub_file(config.hf_hub_id, f"{maker}model.safetensors")


def _classifier(model: Any) -> nn.Module:
    found = model.get_classifier()
    return found if isinstance(found, nn.Module) else nn.ModuleList(found)


def _names(entry: Any) -> tuple[str, ...]:
    """timm gives one name, several, or none."""
    if isinstance(entry, str):
        return (entry,)
    return tuple(entry) if entry else ("",)
