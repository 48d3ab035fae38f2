"""All cases of a study and how they are split: always by patient."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.errors import BadInput

__all__ = ["DEVELOPMENT", "TEST", "Cohort"]

DEVELOPMENT = "development"
TEST = "test"

_PHANTOM = "PHANTOM-"


@dataclass(frozen=True, slots=True)
class Cohort:
    """Cases, their label encoding, and for each case its part and its fold.

    `part` maps a case id to "development" or "test"; `fold` maps a development case to the number
    of the fold that validates on it. `notes` say in words how the split came about.
    Raises BadInput where one patient stands on both sides.
    """

    cases: tuple[Case, ...]
    encoding: LabelEncoding
    part: Mapping[str, str]
    fold: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        sides: dict[str, str] = {}
        for case in self.cases:
            side = f"{self.part[case.id]} {self.fold.get(case.id, '')}"
            if sides.setdefault(case.patient, side) != side:
                raise BadInput(
                    "one patient stands in two parts of the split; expected each patient in one; "
                    "correct the split column or let Hounsfield split"
                )

    @property
    def development(self) -> tuple[Case, ...]:
        return tuple(c for c in self.cases if self.part[c.id] == DEVELOPMENT)

    @property
    def test(self) -> tuple[Case, ...]:
        return tuple(c for c in self.cases if self.part[c.id] == TEST)

    @property
    def folds(self) -> int:
        """Number of folds among the development cases."""
        return max(self.fold.values(), default=-1) + 1

    @property
    def patients_known(self) -> bool:
        """True if every case names its patient."""
        return all(c.patient_known for c in self.cases)

    @property
    def only_phantoms(self) -> bool:
        """True if every patient is simulated: the ids of our phantoms, in a table or a header, begin so."""
        return all(
            any(name.startswith(_PHANTOM) for name in (c.patient, c.images[0].patient)) for c in self.cases
        )

    def only(self, kept: tuple[Case, ...], note: str = "") -> Cohort:
        """The cohort of some of its cases, each where it was; `note` says why the others are not there.

        Raises BadInput where none is left.
        """
        if not kept:
            raise BadInput(f"no case is left ({note}); expected at least one; give other images")
        ids = {c.id for c in kept}
        return Cohort(
            tuple(c for c in self.cases if c.id in ids),
            self.encoding,
            {k: v for k, v in self.part.items() if k in ids},
            {k: v for k, v in self.fold.items() if k in ids},
            (*self.notes, note) if note else self.notes,
        )

    def class_counts(self, cases: tuple[Case, ...] | None = None) -> dict[str, int]:
        """How many cases hold each class."""
        counted = Counter(
            k for c in (self.cases if cases is None else cases) if c.answer for k in c.answer.positive
        )
        return {name: counted[k] for k, name in enumerate(self.encoding.classes)}

    def digest(self) -> str:
        """A hash of which cases, answers, parts and folds these are; no identity can be read from it."""
        lines = [
            f"{c.id}\t{c.answer.positive if c.answer else ''}\t{self.part[c.id]}\t{self.fold.get(c.id)}"
            for c in self.cases
        ]
        text = "\n".join([repr(self.encoding), *sorted(lines)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]
