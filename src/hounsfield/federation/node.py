"""A site as a process that stays: it fetches messages, answers them, and logs what leaves before it leaves.

No process is begun for a message and no code is fetched: what answers is a function of the installed package.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from hounsfield.core.errors import HounsfieldError
from hounsfield.federation.audit_log import AuditLog
from hounsfield.federation.connection import Connection
from hounsfield.federation.flower import Message
from hounsfield.federation.messages import Answer, Reason, items_of, refusal_of, refused

__all__ = ["Node"]

QUICK_S, SLOW_S = 0.2, 1.0
"""How often a site asks for messages: while a run goes on, and when nothing was asked for a minute."""

_RUN_IS_ON_S = 60.0


class Node:
    """A site between its connection and what answers, until `stop` is set or the coordinator shuts it out."""

    def __init__(
        self,
        connection: Connection,
        answer: Answer,
        log: AuditLog,
        *,
        stop: threading.Event,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._connection, self._answer, self._stop, self._told = connection, answer, stop, told
        self.log = log

    def serve(self) -> None:
        """Answer whatever is asked; BadInput or Turned where the coordinator does not take this site."""
        self.log.write("began", fingerprint=self._connection.fingerprint, node=str(self._connection.node))
        why = "was ended"
        try:
            self._connection.enter()
            if not self._stop.is_set():
                self._told("connected; waiting to be asked")
            self._loop()
        except HounsfieldError as error:
            why = str(error)
            raise
        finally:
            self._connection.leave()
            self.log.write("ended", why=why)

    def _loop(self) -> None:
        last = 0.0
        while not self._stop.is_set():
            message = self._connection.receive()
            if message is None:
                quick = time.monotonic() - last < _RUN_IS_ON_S
                self._stop.wait(QUICK_S if quick else SLOW_S)
                continue
            self._one(message)
            last = time.monotonic()

    def _one(self, message: Message) -> None:
        asked = _named(message)
        self.log.write("asked", **asked, items=_listed(message))
        answer = self._answered(message)
        items = _listed(answer, values=True)
        refusal = refusal_of(answer)
        self.log.write(
            "will send",
            **asked,
            **({"refused": refusal.reason.name} if refusal else {}),
            items=items,
            bytes=sum(item["bytes"] for item in items),
        )
        wanted, requests = self._connection.send(answer)
        self.log.write(
            "sent" if wanted else "not wanted",
            **asked,
            requests=[asdict(request) for request in requests],
            bytes=sum(request.bytes for request in requests),
        )
        self._told(f"{asked['kind']}{asked['round'] and ' ' + asked['round']}: {_outcome(refusal, wanted)}")

    def _answered(self, message: Message) -> Message:
        """What the site answers; where it cannot, a refusal that says so without anything from its data."""
        try:
            return self._answer(message)
        except HounsfieldError as error:
            return refused(message, Reason.FAILED, " ".join(str(error).split()))
        except Exception as error:  # noqa: BLE001 - one failed answer must not end a site that others wait for
            self.log.write("failed", error=type(error).__name__)
            self._told(f"failed: {type(error).__name__}: {error}")
            return refused(
                message, Reason.FAILED, f"the site failed ({type(error).__name__}); its log says more"
            )


def _named(message: Message) -> dict[str, str]:
    metadata = message.metadata
    return {"kind": metadata.message_type, "round": metadata.group_id, "message": metadata.message_id}


def _listed(message: Message, *, values: bool = False) -> list[dict[str, Any]]:
    """What a message carries; with words and numbers as they are, where a person reads what leaves."""
    items = [asdict(item) for item in items_of(message)]
    if values and message.has_content():
        said = _values(message)
        for item in items:
            if item["name"] in said:
                item["value"] = said[item["name"]]
    return items


def _values(message: Message) -> dict[str, Any]:
    """Words and numbers by the names that `items_of` gives them; what is no number in JSON as a word."""
    content = message.content
    found: dict[str, Any] = {}
    for records in (content.metric_records, content.config_records):
        for record, named in records.items():
            for name, value in named.items():
                if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
                    found[f"{record}/{name}"] = value
                elif isinstance(value, float):
                    found[f"{record}/{name}"] = str(value)
    return found


def _outcome(refusal: Any, wanted: bool) -> str:
    if refusal is not None:
        return f"refused ({refusal.sentence})"
    return "answered" if wanted else "answered, but no longer wanted"
