"""What an audit check is given and what it gives: claims about the data, each a fact or one that chance may
have made.

A check is one file here, registered by `@CHECKS.register(name)`. It never decides by itself whether a p-value
is small: all claims of a family are corrected together (Holm 1979), and the families share one level, so that
a clean cohort raises an alarm in about one of a hundred audits however many columns it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.cohort import DEVELOPMENT, TEST, Cohort
from hounsfield.core.evidence import Finding
from hounsfield.core.registry import Registry
from hounsfield.steps.audits.chance import holm
from hounsfield.steps.audits.measures import Measures
from hounsfield.steps.audits.quick_model import features_of, spots_of
from hounsfield.steps.audits.targets import Targets
from hounsfield.steps.duplicates import Fingerprints, Pair

__all__ = ["ALPHA", "CHECKS", "FAMILIES", "Check", "Claim", "Material", "settled"]

ALPHA = 0.01
"""The chance that an audit of a cohort without any fault claims one."""
FAMILIES = {
    "association": "group columns against the answer",
    "balance": "groups that hold one class only",
    "missing": "whether data are missing by class, part or group",
    "place": "places at the margin of the image against the answer",
    "prevalence": "whether the classes are as frequent in all parts",
    "representation": "groups against the target table",
    "shift": "whether the parts differ",
    "shortcut": "properties of files and images against the answer",
    "suspects": "labels and orientations that the images contradict",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A finding as it is to be reported; with `p`, only if it survives the correction within its family."""

    finding: Finding
    p: float | None = None
    family: str = ""


@dataclass(frozen=True)
class Material:
    """What the checks look at: the cohort and its duplicates; pixels' measures, fingerprints and targets if
    known.
    """

    cohort: Cohort
    pairs: tuple[Pair, ...] = ()
    marks: Fingerprints | None = None
    measures: Measures | None = None
    targets: Targets | None = None

    @property
    def cases(self) -> tuple[Case, ...]:
        return self.cohort.cases

    @cached_property
    def patients(self) -> NDArray[np.intp]:
        """The number of the patient of each case (N,)."""
        return np.unique([c.patient for c in self.cases], return_inverse=True)[1].astype(np.intp)

    @cached_property
    def questions(self) -> tuple[tuple[str, NDArray[np.intp]], ...]:
        """What can be asked of the answers: a name, and a class number per case (N,), -1 where unknown.

        One question where classes exclude each other, one a class (no, yes) where they do not.
        """
        encoding = self.cohort.encoding
        if encoding.kind == "multilabel":
            return tuple(
                (
                    name,
                    np.array(
                        [-1 if c.answer is None else int(k in c.answer.positive) for c in self.cases], np.intp
                    ),
                )
                for k, name in enumerate(encoding.classes)
            )
        named = [max(c.answer.positive, default=-1) if c.answer else -1 for c in self.cases]
        return (("", np.array(named, np.intp)),)

    @cached_property
    def planes(self) -> NDArray[np.float32] | None:
        """The small plane of each case (N, SIDE, SIDE), if there are fingerprints of all."""
        rows = self._rows
        return None if rows is None or self.marks is None else self.marks.fine[rows].astype(np.float32)

    @cached_property
    def edges(self) -> NDArray[np.float32] | None:
        """The edges of each case (N, EDGES), if there are fingerprints of all."""
        rows = self._rows
        return None if rows is None or self.marks is None else self.marks.coarse[rows, 0]

    @cached_property
    def features(self) -> NDArray[np.float64] | None:
        """What the quick model sees of each case (N, F), if there are fingerprints of all."""
        if self.planes is None or self.edges is None:
            return None
        return features_of(self.edges, self.planes, spots_of(self.planes))

    @cached_property
    def _rows(self) -> list[int] | None:
        if self.marks is None:
            return None
        first = {key: row for row, key in reversed(list(enumerate(self.marks.ids)))}
        return [first[c.id] for c in self.cases] if all(c.id in first for c in self.cases) else None

    @cached_property
    def columns(self) -> dict[str, list[str]]:
        """Each group column with the value of every case, "" where unknown."""
        names = sorted({g for c in self.cases for g in c.groups})
        return {g: [c.groups.get(g, "") for c in self.cases] for g in names}

    @cached_property
    def sides(self) -> tuple[str, list[str]]:
        """What the cases are split into, in words and by case: the given parts, else development and test,
        else folds.
        """
        given = [c.given_part for c in self.cases]
        if len(set(given) - {""}) > 1:
            return "the given parts", given
        parts = [self.cohort.part[c.id] for c in self.cases]
        if set(parts) == {DEVELOPMENT, TEST}:
            return "development and test", parts
        folds = [self.cohort.fold.get(c.id) for c in self.cases]
        return "the folds", ["" if f is None else f"fold {f}" for f in folds]

    def class_name(self, question: str, number: int) -> str:
        """The class of that number in words."""
        if question:
            return question if number else f"no {question}"
        name = self.cohort.encoding.classes[number]
        return f"class {name}" if name.isdigit() else name


Check = Callable[[Material], Sequence[Claim]]
CHECKS = Registry[Check]("audit check")


def settled(claims: Sequence[Claim]) -> tuple[Finding, ...]:
    """The findings that hold: all facts, the claims that survive Holm's correction, and what was tested.

    >>> found = settled([Claim(Finding("a", note="a"), 1e-9, "shift"), Claim(Finding("b"), 0.04, "shift")])
    >>> [f.name for f in found], found[0].method
    (['a', 'tests_made'], 'Holm p < .001 of 2 tests')
    """
    found = [c.finding for c in claims if c.p is None]
    told, level = [], ALPHA / len(FAMILIES)
    for family, words in FAMILIES.items():
        tested = [c for c in claims if c.p is not None and c.family == family]
        adjusted = holm([1.0 if c.p is None else c.p for c in tested])
        held = [(c.finding, p) for c, p in zip(tested, adjusted, strict=True) if p < level]
        for finding, p in held:
            said = f"Holm p {'< .001' if p < 0.001 else f'= {p:.3f}'} of {len(tested)} tests"
            found.append(replace(finding, method=f"{finding.method}; {said}" if finding.method else said))
        told += [f"{len(tested)} of {words} ({len(held) or 'none'} held)"] if tested else []
    if told:
        count = float(sum(c.p is not None for c in claims))
        method = f"Holm within each family at {level:.5f}: one clean audit in {1 / ALPHA:.0f} errs"
        found.append(Finding("tests_made", value=count, method=method, note="tested were " + "; ".join(told)))
    return tuple(found)
