"""The messages of a deployed federation between the coordinator's rounds and the sites' requests, in memory.

Flower's `LinkState` holds them; its fleet routes give them out. `LinkGrid` is the coordinator's end. It
differs from Flower's own grids in three ways: a site has the same number after any restart; a site that was
killed over its work is asked again as soon as it is back; an answer of which a part is missing is waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from hounsfield.core.errors import BadInput
from hounsfield.federation.approved import node_id_of
from hounsfield.federation.flower import Error, Message, need
from hounsfield.federation.grid import OneRunGrid

if TYPE_CHECKING:
    from flwr.server.superlink.linkstate import LinkState, LinkStateFactory
    from flwr.supercore.run import Run

__all__ = ["COORDINATOR", "Link", "LinkGrid"]

COORDINATOR = 1
"""Flower's number of who asks."""

LOST = 110
"""Code of the answer that stands for a site which was shut out, or went away and did not come back."""


class Link:
    """The sites that may connect, and the one run that they take part in."""

    def __init__(self) -> None:
        constants = need("flwr.common.constant")
        loader = need("flwr.superlink.config_loader")
        memory = need("flwr.supercore.constant").FLWR_IN_MEMORY_DB_NAME
        manager = need("flwr.superlink.federation").NoOpFederationManager()
        self.factory: LinkStateFactory = loader.get_objectstore_linkstate_factories(memory, manager)[1]
        self.state: LinkState = self.factory.state()
        self._owner: str = constants.NOOP_FLWR_AID
        self.run_id = self._begin_run()
        self._lock = threading.Lock()

    def add(self, fingerprint: str, public_key: bytes, name: str) -> int:
        """Let a site connect; one that may already stays as it is. Returns its number."""
        node = node_id_of(fingerprint)
        with self._lock:
            if self.state.get_node_id_by_public_key(public_key) is None:
                made = self.state.create_node(self._owner, name, public_key, 0)
                self._renumber(made, node, public_key)
        return node

    def remove(self, fingerprint: str) -> None:
        """Shut a site out: what it sends from now on is refused. One that never connected stays unknown."""
        node = node_id_of(fingerprint)
        with self._lock:
            state = cast("Any", self.state)
            info = state.nodes.pop(node, None)
            if info is not None:
                state.node_public_key_to_node_id.pop(info.public_key, None)
                state.owner_to_node_ids.get(self._owner, set()).discard(node)

    def online(self) -> tuple[int, ...]:
        """The numbers of the sites that are there, ascending."""
        return tuple(sorted(self.state.get_nodes(self.run_id)))

    def keep_alive(self) -> None:
        """Tell Flower that the run goes on; it forgets a run that says nothing for a minute."""
        self.state.acknowledge_task_heartbeat(self._task)

    def _begin_run(self) -> int:
        supercore = need("flwr.supercore.constant")
        run_id = self.state.create_run(
            None,
            None,
            None,
            {},
            supercore.NOOP_FEDERATION_ID,
            None,
            self._owner,
            supercore.TaskType.SERVER_APP,
        )
        run: Run = self.state.get_run_info(run_ids=[run_id])[0]
        self._task = cast("int", run.primary_task_id)
        self.state.claim_task(self._task)
        if not self.state.activate_task(self._task):
            raise BadInput("Flower did not begin a run; this package needs flwr 1.41")
        return run_id

    def _renumber(self, made: int, node: int, public_key: bytes) -> None:
        """Give a new node the number that its key has after every restart, in place of a random one."""
        state = cast("Any", self.state)
        with state.lock:
            info = state.nodes.pop(made)
            info.node_id = node
            state.nodes[node] = info
            state.node_public_key_to_node_id[public_key] = node
            owned = state.owner_to_node_ids[self._owner]
            owned.discard(made)
            owned.add(node)


@dataclass
class _Ask:
    """A message on its way, the number that it bears now, and when its site was last seen to begin anew."""

    message: Message
    first_id: str
    begun_at: str
    gone_since: float = 0.0


class LinkGrid(OneRunGrid):
    """The coordinator's end of the link, as Flower's strategies know it.

    `grace` seconds are given to a site that went away to come back, before its answer counts as lost; sites
    that are asked are always waited for until the time-out of `send_and_receive`, however slow they are.
    `noted` hears of what is "asked", "asked again", "answered" and "lost".
    """

    def __init__(
        self,
        link: Link,
        *,
        grace: float = 60.0,
        poll: float = 0.05,
        noted: Callable[[str, Message], None] = lambda _, __: None,
    ) -> None:
        self.link, self.grace, self.poll, self._noted = link, grace, poll, noted
        self._asked: dict[str, _Ask] = {}

    @property
    def run(self) -> Run:
        """The link's run, as Flower describes it."""
        found: Run = self.link.state.get_run_info(run_ids=[self.link.run_id])[0]
        return found

    def get_node_ids(self) -> Iterable[int]:
        """The numbers of the sites that are there, ascending."""
        return self.link.online()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages over, to be fetched by their sites; a number for each, "" where no site takes it."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The answers that are complete by now, each once."""
        return [answer for number in message_ids if (answer := self._pull(number)) is not None]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Ask and wait until all have answered, were lost or `timeout` seconds have gone by.

        An answer names its question as Flower does; a site that was asked again answers the first question.
        """
        waiting = [number for number in self.push_messages(messages) if number]
        ends = None if timeout is None else time.monotonic() + timeout
        answers: list[Message] = []
        while waiting:
            new = list(self.pull_messages(waiting))
            answers += new
            answered = {message.metadata.reply_to_message_id for message in new}
            waiting = [number for number in waiting if number not in answered]
            if not waiting or (ends is not None and time.monotonic() >= ends):
                break
            time.sleep(self.poll)
        for number in waiting:  # whoever answers after this is not listened to
            self._forget(number)
        return answers

    def _push(self, message: Message) -> str:
        number = self._store(message)
        if number:
            self._noted("asked", message)
            self._asked[number] = _Ask(message, number, self._begun(message.metadata.dst_node_id))
        return number

    def _store(self, message: Message) -> str:
        inflatable = need("flwr.supercore.inflatable.inflatable_object")
        bare = need("flwr.app.message").remove_content_from_message
        state, run_id = self.link.state, self.link.run_id
        message.metadata.__dict__.update(_run_id=run_id, _src_node_id=COORDINATOR)
        with inflatable.no_object_id_recompute():
            number = str(message.object_id)
            message.metadata.__dict__["_message_id"] = number
            parts = inflatable.get_all_nested_objects(message)
            tree = inflatable.get_object_tree(message)
            session = state.start_session(run_id)
            kept, missing = state.store_message_and_object_tree(bare(message), tree, session)
            for part in missing if kept else ():
                state.store_object(run_id, session, part, parts[part].deflate())
        return number if kept else ""

    def _pull(self, number: str) -> Message | None:
        ask = self._asked.get(number)
        if ask is None:
            return None
        node = ask.message.metadata.dst_node_id
        now_id = ask.message.metadata.message_id
        if (answer := self._complete(now_id)) is not None:
            self._noted("answered", answer)
            answer.metadata.__dict__["_reply_to_message_id"] = number
            self._forget(number)
            return answer
        if self.link.state.get_node_info(node_ids=[node]) == []:
            return self._lost(number, "was shut out")
        begun = self._begun(node)
        if begun != ask.begun_at:
            self._again(ask, begun)
        ask.gone_since = 0.0 if node in self.link.online() else ask.gone_since or time.monotonic()
        if ask.gone_since and time.monotonic() - ask.gone_since > self.grace:
            return self._lost(number, f"went away and was not back after {self.grace:.0f} s")
        return None

    def _complete(self, number: str) -> Message | None:
        """The answer to a message, once every part of it has come."""
        state = cast("Any", self.link.state)
        with state.lock:
            found = state.message_ins_id_to_message_res_id.get(number)
        if found is None:
            return None
        utils = need("flwr.supercore.inflatable.inflatable_utils")
        inflatable = need("flwr.supercore.inflatable.inflatable_object")
        try:
            tree = state.object_store.get_object_tree(found)
        except need("flwr.supercore.object_store").NoObjectInStoreError:
            return None
        parts: dict[str, bytes] = {}
        for node in inflatable.iterate_object_tree(tree):
            content = state.object_store.get(node.object_id)
            if not content:
                return None
            parts[node.object_id] = content
        answer = cast("Message", utils.inflate_object_from_contents(found, parts))
        answer.metadata.__dict__["_message_id"] = found
        state.object_store.delete(found)
        return answer

    def _again(self, ask: _Ask, begun: str) -> None:
        """Ask a site that began anew once more: what it was told, or had half sent, died with its process."""
        self._drop(ask.message.metadata.message_id)
        old = ask.message.metadata
        ask.message = Message(
            ask.message.content,
            old.dst_node_id,
            old.message_type,
            ttl=old.ttl,
            group_id=old.group_id or None,
        )
        self._store(ask.message)
        self._noted("asked again", ask.message)
        ask.begun_at = begun

    def _lost(self, number: str, why: str) -> Message:
        ask = self._asked[number]
        ask.message.metadata.__dict__["_message_id"] = number
        answer = Message(Error(LOST, f"the site {why}"), reply_to=ask.message)
        self._noted("lost", answer)
        self._forget(number)
        return answer

    def _forget(self, number: str) -> None:
        ask = self._asked.pop(number, None)
        if ask is not None:
            self._drop(ask.message.metadata.message_id)

    def _drop(self, number: str) -> None:
        """Take a message, its answer and what they consist of out of the state."""
        state = cast("Any", self.link.state)
        with state.lock:
            answer = state.message_ins_id_to_message_res_id.get(number)
        state.delete_messages({number})
        for place in (number, answer):
            if place:
                state.object_store.delete(place)

    def _begun(self, node: int) -> str:
        """When a site last came (again); "" for one that is not known."""
        info = self.link.state.get_node_info(node_ids=[node])
        return str(info[0].last_activated_at) if info else ""
