"""Weights to start from: a file of the Hugging Face hub or a local one, always safetensors.

The hub is asked only when a plan says weights="pretrained"; HF_HUB_OFFLINE and HF_HUB_CACHE are honoured.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from hounsfield.core.errors import BadInput, MissingDependency
from hounsfield.networks.weights import load_state, read_tensors

__all__ = ["adapt_channels", "fill", "hub_file", "refuse_pretrained", "start_from"]

_log = logging.getLogger(__name__)


def hub_file(hub_id: str, name: str = "model.safetensors") -> Path:
    """The local copy of a file of a hub repository, downloaded once into the hub's cache.

    Raises MissingDependency that names the file, the repository and the two places to put it where
    it is neither in the cache nor to be had.
    """
    if not name.endswith(".safetensors"):
        raise BadInput(
            f'hub file "{name}" of {hub_id} is not safetensors; nothing is unpickled; choose another'
        )
    try:
        from huggingface_hub import constants, hf_hub_download
    except ImportError as error:
        raise MissingDependency(
            'weights="pretrained" needs huggingface_hub; pip install "hounsfield[timm]"'
        ) from error
    try:
        return Path(hf_hub_download(hub_id, name))
    except (OSError, ValueError, RuntimeError) as error:
        raise MissingDependency(
            f'pretrained weights: file "{name}" of {hub_id} is not in the cache and cannot be downloaded '
            f"({type(error).__name__}); bring it from https://huggingface.co/{hub_id} and set "
            f"network.weights=/path/to/{name}, or copy the folder models--{hub_id.replace('/', '--')} "
            f"of another machine's hub cache into {constants.HF_HUB_CACHE}"
        ) from error


def start_from(network: nn.Module, path: str | Path, *, head: str) -> tuple[str, ...]:
    """Give a network the weights in a local file; the names of the head's tensors that did not fit.

    `head` is the prefix of the classifier's tensors ("": there is none): where any of them has another
    shape or is absent, all of them keep their random start; the names returned and a log line state it.
    Raises BadInput for any other difference.
    """
    return fill(network, read_tensors(path), head=head, source=Path(path).name)


def fill(network: nn.Module, given: Mapping[str, Tensor], *, head: str, source: str) -> tuple[str, ...]:
    """As `start_from`, with tensors instead of a file; `source` names them in the error."""
    wanted = network.state_dict()
    ends = [name for name in wanted if _under(name, head)]
    fits = all(name in given and given[name].shape == wanted[name].shape for name in ends)
    left_out = () if fits else tuple(ends)
    tensors = {k: v for k, v in given.items() if fits or not _under(k, head)}
    tensors |= {name: wanted[name] for name in left_out}
    load_state(network, tensors, source=source)
    if left_out:
        _log.info('weights "%s": the classifier %s was left out and starts anew', source, " ".join(left_out))
    return left_out


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """The first convolution (F, C, …) for another number of channels, so that grey gives the same.

    To one channel the weights are summed: a grey image then yields what it would as C equal channels.

    >>> import torch
    >>> adapt_channels(torch.ones(8, 3, 7, 7), 1).shape
    torch.Size([8, 1, 7, 7])
    """
    given = weight.shape[1]
    if given == channels:
        return weight
    total = weight.sum(1, keepdim=True)
    return total.repeat(1, channels, *(1,) * (weight.ndim - 2)) / channels


def refuse_pretrained(name: str, weights: str) -> None:
    """BadInput if a network that nobody has pretrained is asked for pretrained weights."""
    if weights == "pretrained":
        raise BadInput(
            f'network "{name}" has no pretrained weights; expected network.weights="" or a .safetensors file '
            'of the same network; for transfer learning choose "article-c", a network such as "resnet18", or '
            'any "timm:NAME"'
        )


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")
