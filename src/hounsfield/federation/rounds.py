"""The rounds of a federation: ask, wait, check, join, write down; one loop for simulation and deployment.

Sites may drop out, be late and come back: a round goes on with the smallest number that the plan allows, and
names the others. After each round everything is on the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import HounsfieldError
from hounsfield.federation.checks import contrary_sites, sound
from hounsfield.federation.flower import Array, ArrayRecord, ConfigRecord, Grid, Message
from hounsfield.federation.kept_rounds import Kept, keep, kept
from hounsfield.federation.messages import (
    WEIGHTS,
    Reason,
    ask_propose,
    bytes_of,
    metrics_of,
    refusal_of,
)
from hounsfield.federation.proposal import Proposal, package_version
from hounsfield.federation.strategies import give_state, state_of, strategy_of
from hounsfield.federation.strategies.robust import robust

__all__ = ["Rounds", "SecureMean"]

Vector = NDArray[np.float32]
Told = Callable[[str], None]

SecureMean = Callable[[Grid, Sequence[Message], float], tuple[Message, Sequence[Message]]]
"""Asks and a time-out to one answer that stands for all, and the sites' own answers without weights."""

_POLL_S = 0.2

_DECIDE_S = 5.0
"""A site whose people have not decided yet is asked again after so long."""


@dataclass(frozen=True)
class _Present:
    """What a strategy asks of a grid: the sites of this round."""

    nodes: tuple[int, ...]

    def get_node_ids(self) -> tuple[int, ...]:
        return self.nodes


class _Spent(HounsfieldError):
    """So many sites have spent their budget of privacy that no round can be joined."""


class Rounds:
    """A run of a proposal over a grid; `names` are the sites' by number, `folder` keeps the checkpoint."""

    def __init__(
        self,
        grid: Grid,
        proposal: Proposal,
        folder: Path,
        *,
        names: Mapping[int, str],
        told: Told = lambda _: None,
        secure: SecureMean | None = None,
    ) -> None:
        self.grid, self.proposal, self.folder, self.names = grid, proposal, folder, names
        self.told, self.secure = told, secure
        self.federation = proposal.plan.federation
        self.strategy = strategy_of(self.federation)
        self.accepted: dict[int, int] = {}
        self.refused: dict[int, str] = {}
        self._undecided: dict[int, float] = {}
        self._began = False

    def run(self, first: Vector, *, resume: bool = False) -> Kept:
        """All rounds that are still to come, from `first` (P,) or from the checkpoint of the folder.

        Raises HounsfieldError, naming the sites, where fewer take part than the plan allows.
        """
        now = (kept(self.folder, plan_hash=self.proposal.hash) if resume else None) or Kept(
            self.proposal.hash, 0, first, {}
        )
        give_state(self.strategy, now.state)
        while now.round < self.federation.rounds:
            try:
                now = self._round(now)
            except _Spent as error:
                self.told(f"the run ends after round {now.round}: {error}")
                break
            keep(self.folder, now)
        for name, why in contrary_sites(now.history).items():
            self.told(f"warning: {name}: {why}")
        return now

    def propose(self, *, wait_s: float | None = None) -> tuple[int, ...]:
        """Propose the plan to every site that is there and was not asked yet; those that take part.

        Waits until there are as many as the plan allows at least, and before the first round until the people
        at each site have decided; whoever agrees later takes part from then on.
        """
        limit = time.monotonic() + (60 * self.federation.round_minutes if wait_s is None else wait_s)
        while True:
            there, now = sorted(self.grid.get_node_ids()), time.monotonic()
            new = [n for n in there if n not in self.accepted and n not in self.refused]
            new = [n for n in new if self._undecided.get(n, 0.0) <= now]
            if new:
                self._proposed(new, max(1.0, limit - now))
            present = tuple(node for node in there if node in self.accepted)
            late = time.monotonic() > limit
            if len(present) >= self.federation.smallest_sites and (
                self._began or late or not set(there) & set(self._undecided)
            ):
                self._began = True
                return present
            if late or not self._may_still_come():
                raise HounsfieldError(self._too_few(present))
            time.sleep(_POLL_S)

    def name(self, node: int) -> str:
        """A site's name."""
        return self.names.get(node, f"site {node}")

    def _proposed(self, nodes: Sequence[int], timeout: float) -> None:
        asks = [ask_propose(node, self.proposal) for node in nodes]
        for reply in self.grid.send_and_receive(asks, timeout=timeout):
            node, refusal = int(reply.metadata.src_node_id), refusal_of(reply)
            if refusal is not None and refusal.reason is Reason.BUSY:
                if node not in self._undecided:
                    self.told(f"{self.name(node)}: {refusal.sentence}")
                self._undecided[node] = time.monotonic() + _DECIDE_S
                continue
            self._undecided.pop(node, None)
            if refusal is None:
                self.accepted[node] = int(metrics_of(reply).get("patients", 0))
                self.told(f"{self.name(node)} takes part")
            else:
                self.refused[node] = refusal.sentence
                self.told(f"{self.name(node)} does not take part: {refusal.sentence}")

    def _may_still_come(self) -> bool:
        """Whether sites that have not refused could make up the smallest number."""
        return len(set(self.names) - set(self.refused)) >= self.federation.smallest_sites

    def _round(self, now: Kept) -> Kept:
        number, began = now.round + 1, time.perf_counter()
        present = self.propose()
        config = ConfigRecord({"plan-hash": self.proposal.hash, "version": package_version()})
        arrays = ArrayRecord({WEIGHTS: Array(now.weights)})
        asks = list(self.strategy.configure_train(number, arrays, config, _Present(present)))
        asks.sort(key=lambda ask: int(ask.metadata.dst_node_id))
        replies, told = self._asked(asks, now.weights, number)
        joined, _ = self.strategy.aggregate_train(number, replies)
        facts = {"round": number, "seconds": round(time.perf_counter() - began, 3), **told}
        weights = np.asarray(joined[WEIGHTS].numpy(), np.float32)
        if not np.isfinite(weights).all():
            raise HounsfieldError(
                f"the weights of round {number} are not finite although each site's were; lower "
                "federation.server_rate or fit.learning_rate, and start a new run"
            )
        self._say(facts)
        return replace(
            now, round=number, weights=weights, state=state_of(self.strategy), history=(*now.history, facts)
        )

    def _asked(
        self, asks: Sequence[Message], before: Vector, number: int
    ) -> tuple[list[Message], dict[str, Any]]:
        """The answers that are joined, or one for all; and what the round's facts say of them."""
        timeout = 60 * self.federation.round_minutes
        if self.secure is not None:
            one, replies = self.secure(self.grid, asks, timeout)
            judged = sound([one], before, self.federation)
            joined, good = list(judged.replies), [r for r in replies if not r.has_error()]
            left_out = {_of(r): why.sentence for r in replies if (why := refusal_of(r))}
        else:
            replies = list(self.grid.send_and_receive(asks, timeout=timeout))
            judged = sound(replies, before, self.federation)
            joined = good = list(judged.replies)
            left_out = judged.left_out
        late = sorted({_to(ask) for ask in asks} - {_of(reply) for reply in replies})
        if len(good) < self.federation.smallest_sites or not joined:
            spent = [why for r in replies if (why := refusal_of(r)) and why.reason is Reason.BUDGET]
            if spent and number > 1:
                raise _Spent(spent[0].sentence)
            raise HounsfieldError(self._broken(number, good, left_out, late))
        if self.secure is None:
            joined = robust(good, self.federation)
        return joined, self._facts(asks, replies, good, left_out, late, judged.norms)

    def _facts(
        self, asks: Sequence[Message], replies: Sequence[Message], good: Sequence[Message],
        left_out: Mapping[int, str], late: Sequence[int], norms: Mapping[int, float],
    ) -> dict[str, Any]:  # fmt: skip
        numbers = {self.name(_of(reply)): metrics_of(reply) for reply in good}
        losses = {
            name: {"before": m["loss-before"], "chance": m["loss-of-prevalence"], "after": m["loss"]}
            for name, m in numbers.items()
            if {"loss-before", "loss-of-prevalence", "loss"} <= set(m)
        }
        return {
            "cases": {name: int(m.get("num-examples", 0)) for name, m in numbers.items()},
            "losses": losses,
            "norms": {self.name(node): norm for node, norm in norms.items()} if self.secure is None else {},
            "left_out": {self.name(node): why for node, why in left_out.items()},
            "late": [self.name(node) for node in late],
            "bytes_to_sites": {self.name(_to(ask)): bytes_of(ask) for ask in asks},
            "bytes_from_sites": {self.name(_of(reply)): bytes_of(reply) for reply in replies},
        }

    def _say(self, facts: Mapping[str, Any]) -> None:
        losses = [told["before"] for told in facts["losses"].values()]
        said = f"round {facts['round']} of {self.federation.rounds}: {len(facts['cases'])} sites"
        if losses:
            said += f", mean loss before {np.mean(losses):.3f}"
        for name, why in facts["left_out"].items():
            said += f"; {name} left out: {why}"
        if facts["late"]:
            said += f"; no answer from {', '.join(facts['late'])}"
        self.told(said)

    def _broken(
        self, number: int, good: Sequence[Message], left_out: Mapping[int, str], late: Sequence[int]
    ) -> str:
        """Why a round cannot be joined."""
        minutes = self.federation.round_minutes
        why = [f"{self.name(node)}: {sentence}" for node, sentence in left_out.items()]
        why += [f"{self.name(node)} did not answer within {minutes:g} minutes" for node in late]
        return (
            f"round {number} has {len(good)} answers that can be joined; expected at least "
            f"{self.federation.smallest_sites} ({'; '.join(why)}); mend that, and go on with resume"
        )

    def _too_few(self, present: Sequence[int]) -> str:
        gone = [self.name(node) for node in self.names if node not in present and node not in self.refused]
        why = [f"{self.name(node)} does not take part: {said}" for node, said in self.refused.items()]
        why += [f"not connected: {', '.join(gone)}"] if gone else []
        return (
            f"{len(present)} sites take part; expected at least {self.federation.smallest_sites} "
            f"({'; '.join(why)}); mend that, and go on with resume"
        )


def _of(reply: Message) -> int:
    return int(reply.metadata.src_node_id)


def _to(ask: Message) -> int:
    return int(ask.metadata.dst_node_id)
