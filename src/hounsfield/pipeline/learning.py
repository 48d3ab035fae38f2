"""From what was looked at to a model: plan, search, preparation, pretraining, fitting, calibration,
export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput, Interrupted
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model
from hounsfield.core.plan import Plan
from hounsfield.core.predictions import Predictions
from hounsfield.core.progress import Progress
from hounsfield.io.model_store import write_model
from hounsfield.steps.compute import available_cores
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.study import Clock, Looked, Study

if TYPE_CHECKING:
    from hounsfield.steps.fit import Fitted
    from hounsfield.steps.group import Group
    from hounsfield.steps.job import Job
    from hounsfield.steps.prepare import Prepared


@contextmanager
def together(study: Study) -> Iterator[Group]:
    """The processes of torchrun for the length of a run; the others are told when it is over."""
    from hounsfield.steps.group import join

    group = join(_device_of(study))
    try:
        yield group
    finally:
        group.say({"over": True})
        group.leave()


def follow(study: Study) -> None:
    """What the processes of torchrun do that are not the first: train along until the run is over."""
    from hounsfield.steps.fit import follow as follow_members
    from hounsfield.steps.group import join

    group = join(_device_of(study))
    follow_members(group)
    group.leave()


def _device_of(study: Study) -> str:
    return str(study.changes.get("device", study.plan.device if study.plan else "auto"))


def planned(study: Study, looked: Looked, folder: RunFolder, clock: Clock) -> Plan:
    """The plan that was given or is designed, with the user's changes and what the data must say first."""
    from hounsfield.steps.compute import fast_bfloat16, pick_device
    from hounsfield.steps.design import design, within_budget
    from hounsfield.steps.fingerprint import fingerprint
    from hounsfield.steps.fit import members_beside
    from hounsfield.steps.prepare import with_landmarks
    from hounsfield.steps.speed import seconds_per_image
    from hounsfield.steps.validation_design import with_design

    with clock.step("design") as said:
        kept = folder.kept_plan(study.plan, study.changes) if study.resume else None
        if kept is not None:
            said.append(f"{kept.name} plan of the interrupted run")
            return kept
        channels = study.changes.get("input.channels", study.plan.input.channels if study.plan else 0)
        facts = fingerprint(looked.cohort, looked.store, channels=int(channels))
        plan = study.plan
        if plan is None:
            plan = design(
                facts,
                looked.cohort.encoding,
                seed=study.asked.seed,
                budget_minutes=study.budget_minutes,
                detail=study.detail,
                fast_bfloat16=fast_bfloat16(pick_device("auto")),
            )
        plan = plan.changed(study.changes) if study.changes else plan
        plan = with_design(plan, looked.cohort, fixed=study.changes)
        plan = plan.model_copy(update={"application": study.application or plan.application})
        if study.plan is None:
            cost = seconds_per_image(plan, looked.cohort.encoding) * max(1, plan.validation.outer_folds)
            fixed = {*study.changes, *(["validation.members"] if plan.validation.folds_by else [])}
            plan = within_budget(plan, cost, n=facts.n, beside=members_beside(plan), fixed=fixed)
        plan = with_landmarks(plan, looked.cohort.development, looked.store)
        plan = _with_pretraining(plan, study)
        said.append(
            f"{plan.network.name} at {'×'.join(map(str, plan.input.size))}, {plan.fit.epochs} epochs, "
            f"{plan.validation.members} member(s)"
        )
        said += [f.note for f in plan_warnings(plan, looked) if f.level != "info"]
    return plan


def _with_pretraining(plan: Plan, study: Study) -> Plan:
    """The plan with as many epochs of pretraining as of training, where images for it were given."""
    if study.unlabelled and not plan.pretrain.epochs:
        why = {"pretrain.epochs": "images without labels were given: as many epochs as of training"}
        section = plan.pretrain.model_copy(update={"epochs": plan.fit.epochs})
        return plan.model_copy(update={"pretrain": section, "reasons": {**plan.reasons, **why}})
    if plan.pretrain.epochs and not study.unlabelled:
        raise BadInput(
            f"pretrain.epochs is {plan.pretrain.epochs}, but no images without labels were given; name their "
            "folder with --unlabelled, or set pretrain.epochs=0"
        )
    return plan


def plan_warnings(plan: Plan, looked: Looked) -> tuple[Finding, ...]:
    """What in the plan does not fit these images."""
    from hounsfield.steps.mitigation import mitigation_findings
    from hounsfield.steps.plan_check import warnings_of

    cohort = looked.cohort
    told = mitigation_findings(plan, cohort.development, cohort.encoding)
    return (*warnings_of(plan, cohort), *told)


def prepared_for(looked: Looked, plan: Plan, folder: RunFolder, clock: Clock) -> Prepared:
    """Every image as the plan wants it, memory-mapped."""
    from hounsfield.steps.prepare import prepare

    with clock.step("prepare") as said:
        prepared = prepare(
            looked.cohort.cases, plan.input, looked.store, folder.cache,
            threads=available_cores(), progress=clock.progress.advance,
        )  # fmt: skip
        said.append(f"{len(prepared.ids)} images at {'×'.join(map(str, plan.input.size))}")
    return prepared


def marked_for(
    study: Study, looked: Looked, plan: Plan, prepared: Prepared, folder: RunFolder
) -> tuple[Prepared, tuple[Finding, ...]]:
    """The prepared images with the marked findings of development cases, where attention can be taught."""
    from hounsfield.steps.explain_truth import truth_of
    from hounsfield.steps.prepare import teaches_attention, with_marks

    if not teaches_attention(plan):
        return prepared, ()
    cases = looked.cohort.development
    truth = truth_of(study.question, looked.index, cases, looked.store, plan.input)
    if truth is None:
        return prepared, ()
    prepared = with_marks(prepared, truth, [c.id for c in cases], folder.cache, threads=available_cores())
    n = 0 if prepared.marks is None else len(prepared.marks)
    note = (
        f"the network was taught where to look by the places of findings in {n} of {len(cases)} development "
        "images; none of the test cases' places was shown to it"
    )
    return prepared, (Finding("attention_taught", value=n / len(cases), n=len(cases), note=note),)


def searched_plan(
    study: Study, looked: Looked, plan: Plan, prepared: Prepared, folder: RunFolder, clock: Clock
) -> tuple[Plan, tuple[Finding, ...]]:
    """A better plan, where a time to search for one was given and the run is not resumed with its plan."""
    if not study.search_minutes or (folder.path / "state.json").is_file():
        return plan, ()
    from hounsfield.steps.fit import job_of
    from hounsfield.steps.search import search

    with clock.step("search", f"{study.search_minutes:g} minutes") as said:
        try:
            found = search(
                job_of(looked.cohort, plan, prepared, folder.work),
                minutes=study.search_minutes, fixed=study.changes, progress=hearing(clock.progress, 0),
            )  # fmt: skip
        except Interrupted as error:
            raise Interrupted("stopped during the search, of which nothing is kept; start again") from error
        said.append(found.note)
    n = int((np.array([looked.cohort.fold[c.id] for c in looked.cohort.development]) == 0).sum())
    finding = Finding(
        "search_gain", value=found.before - found.after, n=n, note=found.note,
        method="log loss of one member on the fold that chose, which flatters it",
    )  # fmt: skip
    return found.plan, (finding,)


def primed(
    study: Study, looked: Looked, job: Job, folder: RunFolder, clock: Clock
) -> tuple[Job, tuple[Finding, ...]]:
    """The job with weights learned from images without labels, where they validate better than random
    ones.
    """
    if not job.plan.pretrain.epochs:
        return job, ()
    from hounsfield.steps.pretrain import kept_if_better, pretrain
    from hounsfield.steps.unlabelled import unlabelled_images

    with clock.step("pretrain", Path(study.unlabelled).name) as said:
        images, note = unlabelled_images(
            study.unlabelled, looked, job.plan, folder.cache / "unlabelled", progress=clock.progress.advance
        )
        said.append(note)
        start = pretrain(job, images, progress=hearing(clock.progress, job.plan.pretrain.epochs))
        patients = [c.patient for c in looked.cohort.development]
        hear = hearing(clock.progress, 2 * job.plan.fit.epochs)
        found = kept_if_better(job, start, patients, n=len(images.ids), progress=hear)
        said.append(found.finding.note)
    return replace(job, start=found.start), (replace(found.finding, note=f"{found.finding.note}; {note}"),)


def fitted_members(job: Job, group: Group, clock: Clock) -> Fitted:
    """The members of the ensemble, trained."""
    from hounsfield.steps.fit import fit

    beside = f" by {group.world} processes" if group.world > 1 else ""
    with clock.step("fit", f"{job.plan.validation.members} member(s)") as said:
        total = job.plan.fit.epochs * job.plan.validation.members
        fitted = fit(job, progress=hearing(clock.progress, total), group=group)
        said.append(f"{sum(map(len, fitted.histories))} epochs{beside}")
        said += fitted.events
    return fitted


_REACHED = {"val_auroc": "AUROC", "val_dice": "Dice", "val_sensitivity": "sensitivity"}


def hearing(progress: Progress, total: int) -> Callable[[dict[str, Any]], None]:
    """Turns what training says of itself into progress; `total` epochs are to come, 0 if nobody knows.

    Epochs of an earlier, interrupted run took none of this one's time and are not counted.
    """
    done: dict[Any, int] = {}
    before: dict[Any, int] = {}

    def hear(facts: dict[str, Any]) -> None:
        who = facts.get("trial") or f"member {facts['member']}"
        if "event" in facts:
            before[who] = max(before.get(who, 0), facts.get("finished", 0))
            now = sum(done.values())
            progress.advance(now, max(total - sum(before.values()), now), f"{who}: {facts['event']}")
            return
        done[who] = facts["epoch"] + 1 - before.setdefault(who, facts["epoch"])
        note = f"{who} epoch {facts['epoch'] + 1}/{facts['of']}"
        if "pretrain_loss" in facts:
            note = f"pretraining epoch {facts['epoch'] + 1}/{facts['of']} loss {facts['pretrain_loss']:.3f}"
        if "val_loss" in facts:
            note += f" loss {facts['train_loss']:.3f} validation {facts['val_loss']:.3f}"
            for key, name in _REACHED.items():
                if facts.get(key) is not None:
                    note += f" {name} {facts[key]:.3f}"
        reached = sum(done.values())
        progress.advance(reached, max(total - sum(before.values()), reached), note)

    return hear


def calibrated_model(
    study: Study, looked: Looked, fitted: Fitted, job: Job, folder: RunFolder, clock: Clock
) -> tuple[Model, Predictions, NDArray[np.int64]]:
    """The calibrated model with its threshold, and the cross-validated predictions behind it."""
    from hounsfield.steps.calibrate import calibrated, cross_fitted, operating_point
    from hounsfield.steps.cross_referred import cross_referred
    from hounsfield.steps.group_thresholds import group_of_cases, with_group_points
    from hounsfield.steps.predict import table_of
    from hounsfield.steps.refer import referral_rule
    from hounsfield.steps.typical import with_typicality
    from hounsfield.tasks.classification import probabilities

    with clock.step("calibrate") as said:
        cohort, encoding, plan = looked.cohort, looked.cohort.encoding, job.plan
        rule = plan.validation
        cases = [c for c, seen in zip(cohort.development, fitted.seen, strict=True) if seen]
        logits, answers = fitted.logits[fitted.seen], fitted.answers[fitted.seen]
        rows = (np.cumsum(fitted.seen) - 1)[fitted.stressed_rows]
        patients = [c.patient for c in cases]
        who = [patients[row] for row in rows.tolist()]
        calibration = calibrated(fitted.stressed, answers[rows], encoding, rule, patients=who)
        fold = np.array([cohort.fold[c.id] for c in cases])
        where = f"validation folds ({len(np.unique(fold))} of {rule.folds})"
        scores = probabilities(logits, encoding, calibration)
        point = operating_point(scores, answers, patients, encoding, rule, seed=plan.seed, chosen_on=where)
        named = group_of_cases(cases, plan)
        if named is not None:
            point = with_group_points(point, scores, answers, patients, named, encoding, plan, seed=plan.seed)
        model = folder.model(
            plan, encoding, fitted.weights, point, calibration, cohort.digest(), phantom=study.phantom
        )
        seen = (fitted.stressed, rows)
        by_group = None if named is None else (named, plan)
        scores, called = cross_fitted(
            logits, answers, patients, fold, encoding, rule, seen=seen, by_group=by_group
        )
        referral = referral_rule(scores, called, answers, patients, encoding, rule, thresholds=point.values)
        model = replace(model, referral=referral)
        model, typicality, unlike = with_typicality(model, job.prepared, cohort.development)
        write_model(model)
        told = cross_referred(
            model, logits, answers, patients, fold, (scores, called), seen=seen,
            typicality=typicality[fitted.seen], unlike=unlike[fitted.seen],
        )  # fmt: skip
        crossed = replace(table_of(model, cases, scores, kind="cross-validation"), referrals=told)
        if point.values:
            said.append(f"threshold {point.values[0]:.3f} ({point.rule}) on {point.n} validation cases")
        said += [f"{g.group}: {g.values[0]:.3f}" for g in point.groups]
    return model, crossed, called


def exported_model(model: Model, job: Job, looked: Looked, clock: Clock) -> tuple[Model, tuple[Finding, ...]]:
    """The model with its members as ONNX, and what their tests against the weights found."""
    asked = model.plan.export
    if not asked.onnx:
        return model, ()
    from hounsfield.steps.export import Development, export

    patients = tuple(c.patient for c in looked.cohort.development)
    development = Development(job.prepared, job.rows, job.answers, job.fold, patients)
    with clock.step("export", "ONNX and int8" if asked.int8 else "ONNX") as said:
        model, found = export(model, development, int8=asked.int8, progress=clock.progress.advance)
        said += [f.note for f in found if f.name == "onnx_parity" or f.level != "info"]
    return model, found
