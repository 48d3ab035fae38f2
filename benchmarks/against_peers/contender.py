"""What stands in a worker process: it does a number of items, says what came out, and what it is.

Each file under `contenders/` has a function `make(**arguments)` that returns one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Contender", "digest_of", "versions_of"]


class Contender(Protocol):
    """One side of a comparison, all its images and weights already in memory."""

    def run(self, items: int) -> float | None:
        """Do so many items. Returns None, or the seconds by the program's own clock, which then count."""
        ...

    def digest(self) -> dict[str, Any]:
        """What the last run left: shape and type of an output, its mean and spread, or a loss."""
        ...

    def facts(self) -> dict[str, Any]:
        """Versions, and checks that are made once: errors against scipy, ranges of what was drawn."""
        ...


def digest_of(outputs: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Shape and type of one output and the mean and spread of all.

    >>> digest_of([np.zeros((2, 2), np.float32)])
    {'shape': [2, 2], 'dtype': 'float32', 'mean': 0.0, 'spread': 0.0}
    """
    together = np.stack([np.asarray(o, np.float64) for o in outputs])
    return {
        "shape": list(outputs[0].shape),
        "dtype": str(np.asarray(outputs[0]).dtype),
        "mean": round(float(together.mean()), 6),
        "spread": round(float(together.std()), 6),
    }


def versions_of(*names: str) -> dict[str, str]:
    """The installed version of each distribution."""
    from importlib.metadata import version

    return {name: version(name) for name in names}
