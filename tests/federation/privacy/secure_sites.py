"""Sites that hold fixed weights, and a grid between them and the coordinator on which sites drop out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from hounsfield.federation.flower import Message
from hounsfield.federation.grid import InProcessGrid
from hounsfield.federation.messages import TRAIN, answered_weights, ask_train
from hounsfield.federation.privacy.secure_messages import MASKED, SHARES, UNMASK
from hounsfield.federation.privacy.secure_sum import masked

STEPS = (TRAIN, SHARES, MASKED, UNMASK)
Vector = NDArray[np.float32]


def site(weights: Vector, n: int) -> Callable[[Message], Message]:
    """A site whose training always ends at `weights`, learned from `n` cases."""
    return masked(lambda ask: answered_weights(ask, weights, {"loss": 0.5}, n=n))


class Dropping(InProcessGrid):
    """From the step `drops[site]` on, a site is silent. `seen` is all that the coordinator got."""

    def __init__(
        self,
        sites: Mapping[int, Callable[[Message], Message]],
        drops: Mapping[int, str],
        change: Callable[[Message], Message] = lambda message: message,
    ) -> None:
        super().__init__(sites)
        self.drops, self.change, self.seen = drops, change, list[Message]()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        found = []
        for message in messages:
            last = self.drops.get(int(message.metadata.dst_node_id))
            kind = message.metadata.message_type
            if last is None or STEPS.index(kind) < STEPS.index(last):
                found += super().send_and_receive([self.change(message)])
        self.seen += found
        return found


def asks(sites: Iterable[int], before: Vector) -> list[Message]:
    return [ask_train(number, before, plan_hash="0" * 64, number=1) for number in sites]
