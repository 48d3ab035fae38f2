"""Sites of one process: each ask is answered by a call, without a server, a port or a second process.

It is Flower's `Grid`, so that the rounds cannot tell a simulation from a deployment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from hounsfield.core.errors import HounsfieldError
from hounsfield.federation.flower import Grid, Message, RecordDict
from hounsfield.federation.messages import Answer, Reason, refused

__all__ = ["InProcessGrid", "OneRunGrid"]


class OneRunGrid(Grid):
    """What Flower wants of a grid beside its messages, where there is one run."""

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message to a site."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def set_run(self, run: Any) -> None:
        """Nothing: there is one run."""


class InProcessGrid(OneRunGrid):
    """Sites by their number. `seconds` is the time that all answers took."""

    def __init__(self, sites: Mapping[int, Answer]) -> None:
        self.sites = dict(sites)
        self.seconds = 0.0
        self._answers: dict[str, Message] = {}

    def get_node_ids(self) -> Iterable[int]:
        """The numbers of the sites."""
        return list(self.sites)

    def send_and_receive(
        self,
        messages: Iterable[Message],
        *,
        timeout: float | None = None,  # noqa: ARG002 - nobody is waited for
    ) -> list[Message]:
        """The sites' answers, one after another; a site that fails with a sentence answers with it."""
        return [self._answered(message) for message in messages]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Have asks answered; the names by which `pull_messages` gives the answers."""
        names: list[str] = []
        for message in messages:
            names.append(f"ask-{len(self._answers)}-{len(names)}")
            self._answers[names[-1]] = self._answered(message)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Answers to asks that were pushed, each given once."""
        return [self._answers.pop(name) for name in message_ids if name in self._answers]

    @property
    def run(self) -> Any:
        """Flower's empty run."""
        from hounsfield.federation.flower import need

        return need("flwr.supercore.run").Run.create_empty(1)

    def _answered(self, message: Message) -> Message:
        began = time.perf_counter()
        try:
            return self.sites[message.metadata.dst_node_id](message)
        except HounsfieldError as error:
            return refused(message, Reason.FAILED, str(error))
        finally:
            self.seconds += time.perf_counter() - began
