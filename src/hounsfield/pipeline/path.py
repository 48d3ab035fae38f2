"""The only file that knows the order: scan, gather, audit, design, prepare, fit, predict, evaluate,
explain, report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.model import Model
from hounsfield.core.plan import Plan
from hounsfield.core.predictions import Predictions
from hounsfield.core.progress import Progress, Silent
from hounsfield.io.model_store import read_model, write_model
from hounsfield.steps.audit import audit, link_pairs, refuse_leakage
from hounsfield.steps.decode import decode
from hounsfield.steps.duplicates import duplicate_pairs, fingerprints
from hounsfield.steps.gather import gather, resplit
from hounsfield.steps.overlap import only_test, overlap_with_training
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.scan import scan
from hounsfield.steps.study import Clock, Looked, Run, Study

if TYPE_CHECKING:
    from hounsfield.steps.fit import Fitted
    from hounsfield.steps.prepare import Prepared

__all__ = ["evaluate_model", "look", "predict_source", "train"]


def train(study: Study, *, progress: Progress | None = None) -> Run:
    """From images to a model with evidence. A bad input raises before anything is left behind."""
    clock = Clock(progress or Silent())
    folder = RunFolder(study.out)
    with folder.opened(resume=study.resume):
        looked = look(study, folder.cache, clock)
        study = replace(study, phantom=study.phantom or _only_phantoms(looked))
        refuse_leakage(looked.cohort, looked.pairs)
        plan = _plan(study, looked, folder, clock)
        folder.keep_plan(plan)
        folder.require_same(plan.digest(), f"{looked.cohort.digest()}-{looked.marks.digest()}")
        prepared = _prepared(looked, plan, folder, clock)
        fitted = _fitted(looked, plan, prepared, folder, clock)
        model, crossed, called = _model(study, looked, plan, fitted, folder, clock)
        predictions, called = _scored(model, looked, prepared, crossed, called, clock)
        moved = _interventions(study, model, looked, clock)
        evidence = _evidence(study, model, looked, fitted, predictions, called, moved, clock)
        run = _reported(model, evidence, predictions, called, prepared, looked, folder, clock)
    if not study.keep_cache:
        folder.drop_cache()
    return run


def look(study: Study, cache: Path, clock: Clock, *, encoding: Any = None, split: bool = True) -> Looked:
    """Scan, gather and audit: everything before a plan.

    Without `split` the set is for external evaluation: of named parts only the test part is looked at.
    """
    progress = clock.progress
    with clock.step("scan", Path(study.source).name) as said:
        index = scan(study.source, progress=lambda done, total: progress.advance(done, total))
        said.append(index.summary())
    with clock.step("gather") as said:
        cohort = gather(index, study.asked, encoding=encoding, split=split)
        cohort = cohort if split else only_test(cohort)
        said += cohort.notes
    with clock.step("decode") as said:
        series = [c.images[0] for c in cohort.cases]
        store = decode(index, series, cache, threads=_cores(), progress=progress.advance)
        said.append(f"{len(store.rows)} images, {store.path.stat().st_size / 1e6:.0f} MB")
    with clock.step("audit") as said:
        marks = fingerprints(store, [c.id for c in cohort.cases])
        pairs = duplicate_pairs(marks)
        if pairs and split:
            cohort = resplit(cohort, study.asked, link_pairs(pairs, cohort.cases))
        findings = audit(cohort, pairs)
        said.append(_audit_line(findings))
    return Looked(index, cohort, store, marks, pairs, findings)


def evaluate_model(study: Study, run: Path, *, progress: Progress | None = None) -> Run:
    """External validation: the model of a run on other images, with metrics, audit and report."""
    from hounsfield.steps.predict import predict
    from hounsfield.tasks.classification import predicted_classes

    clock = Clock(progress or Silent())
    model = read_model(run)
    folder = RunFolder(study.out)
    with folder.opened(resume=False):
        looked = look(study, folder.cache, clock, encoding=model.encoding, split=False)
        study = replace(study, phantom="phantom" in model.card or _only_phantoms(looked))
        overlap = overlap_with_training(run, looked.cohort, looked.marks)
        looked = replace(looked, findings=(overlap, *looked.findings))
        prepared = _prepared(looked, model.plan, folder, clock)
        with clock.step("predict") as said:
            cases = looked.cohort.test
            predictions = predict(model, prepared, cases, kind="external", progress=clock.progress.advance)
            called = predicted_classes(predictions.scores, model.encoding, model.operating_point.values)
            said.append(f"{len(cases)} cases by {len(model.members)} member(s)")
        moved = _interventions(study, model, looked, clock)
        evidence = _evidence(study, model, looked, None, predictions, called, moved, clock)
        result = _reported(model, evidence, predictions, called, prepared, looked, folder, clock)
    folder.drop_cache()
    return result


def predict_source(
    run: Path, source: str, *, out: Path | None = None, progress: Progress | None = None
) -> Predictions:
    """Score every image under a source; with `out`, write predictions.csv and private/cases.csv there."""
    from hounsfield.steps.predict import write_predictions

    if out is None:
        return _score_source(run, source, progress)[0]
    folder = RunFolder(out)
    with folder.opened(resume=False):
        predictions, cases, model = _score_source(run, source, progress)
        write_predictions(predictions, out / "predictions.csv", thresholds=model.operating_point.values)
        folder.keep_files(cases)
    return predictions


def _score_source(
    run: Path, source: str, progress: Progress | None
) -> tuple[Predictions, tuple[Case, ...], Model]:
    import tempfile

    from hounsfield.steps.predict import predict
    from hounsfield.steps.prepare import prepare

    clock = Clock(progress or Silent())
    model = read_model(run)
    with tempfile.TemporaryDirectory(prefix="hounsfield-") as scratch:
        cache = Path(scratch)
        with clock.step("scan", Path(source).name) as said:
            index = scan(source, progress=clock.progress.advance)
            said.append(index.summary())
        cases = tuple(Case(s.id, s.patient or f"image {s.id}", (s,)) for s in index.series)
        with clock.step("prepare"):
            store = decode(index, index.series, cache, threads=_cores(), progress=clock.progress.advance)
            prepared = prepare(cases, model.plan.input, store, cache, threads=_cores())
        with clock.step("predict") as said:
            predictions = predict(model, prepared, cases, kind="prediction", progress=clock.progress.advance)
            said.append(f"{len(cases)} cases")
    return predictions, cases, model


def _cores() -> int:
    from hounsfield.steps.fit import available_cores

    return available_cores()


def _audit_line(findings: Sequence[Finding]) -> str:
    warned = [f for f in findings if f.level != "info"]
    return f"{len(findings)} checks, {len(warned)} warning(s)" + (
        ": " + ", ".join(f.name for f in warned) if warned else ""
    )


def _only_phantoms(looked: Looked) -> bool:
    """True if every image is of a simulated patient: our phantoms bear ids that begin so."""
    return all(c.images[0].patient.startswith("PHANTOM-") for c in looked.cohort.cases)


def _plan(study: Study, looked: Looked, folder: RunFolder, clock: Clock) -> Plan:
    from hounsfield.steps.design import design, within_budget
    from hounsfield.steps.fingerprint import fingerprint
    from hounsfield.steps.fit import members_beside
    from hounsfield.steps.member import fast_bfloat16, pick_device
    from hounsfield.steps.speed import seconds_per_image

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
                fast_bfloat16=fast_bfloat16(pick_device("auto")),
            )
        plan = plan.changed(study.changes) if study.changes else plan
        plan = plan.model_copy(update={"application": study.application or plan.application})
        if study.plan is None:
            cost = seconds_per_image(plan, looked.cohort.encoding)
            plan = within_budget(plan, cost, n=facts.n, beside=members_beside(plan), fixed=study.changes)
        said.append(
            f"{plan.network.name} at {'×'.join(map(str, plan.input.size))}, {plan.fit.epochs} epochs, "
            f"{plan.validation.members} member(s)"
        )
    return plan


def _prepared(looked: Looked, plan: Plan, folder: RunFolder, clock: Clock) -> Prepared:
    from hounsfield.steps.prepare import prepare

    with clock.step("prepare") as said:
        prepared = prepare(
            looked.cohort.cases, plan.input, looked.store, folder.cache,
            threads=_cores(), progress=clock.progress.advance,
        )  # fmt: skip
        said.append(f"{len(prepared.ids)} images at {'×'.join(map(str, plan.input.size))}")
    return prepared


def _fitted(looked: Looked, plan: Plan, prepared: Prepared, folder: RunFolder, clock: Clock) -> Fitted:
    from hounsfield.steps.fit import fit

    with clock.step("fit", f"{plan.validation.members} member(s)") as said:
        total = plan.fit.epochs * plan.validation.members
        done: dict[int, int] = {}

        def hear(facts: dict[str, Any]) -> None:
            done[facts["member"]] = facts["epoch"] + 1
            note = f"member {facts['member']} epoch {facts['epoch'] + 1}/{facts['of']}"
            if "val_loss" in facts:
                note += f" loss {facts['train_loss']:.3f} validation {facts['val_loss']:.3f}"
                if facts["val_auroc"] is not None:
                    note += f" AUROC {facts['val_auroc']:.3f}"
            clock.progress.advance(sum(done.values()), total, note)

        fitted = fit(looked.cohort, plan, prepared, folder.work, progress=hear)
        said.append(f"{sum(map(len, fitted.histories))} epochs")
    return fitted


def _model(
    study: Study, looked: Looked, plan: Plan, fitted: Fitted, folder: RunFolder, clock: Clock
) -> tuple[Model, Predictions, NDArray[np.int64]]:
    """The calibrated model with its threshold, and the cross-validated predictions behind it."""
    from hounsfield.steps.calibrate import calibrated, cross_fitted, operating_point
    from hounsfield.steps.predict import table_of
    from hounsfield.tasks.classification import probabilities

    with clock.step("calibrate") as said:
        cohort, encoding, rule = looked.cohort, looked.cohort.encoding, plan.validation
        cases = [c for c, seen in zip(cohort.development, fitted.seen, strict=True) if seen]
        logits, answers = fitted.logits[fitted.seen], fitted.answers[fitted.seen]
        rows = (np.cumsum(fitted.seen) - 1)[fitted.stressed_rows]
        calibration = calibrated(fitted.stressed, answers[rows], encoding, rule)
        patients = [c.patient for c in cases]
        fold = np.array([cohort.fold[c.id] for c in cases])
        where = f"validation folds ({len(np.unique(fold))} of {rule.folds})"
        scores = probabilities(logits, encoding, calibration)
        point = operating_point(scores, answers, patients, encoding, rule, seed=plan.seed, chosen_on=where)
        model = folder.model(
            plan, encoding, fitted.weights, point, calibration, cohort.digest(), phantom=study.phantom
        )
        write_model(model)
        seen = (fitted.stressed, rows)
        scores, called = cross_fitted(logits, answers, patients, fold, encoding, rule, seen=seen)
        crossed = table_of(model, cases, scores, kind="cross-validation")
        if point.values:
            said.append(f"threshold {point.values[0]:.3f} ({point.rule}) on {point.n} validation cases")
    return model, crossed, called


def _scored(
    model: Model,
    looked: Looked,
    prepared: Prepared,
    crossed: Predictions,
    called: NDArray[np.int64],
    clock: Clock,
) -> tuple[Predictions, NDArray[np.int64]]:
    """Predictions on the test part; where there is none, those of cross-validation."""
    from hounsfield.steps.predict import predict
    from hounsfield.tasks.classification import predicted_classes

    if not looked.cohort.test:
        return crossed, called
    with clock.step("predict") as said:
        cases = looked.cohort.test
        predictions = predict(model, prepared, cases, progress=clock.progress.advance)
        said.append(f"{len(cases)} test cases by {len(model.members)} member(s)")
    return predictions, predicted_classes(predictions.scores, model.encoding, model.operating_point.values)


def _interventions(study: Study, model: Model, looked: Looked, clock: Clock) -> tuple[Finding, ...]:
    from hounsfield.steps.intervene import intervene

    if not study.interventions or not looked.cohort.test:  # the members have learned from all other cases
        return ()
    with clock.step("intervene") as said:
        found = intervene(model, looked.cohort.test, looked.store, study.interventions, seed=model.plan.seed)
        said += [f"{f.name} {f.label} {f.text}" for f in found if f.label == "mean_score_change"]
    return found


def _unproved(study: Study, model: Model, looked: Looked) -> tuple[str, ...]:
    """What a run without a test part cannot show."""
    if looked.cohort.test:
        return ()
    said = []
    if study.interventions:
        names = ", ".join(i.name.replace("_", " ") for i in study.interventions)
        said.append(f"Interventions ({names}): they need a test part, which no member of the model has seen.")
    if model.plan.fit.choose == "best" or model.plan.fit.patience:
        said.append(
            "The choice of the epoch: it was made on the very cases that are reported, which flatters them."
        )
    return tuple(said)


def _evidence(
    study: Study,
    model: Model,
    looked: Looked,
    fitted: Fitted | None,
    predictions: Predictions,
    called: NDArray[np.int64],
    moved: tuple[Finding, ...],
    clock: Clock,
) -> Evidence:
    from hounsfield.steps.evaluate import Setting, evaluate
    from hounsfield.steps.facts import context_of, tables_of

    with clock.step("evaluate") as said:
        setting = Setting(
            title=study.title or f"Classification: {', '.join(model.encoding.target)}",
            audit=looked.findings,
            interventions=moved,
            tables=tables_of(looked.index, looked.cohort, model.plan),
            history=fitted.histories if fitted else (),
            context=context_of(model, looked.cohort, clock.seconds, study.command),
            untested=_unproved(study, model, looked),
            phantom=study.phantom,
            seed=model.plan.seed,
        )
        evidence = evaluate(predictions, model.operating_point, setting, called=called)
        headline = {f.name: f for f in evidence.metrics if not f.label}
        said += [f"{name} {headline[name].text}" for name in ("auroc", "accuracy") if name in headline]
    return evidence


def _reported(
    model: Model,
    evidence: Evidence,
    predictions: Predictions,
    called: NDArray[np.int64],
    prepared: Prepared,
    looked: Looked,
    folder: RunFolder,
    clock: Clock,
) -> Run:
    from hounsfield.steps.explain import explain
    from hounsfield.steps.predict import write_predictions
    from hounsfield.steps.report import report

    fold = looked.cohort.fold
    members = len(model.members)

    def unseen(row: int) -> int:
        return fold.get(predictions.ids[row], 0) % members

    with clock.step("explain") as said:
        pictures = explain(
            model, prepared, predictions, called, member_of=unseen, progress=clock.progress.advance
        )
        said.append(f"{len(pictures)} cases")
    with clock.step("report") as said:
        write_predictions(
            predictions,
            folder.path / "predictions.csv",
            thresholds=model.operating_point.values,
            called=called,
        )
        folder.keep_private(looked.index, looked.cohort, looked.marks)
        path = report(evidence, pictures, folder.path)
        said.append(str(path))
    return Run(folder.path, model, evidence, predictions, path)
