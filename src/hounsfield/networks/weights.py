"""A network's state as a safetensors file: written whole or not at all, read without pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hounsfield.core.errors import BadInput

__all__ = ["load_state", "load_weights", "mismatch", "read_tensors", "save_weights"]


def save_weights(module: nn.Module, path: str | Path) -> None:
    """Write every parameter and buffer to `path`, through a file beside it that then takes its name.

    Tensors that share memory are written once for each name. Raises OSError as any writer does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(nn.Linear(2, 1), Path(folder) / "member.safetensors")
    ...     sorted(read_tensors(Path(folder) / "member.safetensors"))
    ['bias', 'weight']
    """
    path = Path(path)
    # a clone of each: safetensors refuses tensors that share memory or are not contiguous
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, draft, metadata={"format": "pt"})
        _flush(draft)
        draft.replace(path)
        _flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the system write a file or folder to the disk; some systems cannot open a folder for it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU; BadInput if it cannot be read as one."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f'weight file "{path}" is not there; expected a .safetensors file; correct the path')
    try:
        return load_file(path, device="cpu")
    except SafetensorError as error:
        raise BadInput(
            f'weight file "{path.name}" is not a whole safetensors file ({error}); '
            "expected the format safetensors (nothing is unpickled); convert it or copy it again"
        ) from error


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Give a network exactly the state in `path`; BadInput where names or shapes differ."""
    load_state(module, read_tensors(path), source=Path(path).name)


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Give a network exactly these tensors; `source` names them in the error.

    >>> import torch
    >>> load_state(nn.Linear(2, 1), {"weight": torch.ones(1, 2)}, source="a.safetensors")
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.BadInput: weights "a.safetensors" do not fit the network: missing bias; ...
    """
    fault = mismatch(module.state_dict(), tensors)
    if fault:
        raise BadInput(
            f'weights "{source}" do not fit the network: {fault}; '
            "use the file of this network, or the plan that the file was trained with"
        )
    module.load_state_dict(dict(tensors))


def mismatch(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """What keeps `given` from being `wanted`, with a few examples of each fault; "" if nothing does."""
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    reshaped = [
        f"{name} {tuple(given[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    faults = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    return ", ".join(f"{kind} {_examples(names)}" for kind, names in faults if names)


def _examples(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return " ".join(names[:3]) + more
