"""What only validates: nested cross-validation, and the run that this one is set beside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.core.plan import Plan
from hounsfield.core.predictions import Predictions
from hounsfield.pipeline.learning import hearing
from hounsfield.steps.study import Clock, Looked, Study

if TYPE_CHECKING:
    from hounsfield.steps.group import Group
    from hounsfield.steps.job import Job
    from hounsfield.steps.nested import Outer

__all__ = ["outer_validated", "outer_validation", "require_before"]


def require_before(study: Study, looked: Looked) -> None:
    """Refuse, before anything is learned, a run to be set beside this one that is not of the same cases."""
    from hounsfield.steps.compare import require_same_cases

    if study.before:
        require_same_cases(Path(study.before), looked.cohort)


def outer_validation(looked: Looked, plan: Plan) -> tuple[Outer, ...]:
    """The parts of nested cross-validation, none where the plan does not ask for it."""
    if not plan.validation.outer_folds:
        return ()
    from hounsfield.steps.audit import link_pairs
    from hounsfield.steps.nested import outer_parts

    return outer_parts(looked.cohort, plan, links=link_pairs(looked.pairs, looked.cohort.cases))


def outer_validated(
    study: Study, looked: Looked, parts: tuple[Outer, ...], job: Job, group: Group, clock: Clock
) -> tuple[Predictions, NDArray[np.int64], Finding]:
    """Predictions of nested cross-validation in place of the plain one's, and what was nested in words."""
    from hounsfield.steps.nested import nested, nested_finding

    plan = job.plan
    total = plan.fit.epochs * plan.validation.members
    with clock.step("nested", f"{len(parts)} outer parts") as said:
        predictions, called = nested(
            looked.cohort, parts, plan, job.prepared, job.folder,
            start=job.start, group=group, progress=lambda _: hearing(clock.progress, total),
        )  # fmt: skip
        searched = bool(study.search_minutes) or any(
            why.startswith("found by search") for why in plan.reasons.values()
        )
        finding = nested_finding(parts, plan, searched=searched, pretrained=bool(plan.pretrain.epochs))
        said.append(f"{len(predictions)} cases scored by models of other patients")
    return predictions, called, finding
