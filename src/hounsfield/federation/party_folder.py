"""The folder of a party, a coordinator or a site, is held by one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hounsfield.core.errors import BadInput

__all__ = ["alone", "is_held"]

_LOCK = ".running"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a party's folder for one process, until it ends or is killed; BadInput where another has it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                "another process runs in this folder already; end it first, or name another"
            ) from error
        yield


def is_held(folder: Path) -> bool:
    """True if a process holds this folder now."""
    try:
        with (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
