"""What segmentation and detection know before any training, and the plan that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hounsfield.core.cohort import Cohort
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Index
from hounsfield.core.model import Model
from hounsfield.core.plan import Plan
from hounsfield.io.pixel_store import PixelStore
from hounsfield.pipeline.auditing import audited_cohort
from hounsfield.pipeline.learning import hearing
from hounsfield.steps.compute import available_cores
from hounsfield.steps.duplicates import Fingerprints, Pair
from hounsfield.steps.job import Job
from hounsfield.steps.overlap import only_test
from hounsfield.steps.regions.fingerprint import OF_ONE_IMAGE
from hounsfield.steps.regions.split import resplit_places
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.scan import scan
from hounsfield.steps.study import Clock, Study

if TYPE_CHECKING:
    from hounsfield.steps.evaluate import Setting
    from hounsfield.steps.group import Group

__all__ = [
    "MINUTES",
    "Seen",
    "audited",
    "channels_of",
    "data_digest",
    "fitted",
    "planned_grid",
    "prepared_job",
    "region_setting",
    "scanned",
    "unchosen",
    "unseen_rows",
]

MINUTES = {"classification": 8.0, "segmentation": 55.0, "detection": 80.0}
"""How long training may take where nobody says."""


@dataclass(frozen=True)
class Seen:
    """Images, cases, names of channels and of what is looked for; then pixels, duplicates and findings."""

    index: Index
    cohort: Cohort
    channels: tuple[str, ...]
    names: tuple[str, ...]
    ignore: int = -1
    regions: tuple[tuple[str, tuple[int, ...]], ...] = ()
    store: PixelStore = field(default=None)  # type: ignore[assignment]
    marks: Fingerprints = field(default=None)  # type: ignore[assignment]
    pairs: tuple[Pair, ...] = ()
    findings: tuple[Finding, ...] = ()


def scanned(study: Study, clock: Clock) -> Index:
    """The images of a study, scanned as a step, and taken by its application where it has one."""
    with clock.step("scan", Path(study.source).name) as said:
        index = scan(study.source, progress=lambda done, total: clock.progress.advance(done, total))
        said.append(index.summary())
    if study.accepts is not None:
        study.accepts(index)
    return index


def channels_of(plan: Plan | None) -> tuple[str, ...]:
    """The images that a plan's channels come from; () where all are channels of one image, as colours are."""
    if plan is None or len(plan.grid.channels) == 1 or plan.grid.channels[0] in OF_ONE_IMAGE:
        return ()
    return plan.grid.channels


def audited(seen: Seen, study: Study, folder: RunFolder, clock: Clock, *, split: bool = True) -> Seen:
    """The same with duplicates found, kept on one side of the split, and the audit's findings."""
    cohort = seen.cohort if split else only_test(seen.cohort)
    held = audited_cohort(
        seen.index, cohort, study, folder.cache, clock,
        resplit=(lambda cohort, links: resplit_places(cohort, study.asked, links)) if split else None,
    )  # fmt: skip
    return replace(
        seen, cohort=held.cohort, store=held.store, marks=held.marks, pairs=held.pairs, findings=held.findings
    )


def planned_grid(study: Study, seen: Seen, folder: RunFolder, clock: Clock) -> Plan:
    """The plan that was given or is designed, with the user's changes, fitted to the time that is given."""
    with clock.step("design") as said:
        kept = folder.kept_plan(study.plan, study.changes) if study.resume else None
        if kept is not None:
            said.append(f"{kept.name} plan of the interrupted run")
            return kept
        plan = study.plan or _designed(study, seen, clock)
        if study.task == "segmentation" and not plan.segmentation.structures:
            plan = plan.changed({"segmentation.structures": list(seen.names)})
        plan = plan.changed(study.changes) if study.changes else plan
        if study.plan is None:
            plan = _in_time(plan, study)
        plan = plan.model_copy(update={"application": study.application or plan.application})
        if plan.validation.folds != seen.cohort.folds:
            rule = plan.validation.model_copy(update={"folds": seen.cohort.folds})
            why = {"validation.folds": "as many as the patients allow"}
            plan = plan.model_copy(update={"validation": rule, "reasons": {**plan.reasons, **why}})
        shape = "×".join(map(str, plan.grid.patch))
        said.append(
            f"{plan.network.name} on patches of {shape}, {plan.fit.epochs} epochs of {plan.grid.steps} "
            f"steps, {plan.validation.members} member(s)"
        )
    return plan


def _designed(study: Study, seen: Seen, clock: Clock) -> Plan:
    from hounsfield.steps.compute import pick_device
    from hounsfield.steps.regions.fingerprint import region_facts

    device = str(study.changes.get("device", "auto"))
    facts = region_facts(
        seen.index.source, seen.cohort.development, seen.names if study.task == "segmentation" else (),
        seen.channels, ignore=seen.ignore, resample_masks=study.question.resample_masks,
        threads=available_cores(), progress=clock.progress.advance,
    )  # fmt: skip
    common: dict[str, Any] = {
        "device": pick_device(device).type,
        "seed": study.asked.seed,
        "budget_minutes": study.budget_minutes,
        "folds": seen.cohort.folds,
    }
    if study.task == "segmentation":
        from hounsfield.steps.segmentation.design import design_segmentation

        return design_segmentation(facts, seen.names, ignore=seen.ignore, regions=seen.regions, **common)
    from hounsfield.steps.detection.design import design_detection

    return design_detection(facts, seen.names, shape=_shape(seen), **common)


def _shape(seen: Seen) -> str:
    marks = [m.shape for c in seen.cohort.development for m in c.marked or ()]
    return "box" if marks and np.mean([m == "box" for m in marks]) > 0.5 else "sphere"


def _in_time(plan: Plan, study: Study) -> Plan:
    from hounsfield.steps.fit import members_beside
    from hounsfield.steps.segmentation.design import within_minutes

    if study.task == "segmentation":
        from hounsfield.steps.segmentation.fit import step_cost
    else:
        from hounsfield.steps.detection.fit import search_cost, searched_in_time, step_cost
    seconds = step_cost(plan)

    def fitted_to(plan: Plan, besides: float) -> Plan:
        return within_minutes(
            plan, seconds, minutes=study.budget_minutes, beside=members_beside(plan), besides=besides,
            fixed=study.changes,
        )  # fmt: skip

    made = fitted_to(plan, 0.0)
    if study.task == "segmentation":
        return made
    plan = searched_in_time(plan, made.fit.epochs * made.grid.steps * made.fit.batch_size, study.changes)
    return fitted_to(plan, search_cost(plan))


def prepared_job(study: Study, seen: Seen, plan: Plan, folder: RunFolder, clock: Clock) -> Job:
    """Every development case on the plan's grid, and the job that learns from them."""
    from hounsfield.steps.regions.job import region_job
    from hounsfield.steps.regions.prepare import prepare_grid

    with clock.step("prepare") as said:
        store = prepare_grid(
            seen.index.source, seen.cohort.development, plan, folder.cache, state=seen.store.state,
            resample_masks=study.question.resample_masks, threads=available_cores(),
            progress=clock.progress.advance,
        )  # fmt: skip
        spacing = "×".join(f"{s:g}" for s in plan.grid.spacing_mm)
        said.append(f"{len(store.rows)} images {f'at {spacing} mm' if spacing else 'with their own voxels'}")
    return region_job(seen.cohort, plan, store, folder.work)


def data_digest(seen: Seen, job: Job) -> str:
    """A hash of who is learned from, of the images, and of what was drawn on them."""
    assert job.grid is not None
    return f"{seen.cohort.digest()}-{seen.marks.digest()}-{job.grid.digest()}"


def fitted(job: Job, group: Group, clock: Clock) -> None:
    """The members trained."""
    from hounsfield.steps.fit import events_of, histories_of, train_members

    with clock.step("fit", f"{job.plan.validation.members} member(s)") as said:
        total = job.plan.fit.epochs * job.plan.validation.members
        train_members(job, progress=hearing(clock.progress, total), group=group)
        histories = histories_of(job)
        said.append(f"{sum(map(len, histories))} epochs")
        said += events_of(histories)


def region_setting(
    study: Study,
    model: Model,
    seen: Seen,
    job: Job | None,
    clock: Clock,
    *,
    title: str,
    tables: Mapping[str, Any] | None = None,
    untested: tuple[str, ...] = (),
) -> Setting:
    """What an evaluation of places stands in: facts of the run beside its numbers."""
    from hounsfield.steps.evaluate import Setting
    from hounsfield.steps.facts import context_of, tables_of
    from hounsfield.steps.fit import events_of, histories_of
    from hounsfield.steps.identity import identity_finding

    histories = histories_of(job) if job else ()
    events = events_of(histories)
    return Setting(
        title=study.title or title,
        audit=(*seen.findings, *identity_finding(seen.index)),
        tables={
            **tables_of(seen.index, seen.cohort, model.plan),
            **({"training_events": list(events)} if events else {}),
            **(tables or {}),
        },
        history=histories,
        context=context_of(model, seen.cohort, clock.seconds, study.command),
        untested=untested,
        phantom=study.phantom,
        seed=model.plan.seed,
    )


def unchosen(plan: Plan) -> Plan:
    """A plan as it was before validation cases chose its window: what tells a run from another."""
    return plan.model_copy(update={"grid": plan.grid.model_copy(update={"window": plan.grid.patch})})


def unseen_rows(job: Job) -> list[int]:
    """Development cases that some member had not seen."""
    members = range(job.plan.validation.members)
    return sorted({row for m in members for row in job.parts(m)[1].tolist()})
