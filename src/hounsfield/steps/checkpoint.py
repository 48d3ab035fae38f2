"""Where a member stands after an epoch, as one safetensors file: weights, optimiser, average, history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from hounsfield.core.errors import BadInput

__all__ = ["read_checkpoint", "write_checkpoint"]


def write_checkpoint(
    path: Path,
    *,
    parts: dict[str, dict[str, torch.Tensor]],
    optimiser: torch.optim.Optimizer,
    facts: dict[str, Any],
) -> None:
    """Save named sets of tensors, the optimiser's state and plain facts; whole or not at all."""
    from safetensors.torch import save_file

    from hounsfield.io.files import whole_file

    tensors = {
        f"{part}|{k}": v.detach().clone().contiguous() for part, s in parts.items() for k, v in s.items()
    }
    scalars: dict[str, Any] = {}
    for number, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimiser|{number}|{key}"] = value.detach().clone().contiguous()
            else:
                scalars[f"{number}|{key}"] = value
    meta = {"facts": json.dumps(facts), "scalars": json.dumps(scalars)}
    with whole_file(path) as temporary:
        save_file(tensors, str(temporary), metadata=meta)


def read_checkpoint(
    path: Path, *, optimiser: torch.optim.Optimizer
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Load what `write_checkpoint` saved; the optimiser takes its state back in place."""
    from safetensors import SafetensorError, safe_open

    parts: dict[str, dict[str, torch.Tensor]] = {}
    state: dict[int, dict[str, Any]] = {}
    try:
        with safe_open(str(path), "pt") as stored:
            meta = stored.metadata()
            for name in stored.keys():  # noqa: SIM118 - not a mapping
                part, rest = name.split("|", 1)
                if part == "optimiser":
                    number, key = rest.split("|")
                    state.setdefault(int(number), {})[key] = stored.get_tensor(name)
                else:
                    parts.setdefault(part, {})[rest] = stored.get_tensor(name)
    except SafetensorError as error:
        raise BadInput(
            "a checkpoint of the run cannot be read; delete the run's work folder and train again"
        ) from error
    for name, value in json.loads(meta["scalars"]).items():
        number, key = name.split("|")
        state.setdefault(int(number), {})[key] = value
    whole = optimiser.state_dict()
    whole["state"] = state
    optimiser.load_state_dict(whole)
    _lay_as_parameters(optimiser)
    return parts, json.loads(meta["facts"])


def _lay_as_parameters(optimiser: torch.optim.Optimizer) -> None:
    """Bring the state's memory order to that of its parameter (channels last), as it was before saving.

    The fused optimisers walk both as flat memory: another order would mix up the elements.
    """
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter).copy_(value)
