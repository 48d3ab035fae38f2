"""From a model to its evidence: scores, interventions, metrics, pictures, report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Evidence, Finding, Picture
from hounsfield.core.model import Model
from hounsfield.core.predictions import Predictions
from hounsfield.io.catalogue import read_volume
from hounsfield.io.source import Source
from hounsfield.steps.clinical import Asked, with_clinical
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.study import Clock, Looked, Run, Study

if TYPE_CHECKING:
    from hounsfield.steps.explain import Explained
    from hounsfield.steps.fit import Fitted
    from hounsfield.steps.prepare import Prepared
    from hounsfield.steps.robustness import Robustness

__all__ = ["clinically", "evidence_of", "interventions", "reported", "scored", "weathered"]


def scored(
    model: Model,
    looked: Looked,
    prepared: Prepared,
    crossed: Predictions,
    called: NDArray[np.int64],
    clock: Clock,
) -> tuple[Predictions, NDArray[np.int64]]:
    """Predictions on the test part; where there is none, those of cross-validation."""
    from hounsfield.steps.group_thresholds import called_at, unknown_groups
    from hounsfield.steps.predict import predict

    if not looked.cohort.test:
        return crossed, called
    with clock.step("predict") as said:
        cases = looked.cohort.test
        predictions = predict(model, prepared, cases, progress=clock.progress.advance)
        said.append(f"{len(cases)} test cases by {len(model.members)} member(s)")
        said += filter(None, [unknown_groups(predictions, model.operating_point)])
    return predictions, called_at(predictions, model.operating_point)


def interventions(study: Study, model: Model, looked: Looked, clock: Clock) -> tuple[Finding, ...]:
    """What changes in the scores when a suspected mark is put in or taken away; test part only.

    Where no application names what it suspects, burnt-in letters and markers are.
    """
    from hounsfield.steps.intervene import intervene
    from hounsfield.steps.marks import mark_interventions

    if not looked.cohort.test:  # the members have learned from all other cases
        return ()
    # an evaluation on other images has no development part: there the marks are those of the images at hand
    known = looked.cohort.development or looked.cohort.test
    asked = study.interventions or mark_interventions(known, looked.store)
    if not asked:
        return ()
    with clock.step("intervene") as said:
        found = intervene(model, looked.cohort.test, looked.store, asked, seed=model.plan.seed)
        said += [f"{f.name} {f.label} {f.text}" for f in found if f.label == "mean_score_change"]
    return found


def _events(fitted: Fitted | None) -> dict[str, Any]:
    """What training recovered from, for the report; nothing where nothing went wrong."""
    return {"training_events": list(fitted.events)} if fitted and fitted.events else {}


def _beside(study: Study, predictions: Predictions, called: NDArray[np.int64]) -> dict[str, Any]:
    """The run that this one is set beside, with paired differences; nothing where none was named."""
    if not study.before:
        return {}
    from hounsfield.steps.compare import before_and_after

    return {"mitigation": before_and_after(predictions, called, Path(study.before))}


def _unproved(study: Study, model: Model, worse: Robustness | None) -> tuple[str, ...]:
    """What a run without a test part, or with too small a one, cannot show."""
    if worse is not None:
        few = "Robustness against worse images: too few test cases with and without a finding."
        return () if worse.curves else (few,)
    said = []
    if study.interventions:
        names = ", ".join(i.name.replace("_", " ") for i in study.interventions)
        said.append(f"Interventions ({names}): they need a test part, which no member of the model has seen.")
    said.append(
        "Robustness against worse images: it needs a test part, which no member of the model has seen."
    )
    chosen = model.plan.fit.choose == "best" or model.plan.fit.patience
    if chosen and not model.plan.validation.outer_folds:
        said.append(
            "The choice of the epoch: it was made on the very cases that are reported, which flatters them."
        )
    return tuple(said)


def weathered(model: Model, looked: Looked, clock: Clock) -> Robustness | None:
    """The test part scored again on worse images; None where there is no test part."""
    from hounsfield.steps.robustness import robustness

    if not looked.cohort.test:
        return None
    with clock.step("robustness") as said:
        found = robustness(
            model, looked.cohort.test, looked.store, seed=model.plan.seed, progress=clock.progress.advance
        )
        said += [f.note for f in found.findings if f.level != "info"]
    return found


def evidence_of(
    study: Study,
    model: Model,
    looked: Looked,
    fitted: Fitted | None,
    prepared: Prepared,
    predictions: Predictions,
    called: NDArray[np.int64],
    clock: Clock,
) -> Evidence:
    """All that the predictions show, by chapter; the test images are changed and scored again for it."""
    from hounsfield.steps.evaluate import Setting, evaluate
    from hounsfield.steps.facts import context_of, gates_of, tables_of
    from hounsfield.steps.failures import image_looks
    from hounsfield.steps.identity import identity_finding
    from hounsfield.steps.referral_evidence import referral_findings

    moved = interventions(study, model, looked, clock)
    worse = weathered(model, looked, clock)
    with clock.step("evaluate") as said:
        referred = referral_findings(model, predictions, called)
        setting = Setting(
            title=study.title or f"Classification: {', '.join(model.encoding.target)}",
            audit=(*looked.findings, *identity_finding(looked.index)),
            interventions=moved,
            found=(*referred.findings, *(worse.findings if worse else ())),
            curves={**referred.curves, **({"robustness": worse.curves} if worse else {})},
            tables={
                **tables_of(looked.index, looked.cohort, model.plan),
                **_events(fitted),
                **_beside(study, predictions, called),
                **referred.tables,
            },
            looks=image_looks(prepared, predictions.ids),
            history=fitted.histories if fitted else (),
            context=context_of(model, looked.cohort, clock.seconds, study.command),
            untested=(*_unproved(study, model, worse), *referred.untested),
            phantom=study.phantom,
            seed=model.plan.seed,
            ordinal=model.plan.fit.loss == "ordinal",
        )
        evidence = evaluate(predictions, model.operating_point, setting, called=called)
        gates = gates_of(evidence.audit, evidence.metrics)
        evidence = replace(evidence, tables={**evidence.tables, "gates": gates})
        headline = {f.name: f for f in evidence.metrics if not f.label}
        said += [f"{name} {headline[name].text}" for name in ("auroc", "accuracy") if name in headline]
        said += [f.note for f in evidence.subgroups if f.level != "info"]
    return evidence


def clinically(
    study: Study, evidence: Evidence, asked: Asked, clock: Clock
) -> tuple[Evidence, tuple[Picture, ...]]:
    """The evidence with the chapter of the study's application, and its pictures."""
    if study.clinical is None:
        return evidence, ()
    with clock.step("clinical") as said, Source(study.source) as source:
        told = study.clinical(replace(asked, read=lambda series: read_volume(source, series)))
        said += [f"{f.name} {f.text}" for f in told.findings[:3]]
    return with_clinical(evidence, told), told.pictures


def reported(
    study: Study,
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
    from hounsfield.steps.predict import write_predictions
    from hounsfield.steps.report import report

    explained = _explained(study, model, predictions, called, prepared, looked, folder, clock)
    by_id = {c.id: c for c in looked.cohort.cases}
    cases = tuple(by_id[i] for i in predictions.ids)
    asked = Asked(predictions, cases, model, called, model.plan.seed)
    evidence, shown = clinically(study, evidence, asked, clock)
    evidence = replace(
        evidence,
        metrics=(*evidence.metrics, *explained.findings),
        tables={**evidence.tables, **({"explanation_notes": explained.notes} if explained.notes else {})},
    )
    with clock.step("report") as said:
        write_predictions(
            predictions,
            folder.path / "predictions.csv",
            thresholds=model.operating_point.values,
            called=called,
        )
        folder.keep_private(looked.index, looked.cohort, looked.marks)
        path = report(evidence, (*explained.pictures, *shown), folder.path)
        said.append(str(path))
    return Run(folder.path, model, evidence, predictions, path)


def _explained(
    study: Study,
    model: Model,
    predictions: Predictions,
    called: NDArray[np.int64],
    prepared: Prepared,
    looked: Looked,
    folder: RunFolder,
    clock: Clock,
) -> Explained:
    """Pictures of chosen cases, with what was measured of every method; kept for `hu explain`."""
    from hounsfield.steps.explain import explain
    from hounsfield.steps.explain_kept import keep_explained
    from hounsfield.steps.explain_truth import truth_of

    cohort, members = looked.cohort, len(model.members)

    def unseen(row: int) -> int:
        return cohort.fold.get(predictions.ids[row], 0) % members

    with clock.step("explain") as said:
        learned = cohort.development if predictions.kind != "external" else ()
        explained = explain(
            model,
            prepared,
            predictions,
            called,
            member_of=unseen,
            training=learned,
            truth=truth_of(study.question, looked.index, cohort.cases, looked.store, model.plan.input),
            progress=clock.progress.advance,
        )
        keep_explained(explained, model, folder.path)
        said.append(f"{len(explained)} pictures")
        said += explained.notes[:3]
    return explained
