"""Where a federation stands after a round, as one file: weights, the strategy's memory, the history.

It is written beside its name and then renamed: a coordinator that is killed at any moment loses one round at
most. Nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.io.files import whole_file

__all__ = ["CHECKPOINT", "Kept", "keep", "kept"]

CHECKPOINT = "rounds.safetensors"

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Kept:
    """The last finished round (0: none yet), the common weights (P,), the strategy's state, and each round's
    facts.
    """

    plan_hash: str
    round: int
    weights: Vector
    state: dict[str, NDArray[Any]]
    history: tuple[dict[str, Any], ...] = ()


def keep(folder: Path, now: Kept) -> None:
    """Write a checkpoint into the folder of a run."""
    from safetensors.numpy import save_file

    tensors = {
        "weights": now.weights,
        **{f"state|{k}": np.ascontiguousarray(v) for k, v in now.state.items()},
    }
    facts = {"plan_hash": now.plan_hash, "round": now.round, "history": list(now.history)}
    with whole_file(folder / CHECKPOINT) as unfinished:
        save_file(tensors, str(unfinished), metadata={"facts": json.dumps(facts)})


def kept(folder: Path, *, plan_hash: str = "") -> Kept | None:
    """The checkpoint of a run, None where there is none; BadInput where it is of another plan, or broken."""
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), "np") as stored:
            facts: Mapping[str, Any] = json.loads(stored.metadata()["facts"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BadInput(
            f"{CHECKPOINT} of the run is not what hounsfield wrote; copy the run's folder again, or start a "
            "new run"
        ) from error
    if plan_hash and facts["plan_hash"] != plan_hash:
        raise BadInput(
            f"the run was begun with plan {facts['plan_hash'][:16]}, and plan {plan_hash[:16]} was given; "
            "give the same plan again, or start a new run in another folder"
        )
    state = {k.partition("|")[2]: v for k, v in tensors.items() if k.startswith("state|")}
    return Kept(facts["plan_hash"], facts["round"], tensors["weights"], state, tuple(facts["history"]))
