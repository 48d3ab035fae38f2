"""Whether people at a site agree to a plan: by its hash, beforehand or when they have seen it.

The proposed plan lies in `proposed.json` of the site's folder to be read, agreement in `consent.json`: so
`hu site accept HASH` can be called while the site runs, by whoever may write there. Until then the site
answers that its people have not decided.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from hounsfield.core.errors import BadInput
from hounsfield.federation.proposal import Proposal
from hounsfield.io.files import write_json, write_text

__all__ = ["Consent", "Standing"]

FEWEST = 12
"""Digits of a hash that name a plan."""


Standing = Literal["given", "declined", "open"]


class Consent:
    """Plans that were agreed to or declined, by the first digits of their hash; `beforehand` were agreed to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Consent(Path(folder)).decide("0123456789ABCDEF", agreed=True)
    ...     Consent(Path(folder)).decided
    {'0123456789abcdef': True}
    """

    def __init__(self, folder: Path, *, beforehand: tuple[str, ...] = ()) -> None:
        self._folder, self._place = folder, folder / "consent.json"
        self._beforehand = tuple(_checked(given) for given in beforehand)

    @property
    def decided(self) -> dict[str, bool]:
        """Every decision, True where it was to take part; BadInput where the file is damaged."""
        try:
            kept = json.loads(self._place.read_text("utf-8")) if self._place.exists() else {}
            return dict.fromkeys(self._beforehand, True) | {
                _checked(str(d)): bool(v) for d, v in kept.items()
            }
        except (ValueError, TypeError, AttributeError) as error:
            raise BadInput("consent.json is damaged; remove it, and agree again") from error

    def decide(self, digits: str, *, agreed: bool) -> None:
        """Agree to, or decline, the plan whose hash begins with these digits; the last decision counts."""
        digits = _checked(digits)
        write_json(self._place, {**self.decided, digits: agreed})

    def of(self, proposal: Proposal) -> Standing:
        """What was decided of a plan."""
        found = [v for digits, v in self.decided.items() if proposal.hash.startswith(digits)]
        return "open" if not found else "given" if all(found) else "declined"

    def show(self, proposal: Proposal) -> None:
        """Lay the plan where it can be read."""
        text = json.dumps(json.loads(proposal.to_json()), indent=2)
        write_text(self._folder / "proposed.json", text + "\n")


def _checked(digits: str) -> str:
    plain = digits.strip().lower()
    if not re.fullmatch(f"[0-9a-f]{{{FEWEST},64}}", plain):
        raise BadInput(
            f"HASH is not {FEWEST} hexadecimal digits or more; take them from the plan that was shown"
        )
    return plain
