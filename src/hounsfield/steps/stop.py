"""SIGTERM and Ctrl-C while a run trains: it saves where it stands, and ends with a word on how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hounsfield.core.errors import Interrupted

__all__ = ["Stop", "listening"]


class Stop:
    """Whether somebody has asked this process to end, and by what signal; `event` is set when it was asked.

    >>> stop = Stop()
    >>> stop.asked, stop.event.is_set()
    ('', False)
    """

    def __init__(self) -> None:
        self.asked = ""
        self.event = threading.Event()

    def refuse_to_go_on(self, where: str) -> None:
        """Raise Interrupted if the end was asked for; `where` says what is saved."""
        if self.asked:
            raise Interrupted(f"stopped by {self.asked}; {where}; go on with the same command and --resume")


@contextmanager
def listening() -> Iterator[Stop]:
    """Within, SIGTERM and SIGINT only set `asked` and `event`; a second one ends the process as ever.

    Outside the main thread, where Python takes no signals, nothing is changed.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[signal.Signals, Any] = {}

    def heard(number: int, _: FrameType | None) -> None:
        stop.asked = signal.Signals(number).name
        stop.event.set()
        for kind, handler in before.items():
            signal.signal(kind, handler)

    for kind in (signal.SIGTERM, signal.SIGINT):
        before[kind] = signal.signal(kind, heard)
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
