"""Weights for a backbone of timm: its hub's or a file's, fitted to the channels, axes and positions."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hounsfield.core.errors import MissingDependency
from hounsfield.networks.inflate import inflate_tensors
from hounsfield.networks.pretrained import adapt_channels, fill, hub_file
from hounsfield.networks.weights import mismatch, read_tensors

__all__ = ["start_backbone"]

_OWN = "model."

_AUXILIARY = "AuxLogits."
"""Inception's second classifier, which helped its training and is not built."""


def start_backbone(model: Any, config: Any, weights: str) -> tuple[str, ...]:
    """Give timm's `model` its hub's weights ("pretrained") or a file's; the names that start anew.

    `config` is timm's description of the model. What timm converts when it loads is converted here: names
    of older files, positions for another image size. Kernels are inflated for a volume and the first
    convolution is given the image's channels. Raises BadInput, with the names that differ, for weights of
    another network; MissingDependency without the file.
    """
    path = _hub_weights(config) if weights == "pretrained" else Path(weights)
    given = read_tensors(path)
    head = _names(config.classifier)[0]
    own = bool(given) and all(key.startswith(_OWN) for key in given)
    if own:
        given = {key.removeprefix(_OWN): tensor for key, tensor in given.items()}
    wanted = model.state_dict()
    if not own or _differs(wanted, given, head):
        given = _converted(model, given)
    given = {k: v for k, v in given.items() if k in wanted or not k.startswith(_AUXILIARY)}
    given = inflate_tensors(given, wanted)
    for first in _names(config.first_conv):
        key = f"{first}.weight"
        if key in given and key in wanted and given[key].ndim == wanted[key].ndim > 3:
            given[key] = adapt_channels(given[key], wanted[key].shape[1])
    return fill(model, given, head=head, source=path.name)


def _differs(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], head: str) -> bool:
    """Whether the backbones differ; a file of this very network needs no conversion."""
    two = [{k: v for k, v in t.items() if not k.startswith(f"{head}.")} for t in (wanted, given)]
    return bool(mismatch(two[0], two[1]))


def _converted(model: Any, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as timm's own loader would hand them over, or as they are where it knows no such file."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return dict(given)
    try:
        return dict(convert(dict(given), model))
    except Exception:  # noqa: BLE001 - a foreign converter; the sentence on what differs follows
        return dict(given)


def _hub_weights(config: Any) -> Path:
    if not config.hf_hub_id:
        raise MissingDependency(
            f'backbone "{config.architecture}" has no weights on the hub; set network.weights to a local '
            '.safetensors file, or network.weights=""'
        )
    maker = "open_clip_" if "open_clip" in str(config.hf_hub_filename) else ""
    return hub_file(config.hf_hub_id, f"{maker}model.safetensors")


def _names(entry: Any) -> tuple[str, ...]:
    """timm gives one name, several, or none."""
    if isinstance(entry, str):
        return (entry,)
    return tuple(entry) if entry else ("",)
