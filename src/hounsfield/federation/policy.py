"""What a site agrees to: its own rules, the plan that a person there has seen, and nothing that differs.

The rules lie in `policy.json` of the site's folder, what was agreed to in `agreed.json`. A message that does
not bear the hash of the agreed plan is refused before it reaches the site's data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hounsfield.core.errors import BadInput
from hounsfield.federation.consent import Standing
from hounsfield.federation.flower import Message
from hounsfield.federation.messages import (
    FACTS,
    PROPOSE,
    Answer,
    Reason,
    Refusal,
    ask_propose,
    config_of,
    refusal_of,
    refused,
)
from hounsfield.federation.proposal import Proposal, package_version
from hounsfield.io.files import write_json

__all__ = ["Guard", "Policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """A site's own rules. What is left as it is here is not restricted.

    `refused_columns` are labels that are never learned here; `smallest_cohort` patients must be there before
    anything is answered; `secure_aggregation` and `largest_epsilon` (0: no limit) bind the plan; a plan of
    more than `most_rounds` (0: no limit) is refused.
    """

    refused_columns: tuple[str, ...] = ()
    smallest_cohort: int = 0
    secure_aggregation: bool = False
    largest_epsilon: float = 0.0
    most_rounds: int = 0

    @classmethod
    def read(cls, path: Path) -> Policy:
        """The rules of a file, `Policy()` where there is none; BadInput for a key that is no rule."""
        if not path.exists():
            return cls()
        try:
            given = json.loads(path.read_text("utf-8"))
            unknown = set(given) - {field.name for field in fields(cls)}
            if not unknown:
                columns = tuple(map(str, given.pop("refused_columns", ())))
                return cls(refused_columns=columns, **given)
        except (ValueError, TypeError) as error:
            raise BadInput(f"{path.name} is no JSON object of rules; correct it") from error
        known = ", ".join(field.name for field in fields(cls))
        raise BadInput(f'{path.name} has "{min(unknown)}", which is no rule; expected {known}; correct it')

    def against(self, proposal: Proposal) -> Refusal | None:
        """The first rule that a proposed plan breaks.

        >>> from hounsfield.core.case import LabelEncoding
        >>> from hounsfield.core.plan import Federation, Plan
        >>> plan = Plan(federation=Federation(strategy="fedavg"))
        >>> asked = Proposal(plan, LabelEncoding("binary", ("no", "yes"), ("hiv",)))
        >>> Policy(refused_columns=("hiv",)).against(asked).reason.name
        'COLUMN'
        """
        plan = proposal.plan.federation
        if proposal.version != package_version():
            return Refusal(
                Reason.VERSION,
                f"the plan is of version {proposal.version} and this site has {package_version()}; install "
                "one version everywhere",
            )
        refused_here = sorted(set(proposal.encoding.target) & set(self.refused_columns))
        if refused_here:
            return Refusal(Reason.COLUMN, f'this site does not give "{refused_here[0]}" to be learned')
        if self.secure_aggregation and not plan.secure_aggregation:
            return Refusal(
                Reason.PLAN, "this site takes part only with secure aggregation; the plan has none"
            )
        if self.largest_epsilon and not 0 < plan.epsilon <= self.largest_epsilon:
            return Refusal(
                Reason.PLAN,
                f"this site takes part only with differential privacy of epsilon {self.largest_epsilon:g} at "
                f"most; the plan has {plan.epsilon:g} (0: none)",
            )
        if self.most_rounds and plan.rounds > self.most_rounds:
            return Refusal(
                Reason.PLAN,
                f"this site takes part in {self.most_rounds} rounds at most; the plan has {plan.rounds}",
            )
        return None


class Guard:
    """A site's answers behind its policy.

    `decided` says whether people agreed to a plan, declined it, or have not decided yet; it shows it to them.
    `patients` is how many the site has.
    """

    def __init__(
        self,
        answer: Answer,
        folder: Path,
        *,
        policy: Policy,
        patients: int,
        decided: Callable[[Proposal], Standing],
    ) -> None:
        self._answer, self._place, self._policy = answer, folder / "agreed.json", policy
        self._patients, self._decided = patients, decided
        self._told = ""

    def __call__(self, message: Message) -> Message:
        """The site's answer, or the policy's refusal."""
        refusal = self._refusal(message) or self._told_again(message)
        return refused(message, refusal.reason, refusal.sentence) if refusal else self._answer(message)

    @property
    def agreed(self) -> str:
        """The hash of the plan that this site takes part in, "" before it agreed to one."""
        try:
            return str(json.loads(self._place.read_text("utf-8"))["hash"])
        except FileNotFoundError:
            return ""
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput("agreed.json is damaged; remove it, and agree to the plan again") from error

    def _told_again(self, message: Message) -> Refusal | None:
        """After a restart, tell the site what it agreed to before: nobody will propose it again."""
        kind = message.metadata.message_type
        if kind == PROPOSE:
            self._told = self.agreed
        if kind in (FACTS, PROPOSE) or self._told == self.agreed:
            return None
        kept = json.loads(self._place.read_text("utf-8"))
        proposal = Proposal.from_json(json.dumps(kept["proposal"]))
        refusal = self._policy.against(proposal) or refusal_of(
            self._answer(ask_propose(message.metadata.dst_node_id, proposal))
        )
        self._told = "" if refusal else proposal.hash
        return refusal

    def _refusal(self, message: Message) -> Refusal | None:
        if self._patients < self._policy.smallest_cohort:
            return Refusal(
                Reason.TOO_FEW,
                f"this site answers from {self._policy.smallest_cohort} patients on and has fewer",
            )
        kind = message.metadata.message_type
        if kind == FACTS:
            return None
        if kind == PROPOSE:
            return self._proposed(message)
        asked = _text(config_of(message), "plan-hash")
        if not self.agreed:
            return Refusal(Reason.HASH, "this site has agreed to no plan yet; propose one first")
        if asked != self.agreed:
            return Refusal(
                Reason.HASH,
                f"the plan changed: this site agreed to {self.agreed[:12]} and was asked for "
                f"{asked[:12] or 'none'}; propose the new one",
            )
        return None

    def _proposed(self, message: Message) -> Refusal | None:
        config = config_of(message)
        try:
            proposal = Proposal.from_json(_text(config, "proposal"))
        except BadInput as error:
            return Refusal(Reason.PLAN, str(error))
        if proposal.hash != _text(config, "plan-hash"):
            return Refusal(Reason.HASH, "the plan that was sent has another hash than it was said to have")
        broken = self._policy.against(proposal)
        if broken is not None or proposal.hash == self.agreed:
            return broken
        standing = self._decided(proposal)
        if standing == "open":
            return Refusal(Reason.BUSY, "the people at this site have not decided about the plan yet")
        if standing == "declined":
            return Refusal(Reason.PLAN, "the people at this site declined the plan")
        write_json(
            self._place,
            {
                "hash": proposal.hash,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "policy": asdict(self._policy),
                "proposal": json.loads(proposal.to_json()),
            },
        )
        return None


def _text(config: Any, key: str) -> str:
    found = config.get(key, "")
    return found if isinstance(found, str) else ""
