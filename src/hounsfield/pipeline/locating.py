"""Detection from images to a model with evidence: the same order as for segmentation, other verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Evidence
from hounsfield.core.model import Calibration, Model, OperatingPoint
from hounsfield.core.plan import Plan
from hounsfield.io.model_store import write_model
from hounsfield.io.source import Source
from hounsfield.pipeline.places import Verbs
from hounsfield.pipeline.seeing import (
    Seen,
    audited,
    channels_of,
    scanned,
    unseen_rows,
)
from hounsfield.pipeline.showing import clinically
from hounsfield.steps.clinical import Asked
from hounsfield.steps.detection.candidates import candidate_objects, lesion_objects
from hounsfield.steps.detection.gather import gather_marked
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.job import Job
from hounsfield.steps.regions.to_grid import native_case
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.study import Clock, Run, Study
from hounsfield.tasks.detection import Candidates

if TYPE_CHECKING:
    from hounsfield.steps.detection.pictures import Shown

__all__ = ["MARKS"]

Spacing = tuple[float, float, float]
_RATE = 1.0
"""False positives an image at the score from which a candidate is called."""


def _seen(study: Study, folder: RunFolder, clock: Clock, model: Model | None) -> Seen:
    """Everything before a plan."""
    index = scanned(study, clock)
    with clock.step("gather") as said:
        cohort, channels = gather_marked(
            index, study.asked, classes=model.plan.detection.classes if model else (),
            channels=channels_of(model.plan if model else study.plan), split=model is None,
        )  # fmt: skip
        said += cohort.notes
    seen = Seen(index, cohort, channels, cohort.encoding.classes)
    return audited(seen, study, folder, clock, split=model is None)


def _model(study: Study, seen: Seen, job: Job, folder: RunFolder, clock: Clock) -> Model:
    """The model with the score from which a candidate is called, chosen on validation cases."""
    from hounsfield.steps.detection.fit import kept_found
    from hounsfield.steps.detection.matched import matched, score_for
    from hounsfield.steps.fit import weights_of

    with clock.step("choose") as said:
        rows = unseen_rows(job)
        cases = [seen.cohort.development[r] for r in rows]
        found = [kept_found(job, r) or _nothing() for r in rows]
        table = _table(seen, job.plan, cases, found, _spacings(job, cases), "cross-validation")
        score = score_for(matched(table).marks, images=len(table), rate=_RATE)
        point = OperatingPoint(
            (float(score),), f"{_RATE:g} false positive an image", "validation folds",
            n=len(cases),
        )  # fmt: skip
        model = folder.model(
            job.plan, seen.cohort.encoding, weights_of(job), point, Calibration(), seen.cohort.digest(),
            phantom=study.phantom,
        )  # fmt: skip
        write_model(model)
        said.append(f"score {score:.3f}: {point.rule} on {len(cases)} validation images")
    return model


def _nothing() -> Candidates:
    from hounsfield.steps.detection.candidates import together as joined

    return joined([])


def _spacings(job: Job, cases: Sequence[Case]) -> list[Spacing]:
    assert job.grid is not None
    return [_three(job.grid.rows[c.id].place.spacing_mm) for c in cases]


def _three(spacing: Sequence[float]) -> Spacing:
    k, j, i = spacing or (1.0, 1.0, 1.0)
    return k, j, i


def _table(
    seen: Seen,
    plan: Plan,
    cases: Sequence[Case],
    found: Sequence[Candidates],
    spacings: Sequence[Spacing],
    kind: str,
) -> Detected:
    detection, flat = plan.detection, plan.grid.patch[0] == 1
    proposed = candidate_objects(found, spacing_mm=spacings, shape=detection.shape, flat=flat)
    lesions = lesion_objects(
        [c.marked or () for c in cases], spacing_mm=spacings, shape=detection.shape, flat=flat
    )
    columns = sorted({g for c in cases for g in c.groups})
    known = all(bool(c.images[0].spacing_mm) for c in cases)
    return Detected(
        classes=detection.classes,
        ids=tuple(c.id for c in cases),
        patients=tuple(c.patient for c in cases),
        candidates=proposed.placed,
        lesions=lesions.placed,
        candidate_class=proposed.label,
        lesion_class=lesions.label,
        candidate_mm=proposed.diameter_mm,
        lesion_mm=lesions.diameter_mm,
        match=detection.match,
        match_iou=detection.match_iou,
        unit="mm" if known else "pixel",
        groups={g: tuple(c.groups.get(g, "") for c in cases) for g in columns},
        kind=kind,
        patients_known=seen.cohort.patients_known,
    )


def _found(
    model: Model, seen: Seen, job: Job | None, clock: Clock
) -> tuple[list[Case], list[Candidates], list[Spacing], str]:
    """The cases that tell how good the model is, and what it finds there."""
    from hounsfield.steps.detection.fit import kept_found
    from hounsfield.steps.detection.predict import located_cases

    cases = list(seen.cohort.test)
    if cases:
        found, spacings = [], []
        with Source(seen.index.source) as source:
            for _, native, candidates in located_cases(model, source, cases, progress=clock.progress.advance):
                found.append(candidates)
                spacings.append(_three(native.spacing_mm))
        return cases, found, spacings, "test" if job is not None else "external"
    if job is None:
        raise BadInput("no case is left to evaluate; expected images with marks")
    rows = unseen_rows(job)
    cases = [seen.cohort.development[r] for r in rows]
    return cases, [kept_found(job, r) or _nothing() for r in rows], _spacings(job, cases), "cross-validation"


def _told(study: Study, model: Model, seen: Seen, job: Job | None, folder: RunFolder, clock: Clock) -> Run:
    """What was found measured, shown and reported."""
    from hounsfield.steps.detection.pictures import detection_pictures
    from hounsfield.steps.detection.write import write_found
    from hounsfield.steps.report import report

    with clock.step("predict") as said:
        cases, found, spacings, kind = _found(model, seen, job, clock)
        table = _table(seen, model.plan, cases, found, spacings, kind)
        said.append(
            f"{len(cases)} images by {len(model.members)} member(s), {len(table.candidates)} candidates"
        )
    evidence = _evidence(study, model, seen, job, table, clock)
    with clock.step("show") as said:
        pictures = detection_pictures(_shown(seen, model, table, cases))
        said.append(f"{len(pictures)} pictures")
    asked = Asked(table, tuple(cases), model, seed=model.plan.seed)
    evidence, more = clinically(study, evidence, asked, clock)
    with clock.step("report") as said:
        if job is not None:
            folder.keep_plan(model.plan)
        write_found(table, folder.path / "predictions.csv")
        folder.keep_private(seen.index, seen.cohort, seen.marks)
        path = report(evidence, (*pictures, *more), folder.path)
        said.append(str(path))
    return Run(folder.path, model, evidence, table, path)


def _evidence(
    study: Study, model: Model, seen: Seen, job: Job | None, table: Detected, clock: Clock
) -> Evidence:
    from hounsfield.pipeline.seeing import region_setting
    from hounsfield.steps.detection.evaluate import evaluate_detected
    from hounsfield.steps.facts import gates_of

    with clock.step("evaluate") as said:
        title = f"Detection: {', '.join(table.classes)}"
        setting = region_setting(study, model, seen, job, clock, title=title)
        evidence = evaluate_detected(table, setting)
        gates = gates_of(evidence.audit, evidence.metrics)
        evidence = replace(evidence, tables={**evidence.tables, "gates": gates})
        said += [f"{f.name} {f.text}" for f in evidence.metrics if f.name == "froc_cpm" and not f.label]
    return evidence


def _shown(seen: Seen, model: Model, table: Detected, cases: Sequence[Case]) -> list[Shown]:
    """Hits, misses and false positives with their images."""
    from hounsfield.steps.detection.pictures import Shown, chosen_objects

    shown = []
    with Source(seen.index.source) as source:
        for chosen in chosen_objects(table):
            case = cases[list(table.ids).index(chosen.id)]
            native = native_case(source, case, model.plan.segmentation.structures)
            shown.append(Shown(chosen, native.data, _three(native.spacing_mm)))
    return shown


MARKS = Verbs(_seen, _model, _told)
