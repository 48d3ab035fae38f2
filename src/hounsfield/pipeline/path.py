"""The order of training: scan, gather, audit, design, prepare, search, pretrain, fit, predict, evaluate,
explain, report.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hounsfield.core.errors import BadInput
from hounsfield.core.progress import Progress, Silent
from hounsfield.pipeline.auditing import audited_cohort
from hounsfield.pipeline.learning import (
    calibrated_model,
    exported_model,
    fitted_members,
    marked_for,
    plan_warnings,
    planned,
    prepared_for,
    primed,
    searched_plan,
    together,
)
from hounsfield.pipeline.nesting import outer_validated, outer_validation, require_before
from hounsfield.pipeline.seeing import scanned
from hounsfield.pipeline.showing import evidence_of, reported, scored
from hounsfield.steps.audit import refuse_leakage
from hounsfield.steps.fit import job_of
from hounsfield.steps.gather import gather, resplit
from hounsfield.steps.overlap import only_test
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.study import Clock, Looked, Run, Study

__all__ = ["look", "train"]


def train(study: Study, *, progress: Progress | None = None) -> Run:
    """From images to a model with evidence. A bad input raises before anything is left behind.

    Under torchrun this is what rank 0 does; the other processes `follow` it.
    """
    clock = Clock(progress or Silent())
    _refuse_other_tasks(study)
    if study.task != "classification":
        from hounsfield.pipeline.places import train_places

        return train_places(study, clock)
    folder = RunFolder(study.out)
    with together(study) as group, folder.opened(resume=study.resume):
        looked = look(study, folder.cache, clock)
        study = replace(study, phantom=study.phantom or looked.cohort.only_phantoms)
        refuse_leakage(looked.cohort, looked.pairs)
        plan = planned(study, looked, folder, clock)
        require_before(study, looked)
        outer = outer_validation(looked, plan)
        prepared = prepared_for(looked, plan, folder, clock)
        prepared, taught = marked_for(study, looked, plan, prepared, folder)
        plan, searched = searched_plan(study, looked, plan, prepared, folder, clock)
        folder.keep_plan(plan)
        folder.require_same(plan.digest(), f"{looked.cohort.digest()}-{looked.marks.digest()}")
        job = job_of(looked.cohort, plan, prepared, folder.work)
        job, pretrained = primed(study, looked, job, folder, clock)
        fitted = fitted_members(job, group, clock)
        model, crossed, called = calibrated_model(study, looked, fitted, job, folder, clock)
        if outer:
            crossed, called, nesting = outer_validated(study, looked, outer, job, group, clock)
            searched = (*searched, nesting)
        model, exported = exported_model(model, job, looked, clock)
        noted = (*plan_warnings(plan, looked), *taught, *searched, *pretrained, *exported)
        looked = replace(looked, findings=(*looked.findings, *noted))
        predictions, called = scored(model, looked, prepared, crossed, called, clock)
        evidence = evidence_of(study, model, looked, fitted, prepared, predictions, called, clock)
        run = reported(study, model, evidence, predictions, called, prepared, looked, folder, clock)
    if not study.keep_cache:
        folder.drop_cache()
    return run


def _refuse_other_tasks(study: Study) -> None:
    """BadInput for a plan of another task, and for what only a classification can use."""
    if study.plan is not None and study.plan.task != study.task:
        raise BadInput(
            f"a plan of {study.plan.task} was given for {study.task}; give a plan of {study.task}, or leave "
            "--plan out to have one designed"
        )
    asked = {"--search": study.search_minutes, "--unlabelled": study.unlabelled, "--before": study.before}
    given = [name for name, value in asked.items() if value]
    if study.task != "classification" and given:
        raise BadInput(
            f"{', '.join(given)} was given with --task {study.task}; expected it with a classification only; "
            "leave it out"
        )


def look(study: Study, cache: Path, clock: Clock, *, encoding: Any = None, split: bool = True) -> Looked:
    """Scan, gather and audit: everything before a plan.

    Without `split` the set is for external evaluation: of named parts only the test part is looked at.
    """
    index = scanned(study, clock)
    with clock.step("gather") as said:
        cohort = gather(index, study.asked, encoding=encoding, split=split)
        cohort = cohort if split else only_test(cohort)
        said += cohort.notes
    held = audited_cohort(
        index, cohort, study, cache, clock,
        resplit=(lambda cohort, links: resplit(cohort, study.asked, links)) if split else None,
    )  # fmt: skip
    return Looked(index, held.cohort, held.store, held.marks, held.pairs, held.findings)
