"""Functions compiled by numba that run without the GIL and are compiled once a machine.

The compiled code is kept beside the source, or in the user's cache folder. It is made anew when its own
file changes, but not when another does: a compiled function takes what other files define (columns, say)
as an argument, never from a global.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["arithmetic", "compiled"]

# Sums may be taken in another order and products fused, so that loops become vectors; infinities and
# not-a-numbers keep their meaning, which numba's fastmath=True would give up.
_REORDERED = {"contract", "reassoc", "arcp", "nsz"}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function on its first call; where no folder can be written, for this process only.

    >>> @compiled
    ... def doubled(x):
    ...     return x + x
    >>> doubled(4)
    8
    """
    return _compiled(function)


def arithmetic(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for loops of real numbers, which become vectors: the last bit depends on the processor.

    A division by zero gives infinity, as in numpy, and no exception.

    >>> @arithmetic
    ... def halved(x):
    ...     return x / 2
    >>> halved(3.0)
    1.5
    """
    return _compiled(function, fastmath=_REORDERED, error_model="numpy")


def _compiled(function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
    from numba import njit

    try:
        made: Callable[..., Any] = njit(cache=True, nogil=True, **how)(function)
    except RuntimeError:  # no place for the cache
        made = njit(nogil=True, **how)(function)
    return made
