"""What a site agrees to before it takes part: the plan, what the outputs mean, and the package's version.

The hash covers every choice. A site pins it: whatever is asked of it later must bear the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.plan import Plan

__all__ = ["Proposal", "package_version"]

_NO_CHOICE = ("reasons", "threads", "device")


@dataclass(frozen=True)
class Proposal:
    """A plan of a federation and the common names of its classes, for one version of the package.

    >>> from hounsfield.core.plan import Federation
    >>> plan = Plan(federation=Federation(strategy="fedavg"))
    >>> one = Proposal(plan, LabelEncoding("binary", ("benign", "malignant")))
    >>> Proposal.from_json(one.to_json()).hash == one.hash
    True
    """

    plan: Plan
    encoding: LabelEncoding
    version: str = ""

    def __post_init__(self) -> None:
        if not self.plan.federation.on:
            raise BadInput(
                'the plan\'s federation.strategy is "none"; expected a strategy, e.g. '
                "federation.strategy=fedavg; set it"
            )
        if not self.version:
            object.__setattr__(self, "version", package_version())

    @property
    def hash(self) -> str:
        """SHA-256 of every choice, in hexadecimal; reasons, threads and device are no choices."""
        facts = self._facts()
        for key in _NO_CHOICE:
            facts["plan"].pop(key, None)
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """Everything, as it is sent to a site and shown there."""
        return json.dumps(self._facts(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Proposal:
        """Read what `to_json` wrote; BadInput where it is none, or where its plan has an unknown key."""
        try:
            raw = json.loads(text)
            kind, classes, target = raw["encoding"]
            encoding = LabelEncoding(str(kind), tuple(map(str, classes)), tuple(map(str, target)))
            plan, made_by = raw["plan"], str(raw["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(
                "what was proposed is no plan with its classes and version; expected a coordinator of the "
                "same version of hounsfield; compare the versions on both sides"
            ) from error
        return cls(Plan.checked(plan), encoding, made_by)

    def _facts(self) -> dict[str, Any]:
        encoding = self.encoding
        return {
            "plan": json.loads(self.plan.to_json()),
            "encoding": [encoding.kind, list(encoding.classes), list(encoding.target)],
            "version": self.version,
        }


def package_version() -> str:
    """The version of the installed package, which alone runs at a site."""
    return version("hounsfield")
