"""SCAFFOLD: each site's steps are corrected for how its data pull it away from the others (Karimireddy
2020).

The coordinator holds the common correction, each site its own. Sites weigh by their cases, in the weights
and in the corrections, so that the common correction is the gradient of what all sites together minimise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.federation.flower import Array, ArrayRecord, ConfigRecord, Grid, Message, MetricRecord, need
from hounsfield.federation.messages import CONTROL, WEIGHTS, metrics_of

__all__ = ["Scaffold"]

Vector = NDArray[np.float32]

_FedAvg: Any = need("flwr.serverapp.strategy").FedAvg


class Scaffold(_FedAvg):  # type: ignore[misc]
    """FedAvg with a common correction that is sent along; `rate` is the step of the coordinator."""

    def __init__(self, *, rate: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.rate = np.float32(rate)
        self.control: Vector | None = None
        self.sizes: dict[int, int] = {}
        self._before: Vector | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask for a round, with the common correction beside the weights."""
        self._before = arrays[WEIGHTS].numpy()
        if self.control is None:
            self.control = np.zeros_like(self._before)
        both = ArrayRecord({WEIGHTS: arrays[WEIGHTS], CONTROL: Array(self.control)})
        found: Iterable[Message] = super().configure_train(server_round, both, config, grid)
        return found

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Move the weights by the sites' mean, and the correction by the share of the sites that answered."""
        replies = list(replies)
        joined, metrics = super().aggregate_train(server_round, replies)
        if joined is None or self._before is None or self.control is None:
            return joined, metrics
        answered = {r.metadata.src_node_id: int(metrics_of(r)["num-examples"]) for r in replies}
        self.sizes |= answered
        share = np.float32(sum(answered.values()) / sum(self.sizes.values()))
        moved = self._before + self.rate * (joined[WEIGHTS].numpy() - self._before)
        self.control = self.control + share * joined[CONTROL].numpy()
        return ArrayRecord({WEIGHTS: Array(np.asarray(moved, np.float32))}), metrics
