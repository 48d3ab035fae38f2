"""What a site tells of its cases before a plan is made: aggregated numbers, no count below the smallest n."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput
from hounsfield.federation.flower import Message
from hounsfield.federation.messages import config_of, refusal_of
from hounsfield.federation.proposal import package_version
from hounsfield.io.pixel_store import PixelStore
from hounsfield.steps.fingerprint import Fingerprint, fingerprint

__all__ = ["SiteFacts", "facts_in", "facts_of"]


@dataclass(frozen=True)
class SiteFacts:
    """The classes of a site, how many patients have each (None: fewer than the smallest n), and what its
    images are like: sizes in voxels (k, j, i), spacing in mm, grey levels as percentiles.

    `fingerprint.imbalance` is not told where a class is that small: it would give the count away. `phantom`
    says that every patient is simulated.
    """

    kind: str
    classes: tuple[str, ...]
    target: tuple[str, ...]
    patients_by_class: dict[str, int | None]
    fingerprint: Fingerprint
    version: str
    phantom: bool = False

    def to_json(self) -> str:
        """As it is sent."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SiteFacts:
        """Read what `to_json` wrote; BadInput where it is something else."""
        try:
            raw = json.loads(text)
            told: dict[str, Any] = raw["fingerprint"]
            known = {f.name for f in fields(Fingerprint)}
            numbers: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in told.items() if k in known
            }
            return cls(
                str(raw["kind"]), tuple(map(str, raw["classes"])), tuple(map(str, raw["target"])),
                dict(raw["patients_by_class"]), Fingerprint(**numbers), str(raw["version"]),
                raw.get("phantom") is True,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(
                "a site's facts cannot be read; expected those of the same version of hounsfield; compare "
                "the versions on both sides"
            ) from error


def facts_in(
    answers: Iterable[Message], names: Mapping[int, str]
) -> tuple[dict[str, SiteFacts], dict[str, str]]:
    """What sites answered to `messages.ask_facts`, by name; of the others why they tell nothing."""
    found: dict[str, SiteFacts] = {}
    silent: dict[str, str] = {}
    for answer in answers:
        name, refusal = names[int(answer.metadata.src_node_id)], refusal_of(answer)
        if fault := _other_version(answer) if refusal is None else refusal.sentence:
            silent[name] = fault
            continue
        try:
            found[name] = SiteFacts.from_json(str(config_of(answer)["facts"]))
        except BadInput as error:
            silent[name] = str(error)
    return found, silent


def facts_of(cohort: Cohort, store: PixelStore, *, smallest_n: int, version: str) -> SiteFacts:
    """The facts of a site's development cases.

    Raises BadInput where it has fewer than `smallest_n` patients.
    """
    cases, names = cohort.development, cohort.encoding.classes
    patients = len({c.patient for c in cases})
    if patients < smallest_n:
        raise BadInput(
            f"the site has {patients} patients to learn from; expected at least {smallest_n}; it cannot take "
            "part alone: join it with another, or ask for a smaller federation.smallest_n"
        )
    counts: dict[str, int | None] = {}
    for k, name in enumerate(names):
        n = len({c.patient for c in cases if c.answer and k in c.answer.positive})
        counts[name] = n if n >= smallest_n else None
    facts = fingerprint(cohort, store)
    if None in counts.values():
        facts = replace(facts, imbalance=1.0)
    encoding = cohort.encoding
    return SiteFacts(
        encoding.kind, names, encoding.target, counts, facts, version, phantom=cohort.only_phantoms
    )


def _other_version(answer: Message) -> str:
    """What to say of a site that runs another version, "" where it runs this one."""
    theirs = str(config_of(answer).get("version", "unknown"))
    if theirs == package_version():
        return ""
    return (
        f"it runs hounsfield {theirs} and the coordinator {package_version()}; install one version everywhere"
    )
