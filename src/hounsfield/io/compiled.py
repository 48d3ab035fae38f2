"""Functions compiled by numba that run without the GIL and are compiled once a machine.

The compiled code is kept beside the source, or in the user's cache folder. It is made anew when its own
file changes, but not when another does: a compiled function takes what other files define (columns, say)
as an argument, never from a global.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit  # type: ignore[import-untyped]

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function on its first call; where no folder can be written, for this process only.

    >>> @compiled
    ... def doubled(x):
    ...     return x + x
    >>> doubled(4)
    8
    """
    try:
        made: Callable[..., Any] = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no place for the cache
        made = njit(nogil=True)(function)
    return made
