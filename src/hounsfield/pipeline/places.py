"""The order of a task of places, for training and external validation; each step's work is the task's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hounsfield.core.model import Model
from hounsfield.pipeline.learning import together
from hounsfield.pipeline.seeing import Seen, data_digest, fitted, planned_grid, prepared_job, unchosen
from hounsfield.steps.audit import refuse_leakage
from hounsfield.steps.job import Job
from hounsfield.steps.overlap import overlap_with_training
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.study import Clock, Run, Study

__all__ = ["Verbs", "evaluate_places", "train_places", "verbs_of"]


@dataclass(frozen=True)
class Verbs:
    """What a task does: before a plan (by a model's names where one is given), after the fit, at the end.

    `told` measures, shows and reports; its job is None where a model is evaluated on other images.
    """

    seen: Callable[[Study, RunFolder, Clock, Model | None], Seen]
    model: Callable[[Study, Seen, Job, RunFolder, Clock], Model]
    told: Callable[[Study, Model, Seen, Job | None, RunFolder, Clock], Run]


def verbs_of(task: str) -> Verbs:
    """The verbs of segmentation or detection."""
    if task == "segmentation":
        from hounsfield.pipeline.outlining import OUTLINES

        return OUTLINES
    from hounsfield.pipeline.locating import MARKS

    return MARKS


def train_places(study: Study, clock: Clock) -> Run:
    """Scan, gather, audit, design, prepare, fit, choose on validation cases, predict, evaluate, report."""
    verbs, folder = verbs_of(study.task), RunFolder(study.out)
    with together(study) as group, folder.opened(resume=study.resume):
        seen = verbs.seen(study, folder, clock, None)
        study = replace(study, phantom=study.phantom or seen.cohort.only_phantoms)
        refuse_leakage(seen.cohort, seen.pairs)
        plan = planned_grid(study, seen, folder, clock)
        job = prepared_job(study, seen, plan, folder, clock)
        folder.keep_plan(plan)
        folder.require_same(unchosen(plan).digest(), data_digest(seen, job))
        fitted(job, group, clock)
        model = verbs.model(study, seen, job, folder, clock)
        result = verbs.told(study, model, seen, job, folder, clock)
    if not study.keep_cache:
        folder.drop_cache()
    return result


def evaluate_places(study: Study, run: Path, model: Model, clock: Clock) -> Run:
    """External validation: what a model says of other images beside their readers."""
    verbs, folder = verbs_of(model.plan.task), RunFolder(study.out)
    study = replace(study, task=model.plan.task)
    with folder.opened(resume=False):
        seen = verbs.seen(study, folder, clock, model)
        overlap = overlap_with_training(run, seen.cohort, seen.marks)
        seen = replace(seen, findings=(overlap, *seen.findings))
        study = replace(study, phantom="phantom" in model.card or seen.cohort.only_phantoms)
        result = verbs.told(study, model, seen, None, folder, clock)
    folder.drop_cache()
    return result
