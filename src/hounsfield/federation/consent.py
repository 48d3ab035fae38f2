"""Whether people at a site agree to a plan: by its hash, beforehand or when they have seen it.

The proposed plan lies in `proposed.json` of the site's folder to be read, agreement in `consent.json`: so
`hu site accept HASH` can be called while the site waits, by whoever may write there.
"""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path

from hounsfield.core.errors import BadInput
from hounsfield.federation.proposal import Proposal
from hounsfield.io.files import write_json, write_text

__all__ = ["Consent"]

FEWEST = 12
"""Digits of a hash that name a plan."""

_WAIT_S = 24 * 3600.0


class Consent:
    """Plans that were agreed to, by the first digits of their hash; `beforehand` are those of a command line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Consent(Path(folder)).give("0123456789ABCDEF")
    ...     Consent(Path(folder)).hashes
    ('0123456789abcdef',)
    """

    def __init__(
        self, folder: Path, *, beforehand: tuple[str, ...] = (), stop: threading.Event | None = None
    ) -> None:
        self._folder, self._place = folder, folder / "consent.json"
        self._beforehand = tuple(_checked(given) for given in beforehand)
        self._stop = stop or threading.Event()

    @property
    def hashes(self) -> tuple[str, ...]:
        """All that were agreed to; BadInput where the file is damaged."""
        try:
            kept = json.loads(self._place.read_text("utf-8")) if self._place.exists() else []
            return (*self._beforehand, *(_checked(str(given)) for given in kept))
        except (ValueError, TypeError) as error:
            raise BadInput("consent.json is damaged; remove it, and agree again") from error

    def give(self, digits: str) -> None:
        """Agree to the plan whose hash begins with these digits."""
        digits = _checked(digits)
        write_json(self._place, sorted({*self.hashes, digits}))

    def given(self, proposal: Proposal) -> bool:
        """Whether a plan was agreed to."""
        return any(proposal.hash.startswith(digits) for digits in self.hashes)

    def show(self, proposal: Proposal) -> None:
        """Lay the plan where it can be read."""
        write_text(
            self._folder / "proposed.json", json.dumps(json.loads(proposal.to_json()), indent=2) + "\n"
        )

    def wait_for(self, proposal: Proposal, *, seconds: float = _WAIT_S) -> bool:
        """Wait until somebody agrees; False where nobody does in time, or the site is to stop."""
        ends = time.monotonic() + seconds
        while not self._stop.is_set() and time.monotonic() < ends:
            if self.given(proposal):
                return True
            self._stop.wait(0.2)
        return False


def _checked(digits: str) -> str:
    plain = digits.strip().lower()
    if not re.fullmatch(f"[0-9a-f]{{{FEWEST},64}}", plain):
        raise BadInput(
            f"HASH is not {FEWEST} hexadecimal digits or more; take them from the plan that was shown"
        )
    return plain
