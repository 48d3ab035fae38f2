"""The tree of errors: each says what was given, what was expected and what to do next.

A command ends with the `exit_code` of the error that reached it.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["BadInput", "GateRefused", "HounsfieldError", "Interrupted", "MissingDependency"]


class HounsfieldError(Exception):
    """Any fault that Hounsfield explains in one sentence.

    >>> raise HounsfieldError("the run folder is read-only; choose another --out")
    Traceback (most recent call last):
    ...
    hounsfield.core.errors.HounsfieldError: the run folder is read-only; choose another --out
    """

    exit_code: ClassVar[int] = 1


class BadInput(HounsfieldError):
    """What the user gave cannot be used; the sentence says what to change.

    >>> BadInput.exit_code
    3
    """

    exit_code: ClassVar[int] = 3


class GateRefused(HounsfieldError):
    """A quality or safety gate refused to go on, although the input could be read.

    >>> GateRefused.exit_code
    4
    """

    exit_code: ClassVar[int] = 4


class MissingDependency(HounsfieldError):
    """A package, a weight file or a peer that this step needs is not there.

    >>> MissingDependency.exit_code
    5
    """

    exit_code: ClassVar[int] = 5


class Interrupted(HounsfieldError):
    """Somebody asked the run to end; what it had learned is saved.

    >>> Interrupted.exit_code
    130
    """

    exit_code: ClassVar[int] = 130
