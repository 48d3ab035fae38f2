"""A finished model at work: external validation, and scores for new images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hounsfield.core.case import Case
from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.core.progress import Progress, Silent
from hounsfield.io.model_store import read_model
from hounsfield.pipeline.learning import prepared_for
from hounsfield.pipeline.path import look
from hounsfield.pipeline.showing import evidence_of, reported
from hounsfield.steps.clinical import Keeps
from hounsfield.steps.compute import available_cores
from hounsfield.steps.decode import decode
from hounsfield.steps.overlap import overlap_with_training
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.scan import scan
from hounsfield.steps.study import Clock, Run, Study

__all__ = ["evaluate_model", "predict_source"]


def evaluate_model(study: Study, run: Path, *, progress: Progress | None = None) -> Run:
    """External validation: the model of a run on other images, with metrics, audit and report."""
    from hounsfield.steps.group_thresholds import called_at, unknown_groups
    from hounsfield.steps.predict import predict

    clock = Clock(progress or Silent())
    model = read_model(run)
    if model.plan.task != "classification":
        from hounsfield.pipeline.places import evaluate_places

        return evaluate_places(study, run, model, clock)
    folder = RunFolder(study.out)
    with folder.opened(resume=False):
        looked = look(study, folder.cache, clock, encoding=model.encoding, split=False)
        study = replace(study, phantom="phantom" in model.card or looked.cohort.only_phantoms)
        overlap = overlap_with_training(run, looked.cohort, looked.marks)
        looked = replace(looked, findings=(overlap, *looked.findings))
        prepared = prepared_for(looked, model.plan, folder, clock)
        with clock.step("predict") as said:
            cases = looked.cohort.test
            predictions = predict(model, prepared, cases, kind="external", progress=clock.progress.advance)
            called = called_at(predictions, model.operating_point)
            said.append(f"{len(cases)} cases by {len(model.members)} member(s)")
            said += filter(None, [unknown_groups(predictions, model.operating_point)])
        evidence = evidence_of(study, model, looked, None, prepared, predictions, called, clock)
        result = reported(study, model, evidence, predictions, called, prepared, looked, folder, clock)
    folder.drop_cache()
    return result


def predict_source(
    run: Path,
    source: str,
    *,
    out: Path | None = None,
    keeps: Keeps | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Score every image under a source; with `out`, write predictions.csv and private/cases.csv there.

    Images that `keeps` leaves out go to a reader, whatever their score.
    """
    from hounsfield.steps.group_thresholds import called_at
    from hounsfield.steps.predict import write_predictions

    if out is None:
        return _score_source(run, source, keeps, progress)[0]
    folder = RunFolder(out)
    with folder.opened(resume=False):
        predictions, cases, model = _score_source(run, source, keeps, progress)
        point = model.operating_point
        called = called_at(predictions, point)
        write_predictions(predictions, out / "predictions.csv", thresholds=point.values, called=called)
        folder.keep_files(cases)
    return predictions


def _score_source(
    run: Path, source: str, keeps: Keeps | None, progress: Progress | None
) -> tuple[Predictions, tuple[Case, ...], Model]:
    import tempfile

    from hounsfield.steps.gather import image_groups
    from hounsfield.steps.group_thresholds import unknown_groups
    from hounsfield.steps.predict import predict
    from hounsfield.steps.prepare import prepare
    from hounsfield.steps.refer import referred_besides

    clock = Clock(progress or Silent())
    model = read_model(run)
    with tempfile.TemporaryDirectory(prefix="hounsfield-") as scratch:
        cache = Path(scratch)
        with clock.step("scan", Path(source).name) as said:
            index = scan(source, progress=clock.progress.advance)
            said.append(index.summary())
        by_group = bool(model.operating_point.groups)
        cases = tuple(
            Case(s.id, s.patient or f"image {s.id}", (s,), groups=image_groups(s) if by_group else {})
            for s in index.series
        )
        with clock.step("prepare"):
            store = decode(
                index, index.series, cache, threads=available_cores(), progress=clock.progress.advance
            )
            prepared = prepare(cases, model.plan.input, store, cache, threads=available_cores())
        with clock.step("predict") as said:
            predictions = predict(model, prepared, cases, kind="prediction", progress=clock.progress.advance)
            if keeps is not None:
                kept, found = keeps(cases, store)
                predictions = referred_besides(predictions, {c.id for c in kept})
                said += [f.note for f in found if f.note]
            told = predictions.referrals
            referred = f", {int(told.refer.sum())} to a reader" if told else ""
            said.append(f"{len(cases)} cases{referred}")
            said += filter(None, [unknown_groups(predictions, model.operating_point)])
    return predictions, cases, model
