"""How the coordinator joins what the sites send: Flower's strategies by the plan's name, and their state.

FedBN is FedAvg of a shorter vector (`federation.layout` leaves the normalisation layers out).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.plan import Federation
from hounsfield.federation.flower import need

__all__ = ["give_state", "state_of", "strategy_of"]

_ADAM_RATE = 0.01


def strategy_of(federation: Federation) -> Any:
    """Flower's strategy of a plan: `configure_train` asks, `aggregate_train` joins.

    >>> type(strategy_of(Federation(strategy="fedprox"))).__name__
    'FedProx'
    """
    known = need("flwr.serverapp.strategy")
    least = federation.smallest_sites
    common: dict[str, Any] = {
        "fraction_evaluate": 1.0, "min_train_nodes": 1, "min_available_nodes": 1, "min_evaluate_nodes": least,
    }  # fmt: skip
    if federation.strategy == "scaffold":
        from hounsfield.federation.strategies.scaffold import Scaffold

        return Scaffold(rate=federation.server_rate or 1.0, **common)
    if federation.strategy == "fedprox":
        return known.FedProx(proximal_mu=federation.mu, **common)
    if federation.strategy == "fedadam":
        return known.FedAdam(eta=federation.server_rate or _ADAM_RATE, **common)
    return known.FedAvg(**common)


def state_of(strategy: Any) -> dict[str, NDArray[Any]]:
    """What a strategy remembers from round to round, by name, for a checkpoint."""
    found: dict[str, NDArray[Any]] = {}
    for moment in ("m_t", "v_t"):
        for name, value in (getattr(strategy, moment, None) or {}).items():
            found[f"{moment}|{name}"] = np.asarray(value)
    control = getattr(strategy, "control", None)
    if control is not None:
        found["control|"] = control
        found["sizes|"] = np.array(sorted(strategy.sizes.items()), np.int64).reshape(-1, 2)
    return found


def give_state(strategy: Any, state: Mapping[str, NDArray[Any]]) -> None:
    """Give a fresh strategy what `state_of` found."""
    for key, value in state.items():
        what, _, name = key.partition("|")
        if what in ("m_t", "v_t"):
            held = getattr(strategy, what) or {}
            setattr(strategy, what, {**held, name: value})
        elif what == "control":
            strategy.control = value
        elif what == "sizes":
            strategy.sizes = {int(node): int(n) for node, n in value}
