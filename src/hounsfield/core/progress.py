"""How a long step says where it is; what draws it is the caller's choice."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Told of each step as it begins, advances and ends."""

    def begin(self, step: str, detail: str = "") -> None: ...

    def advance(self, done: int, total: int, note: str = "") -> None: ...

    def end(self, summary: str = "") -> None: ...


class Silent:
    """Says nothing.

    >>> Silent().begin("scan")
    """

    def begin(self, step: str, detail: str = "") -> None:
        """A step begins."""

    def advance(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` parts of the step are finished."""

    def end(self, summary: str = "") -> None:
        """The step is finished."""
