"""A family of plugs found by name: readers, networks, explainers, tasks.

A duplicate name raises; an unknown name suggests the nearest. Other packages may add to a family
through the entry-point group `hounsfield.<family>`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from hounsfield.core.errors import BadInput

__all__ = ["Registry", "nearest"]

T = TypeVar("T")


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """A clause that suggests the closest known name, or lists what is known.

    >>> nearest("dcie", ["dice", "froc"])
    'did you mean "dice"?'
    >>> nearest("xyz", ["dice", "froc"])
    'known: dice, froc'
    """
    folded = {k.casefold(): k for k in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    if close:
        return f'did you mean "{folded[close[0]]}"?'
    return "known: " + ", ".join(sorted(known)[:20])


class Registry(Generic[T]):
    """Plugs of one family by their name.

    >>> metrics = Registry[float]("metric")
    >>> metrics.add("dice", .9)
    0.9
    >>> metrics["dice"], metrics.names
    (0.9, ('dice',))
    """

    def __init__(self, family: str) -> None:
        self.family = family
        self._plugs: dict[str, T] = {}
        self._searched = False

    def add(self, name: str, plug: T) -> T:
        """Enter a plug; a name that is taken raises."""
        if name in self._plugs:
            raise BadInput(f'{self.family} "{name}" is registered already; choose another name')
        self._plugs[name] = plug
        return plug

    def register(self, name: str) -> Callable[[T], T]:
        """The decorator form of `add`."""
        return lambda plug: self.add(name, plug)

    def __getitem__(self, name: str) -> T:
        if name not in self._plugs:
            self._search_entry_points()
        if name not in self._plugs:
            raise BadInput(f'unknown {self.family} "{name}"; {nearest(name, self.names)}')
        return self._plugs[name]

    def __contains__(self, name: object) -> bool:
        return name in self._plugs

    def __iter__(self) -> Iterator[str]:
        return iter(self._plugs)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._plugs)

    def _search_entry_points(self) -> None:
        if not self._searched:
            from importlib.metadata import entry_points  # slow to import, seldom needed

            self._searched = True
            for point in entry_points(group=f"hounsfield.{self.family}"):
                if point.name not in self._plugs:
                    self._plugs[point.name] = point.load()
