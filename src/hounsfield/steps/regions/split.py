"""Split a cohort of places by patient: rare structures ask for nothing, and few patients for fewer folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hounsfield.core.case import Case, Label
from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.redact import listed
from hounsfield.steps.gather import Question, resplit

__all__ = ["resplit_places"]


def resplit_places(cohort: Cohort, question: Question, links: Sequence[tuple[str, str]] = ()) -> Cohort:
    """The same cases split so that frequent structures stand in every fold and in the test part.

    A structure that too few patients bear for that is left to chance, with a note. Where there are fewer
    patients than folds, there are as many folds as patients. Raises BadInput below three patients.
    """
    patients = {c.patient for c in cohort.cases}
    held = bool(question.held_back) and not any(c.given_part for c in cohort.cases)
    left = len(patients) - max(1, round(len(patients) * question.held_back)) if held else len(patients)
    if left < 2:
        raise BadInput(
            f"{len(patients)} patient(s) were found; expected at least three, to learn from some and to test "
            "on others; bring more"
        )
    folds = min(question.folds, left)
    bearers = [
        len({c.patient for c in cohort.cases if c.answer and k in c.answer.positive})
        for k in range(len(cohort.encoding.classes))
    ]
    rare = {k for k, n in enumerate(bearers) if n < folds + held}
    made = resplit(_of_frequent(cohort, rare), replace(question, folds=folds), links)
    notes = list(made.notes)
    if folds < question.folds:
        notes.append(f"{folds} folds, since there are no more patients to learn from")
    if named := [cohort.encoding.classes[k] for k in sorted(rare) if bearers[k]]:
        notes.append(f"too few patients bear {listed(named, ids=False)} for it to stand in every fold")
    return replace(made, cases=cohort.cases, encoding=cohort.encoding, notes=tuple(dict.fromkeys(notes)))


def _of_frequent(cohort: Cohort, rare: set[int]) -> Cohort:
    """The cohort with the frequent structures alone; where there is none, every case bears the same one."""
    kept = [k for k in range(len(cohort.encoding.classes)) if k not in rare]
    names = tuple(cohort.encoding.classes[k] for k in kept) or ("image",)

    def answer(case: Case) -> Label:
        held = case.answer.positive if case.answer else ()
        return Label(tuple(n for n, k in enumerate(kept) if k in held) if kept else (0,))

    cases = tuple(replace(c, answer=answer(c)) for c in cohort.cases)
    return replace(cohort, cases=cases, encoding=replace(cohort.encoding, classes=names))
