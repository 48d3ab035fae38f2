"""From a model to its evidence: scores, interventions, metrics, pictures, report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.study import Clock, Looked, Run, Study

if TYPE_CHECKING:
    from hounsfield.steps.fit import Fitted
    from hounsfield.steps.prepare import Prepared

__all__ = ["evidence_of", "interventions", "reported", "scored"]


def scored(
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


def interventions(study: Study, model: Model, looked: Looked, clock: Clock) -> tuple[Finding, ...]:
    """What changes in the scores when a suspected mark is put in or taken away; test part only."""
    from hounsfield.steps.intervene import intervene

    if not study.interventions or not looked.cohort.test:  # the members have learned from all other cases
        return ()
    with clock.step("intervene") as said:
        found = intervene(model, looked.cohort.test, looked.store, study.interventions, seed=model.plan.seed)
        said += [f"{f.name} {f.label} {f.text}" for f in found if f.label == "mean_score_change"]
    return found


def _events(fitted: Fitted | None) -> dict[str, Any]:
    """What training recovered from, for the report; nothing where nothing went wrong."""
    return {"training_events": list(fitted.events)} if fitted and fitted.events else {}


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


def evidence_of(
    study: Study,
    model: Model,
    looked: Looked,
    fitted: Fitted | None,
    predictions: Predictions,
    called: NDArray[np.int64],
    moved: tuple[Finding, ...],
    clock: Clock,
) -> Evidence:
    """All that the predictions show, by chapter."""
    from hounsfield.steps.evaluate import Setting, evaluate
    from hounsfield.steps.facts import context_of, tables_of

    with clock.step("evaluate") as said:
        setting = Setting(
            title=study.title or f"Classification: {', '.join(model.encoding.target)}",
            audit=looked.findings,
            interventions=moved,
            tables=tables_of(looked.index, looked.cohort, model.plan) | _events(fitted),
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


def reported(
    model: Model,
    evidence: Evidence,
    predictions: Predictions,
    called: NDArray[np.int64],
    prepared: Prepared,
    looked: Looked,
    folder: RunFolder,
    clock: Clock,
) -> Run:
    """Pictures, tables, report: the files of a finished run."""
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
