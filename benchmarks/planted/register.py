"""The planted faults by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planted.cohorts import Study
from planted.pictures import Image, phantom

__all__ = ["FAULTS", "Fault", "fault"]


@dataclass(frozen=True)
class Fault:
    """What is done to a clean study, and the names of which one must warn or stop."""

    plant: Callable[[Study], Study]
    names: tuple[str, ...]
    parts: bool = False
    n: int = 0
    picture: Callable[..., Image] = phantom


FAULTS: dict[str, Fault] = {}


def fault(
    name: str, *names: str, parts: bool = False, n: int = 0, picture: Callable[..., Image] = phantom
) -> Callable[[Callable[[Study], Study]], None]:
    """Enter what is done to a study as a fault of that name."""

    def enter(plant: Callable[[Study], Study]) -> None:
        FAULTS[name] = Fault(plant, names, parts, n, picture)

    return enter
