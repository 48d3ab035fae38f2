"""Segmentation from images to a model with evidence: the same order as for classification, other verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.model import Calibration, Cleaning, Model, OperatingPoint
from hounsfield.core.plan import Plan
from hounsfield.io.model_store import write_model
from hounsfield.io.source import Source
from hounsfield.pipeline.places import Verbs
from hounsfield.pipeline.seeing import (
    Seen,
    audited,
    channels_of,
    region_setting,
    scanned,
    unseen_rows,
)
from hounsfield.pipeline.showing import clinically
from hounsfield.steps.clinical import Asked
from hounsfield.steps.compute import available_cores
from hounsfield.steps.gather import Question
from hounsfield.steps.job import Job
from hounsfield.steps.regions.gather import gather_outlined
from hounsfield.steps.regions.to_grid import Native, native_case
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.segmentation.measure import Compared, compared, table_of_cases
from hounsfield.steps.segmentation.table import Segmented
from hounsfield.steps.study import Clock, Run, Study

if TYPE_CHECKING:
    from hounsfield.steps.segmentation.pictures import Shown

__all__ = ["OUTLINES"]

_TITLE = "Segmentation: {}"
_FLATTERED = (
    "The choice of window and cleaning: it was made on the very cases that are reported, which flatters them "
    "a little."
)


def _seen(study: Study, folder: RunFolder, clock: Clock, model: Model | None) -> Seen:
    """Everything before a plan."""
    index = scanned(study, clock)
    with clock.step("gather") as said:
        plan = model.plan if model else study.plan
        found = gather_outlined(
            index, study.asked, structures=plan.segmentation.structures if plan else (),
            channels=channels_of(plan), split=model is None, threads=available_cores(),
            progress=clock.progress.advance,
        )  # fmt: skip
        said += [f"{len(found.cohort.cases)} images with masks", *found.cohort.notes]
    seen = Seen(index, found.cohort, found.channels, found.structures, found.ignore, found.regions)
    return audited(seen, study, folder, clock, split=model is None)


def _model(study: Study, seen: Seen, job: Job, folder: RunFolder, clock: Clock) -> Model:
    """The model with its window and its cleaning, both chosen on validation cases."""
    from hounsfield.steps.fit import weights_of
    from hounsfield.steps.regions.members import networks_of
    from hounsfield.steps.segmentation.choose_window import choose_window

    plan, notes = job.plan, list[str]()
    model = folder.model(
        plan, seen.cohort.encoding, weights_of(job), OperatingPoint((), "largest probability", "no choice"),
        Calibration(), seen.cohort.digest(), phantom=study.phantom,
    )  # fmt: skip
    with clock.step("choose") as said:
        network = networks_of(replace(model, members=model.members[:1]))[0]
        chosen = choose_window(network, job, job.parts(0)[1].tolist())
        cleaning = _cleaning(study, seen, job)
        model = replace(model, plan=chosen.plan, cleaning=cleaning)
        notes += filter(None, [chosen.note, *(cleaning.notes if cleaning else ())])
        write_model(model)
        said += notes[:4]
    return model


@dataclass(frozen=True)
class _Lazily:
    """Label maps read one by one, when they are asked for."""

    length: int
    read: Any

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, n: int) -> NDArray[np.uint8]:
        if not 0 <= n < self.length:
            raise IndexError(n)
        found: NDArray[np.uint8] = self.read(n)
        return found


def _cleaning(study: Study, seen: Seen, job: Job) -> Cleaning | None:
    """What of the outlines is to be tidied, as their validation cases say."""
    from hounsfield.steps.segmentation.clean import choose_cleaning
    from hounsfield.steps.segmentation.fit import kept_labels

    plan, cases = job.plan, seen.cohort.development
    if not plan.segmentation.clean or plan.segmentation.regions:
        return None
    rows = unseen_rows(job)
    with Source(seen.index.source) as source:

        def native(n: int) -> NDArray[np.uint8]:
            held = _native(source, cases[rows[n]], plan, study.question).labels
            assert held is not None
            return held

        assert job.grid is not None
        places = [job.grid.rows[cases[r].id].place for r in rows]
        return choose_cleaning(
            _Lazily(len(rows), lambda n: kept_labels(job, rows[n])),  # type: ignore[arg-type]
            _Lazily(len(rows), native),  # type: ignore[arg-type]
            structures=plan.segmentation.structures,
            spacings=[p.spacing_mm or (1.0, 1.0, 1.0) for p in places],
            patients=[cases[r].patient for r in rows],
            ignore=255,
            outlined=[_annotated(cases[r], plan) for r in rows],
        )


def _annotated(case: Case, plan: Plan) -> tuple[int, ...]:
    every = tuple(range(1, len(plan.segmentation.structures) + 1))
    return every if case.annotated is None else case.annotated


def _native(source: Source, case: Case, plan: Plan, question: Question) -> Native:
    return native_case(
        source, case, plan.segmentation.structures,
        ignore=plan.segmentation.ignore, resample_masks=question.resample_masks,
    )  # fmt: skip


def _told(study: Study, model: Model, seen: Seen, job: Job | None, folder: RunFolder, clock: Clock) -> Run:
    """Outlines of the test part (or of the folds) measured, shown and reported."""
    from hounsfield.steps.report import report
    from hounsfield.steps.segmentation.pictures import segmentation_pictures
    from hounsfield.steps.segmentation.write import write_compared

    with clock.step("predict") as said:
        cases, found, kind = _compared(study, model, seen, job, clock)
        known = all(bool(s.spacing_mm) for c in cases for s in c.images[:1])
        table = table_of_cases(
            cases, found, model.plan, kind=kind, known=seen.cohort.patients_known, spacing_known=known
        )
        said.append(f"{len(cases)} cases by {len(model.members)} member(s)")
    evidence = _evidence(study, model, seen, job, table, clock)
    with clock.step("show") as said:
        pictures = segmentation_pictures(_shown(study, model, seen, job, table))
        said.append(f"{len(pictures)} cases")
    asked = Asked(table, tuple(cases), model, seed=model.plan.seed)
    evidence, more = clinically(study, evidence, asked, clock)
    with clock.step("report") as said:
        if job is not None:
            folder.keep_plan(model.plan)
        write_compared(table, folder.path / "predictions.csv")
        folder.keep_private(seen.index, seen.cohort, seen.marks)
        path = report(evidence, (*pictures, *more), folder.path)
        said.append(str(path))
    return Run(folder.path, model, evidence, table, path)


def _compared(
    study: Study, model: Model, seen: Seen, job: Job | None, clock: Clock
) -> tuple[tuple[Case, ...], list[Compared], str]:
    """The cases that tell how good the model is, and how it did there."""
    from hounsfield.steps.segmentation.predict import outlined_cases

    cases, found = seen.cohort.test, []
    with Source(seen.index.source) as source:
        if cases:
            made = outlined_cases(
                model, source, cases,
                resample_masks=study.question.resample_masks, progress=clock.progress.advance,
            )  # fmt: skip
            for case, native, labels in made:
                found.append(compared(labels, native, model.plan, case.annotated))
            return cases, found, "test" if job is not None else "external"
        if job is None:
            raise BadInput("no case is left to evaluate; expected images with masks")
        held = []
        for done, row in enumerate(rows := unseen_rows(job), 1):
            case, native, labels = _from_fold(study, model, seen, job, row, source)
            held.append(case)
            found.append(compared(labels, native, model.plan, case.annotated))
            clock.progress.advance(done, len(rows))
    return tuple(held), found, "cross-validation"


def _from_fold(
    study: Study, model: Model, seen: Seen, job: Job, row: int, source: Source
) -> tuple[Case, Native, NDArray[np.uint8]]:
    """A development case as a member outlined it that had not seen it."""
    from hounsfield.steps.segmentation.fit import kept_labels
    from hounsfield.steps.segmentation.predict import tidied

    case = seen.cohort.development[row]
    native, labels = _native(source, case, model.plan, study.question), kept_labels(job, row)
    assert labels is not None
    return case, native, tidied(labels, native, model)


def _evidence(
    study: Study, model: Model, seen: Seen, job: Job | None, table: Segmented, clock: Clock
) -> Evidence:
    from hounsfield.steps.facts import gates_of
    from hounsfield.steps.segmentation.evaluate import evaluate_segmented

    with clock.step("evaluate") as said:
        setting = region_setting(
            study, model, seen, job, clock,
            title=_TITLE.format(", ".join(table.structures)), tables=_chosen_table(model),
            untested=() if seen.cohort.test else (_FLATTERED,),
        )  # fmt: skip
        evidence = evaluate_segmented(table, setting)
        gates = gates_of(evidence.audit, evidence.metrics)
        evidence = replace(evidence, tables={**evidence.tables, "gates": gates})
        said += [f"{f.label} Dice {f.text}".strip() for f in _dice(evidence.metrics)]
    return evidence


def _chosen_table(model: Model) -> dict[str, Any]:
    """What was chosen on validation cases, in words."""
    held = [model.plan.reasons.get("grid.window", ""), *(model.cleaning.notes if model.cleaning else ())]
    rows = [{"chosen on validation cases": text} for text in held if text]
    return {"choices": rows} if rows else {}


def _dice(metrics: Sequence[Finding]) -> list[Finding]:
    return [f for f in metrics if f.name == "dice" and f.value is not None][:6]


def _shown(study: Study, model: Model, seen: Seen, job: Job | None, table: Segmented) -> list[Shown]:
    """The worst, the middle and the best cases with both outlines."""
    from hounsfield.steps.segmentation.pictures import chosen_cases
    from hounsfield.steps.segmentation.predict import outlined_cases

    by_id = {c.id: c for c in (seen.cohort.test or seen.cohort.development)}
    row_of = {c.id: n for n, c in enumerate(seen.cohort.development)}
    chosen = chosen_cases(table)
    cases = [by_id[table.ids[row]] for row, _ in chosen]
    shown = []
    with Source(seen.index.source) as source:
        if seen.cohort.test or job is None:
            made = outlined_cases(model, source, cases, resample_masks=study.question.resample_masks)
        else:
            made = (_from_fold(study, model, seen, job, row_of[c.id], source) for c in cases)
        for (row, rank), (_, native, labels) in zip(chosen, made, strict=True):
            shown.append(_shown_case(table, row, rank, native, labels, model.plan))
    return shown


def _shown_case(
    table: Segmented, row: int, rank: Any, native: Native, labels: NDArray[np.uint8], plan: Plan
) -> Shown:
    from hounsfield.steps.segmentation.pictures import Shown

    held = {name: table.cases[name][row] for name in table.structures}
    reference = native.labels if native.labels is None else np.where(native.labels == 255, 0, native.labels)
    channels = plan.grid.channels
    return Shown(
        table.ids[row], native.data, reference, labels, _spacing(native),
        dice={n: c.overlap.dice for n, c in held.items() if c is not None},
        hd95={n: c.surface.hd95_mm for n, c in held.items() if c is not None and c.surface is not None},
        unit=table.unit,
        channels=() if channels[0] == "red" else channels,
        rank=rank,
    )  # fmt: skip


def _spacing(native: Native) -> tuple[float, float, float]:
    k, j, i = native.spacing_mm or (1.0, 1.0, 1.0)
    return k, j, i


OUTLINES = Verbs(_seen, _model, _told)
