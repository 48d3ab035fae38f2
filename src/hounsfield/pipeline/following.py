"""Patients measured over visits: scan, tell visits apart, measure each, report; nothing is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Evidence, Finding
from hounsfield.core.index import Index
from hounsfield.core.progress import Progress, Silent
from hounsfield.io.catalogue import read_volume
from hounsfield.io.csv_text import table_of
from hounsfield.io.files import write_text
from hounsfield.io.source import Source
from hounsfield.pipeline.seeing import scanned
from hounsfield.steps.clinical import with_clinical
from hounsfield.steps.following import Followed, Follower, Places
from hounsfield.steps.identity import identity_finding
from hounsfield.steps.places_known import places_by_model, places_by_readers
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.study import Clock, Study
from hounsfield.steps.visits import Patient, visits_of

__all__ = ["Measured", "follow_visits"]


@dataclass(frozen=True)
class Measured:
    """What a finished measurement left in its folder."""

    folder: Path
    evidence: Evidence
    followed: Followed
    report: Path


def follow_visits(
    study: Study, follower: Follower, *, model: Path | None = None, progress: Progress | None = None
) -> Measured:
    """Measure every patient of a source over the visits, and report.

    `study.question.labels` may be a table that names patient, date and visit of each image, its `marks` a
    file of marked objects; `model` is a run that finds objects where nobody marked them. Raises BadInput
    where no patient can be measured, with the reasons.
    """
    from hounsfield.steps.report import report

    clock, folder = Clock(progress or Silent()), RunFolder(study.out)
    with folder.opened(resume=False):
        index = scanned(study, clock)
        with clock.step("visits") as said:
            patients, notes = visits_of(index, labels=study.question.labels, on=study.question.on)
            said.append(f"{len(patients)} patients, {sum(len(p.visits) for p in patients)} visits")
            said += notes
        with clock.step("measure") as said, Source(index.source) as source:
            told = follower(
                patients,
                lambda series: read_volume(source, series),
                places=_places(study, index, source, model),
                progress=clock.progress.advance,
            )
            said += [f"{f.name} {f.text}" for f in told.clinical.findings[:3]]
            said += [f"{n} refused: {why}" for why, n in (told.refused or {}).items()]
        _refuse_nothing(told, patients)
        with clock.step("report") as said:
            evidence = _evidence(study, index, patients, told, clock)
            columns = tuple(dict.fromkeys(key for row in told.rows for key in row))
            write_text(folder.path / "measurements.csv", table_of(columns, told.rows))
            path = report(evidence, told.clinical.pictures, folder.path)
            said.append(str(path))
    return Measured(folder.path, evidence, told, path)


def _places(study: Study, index: Index, source: Source, model: Path | None) -> Places | None:
    """Where objects lie, as marks or a model say; None where neither was given."""
    if study.question.marks and model is not None:
        raise BadInput("marks and a model were given; expected one of them; leave --model or --marks out")
    if study.question.marks:
        return places_by_readers(study.question.marks, index)
    return None if model is None else places_by_model(model, source)


def _refuse_nothing(told: Followed, patients: Sequence[Patient]) -> None:
    refused = told.refused or {}
    if patients and sum(refused.values()) >= len(patients):
        why, n = max(refused.items(), key=lambda item: item[1])
        raise BadInput(f"none of {len(patients)} patients could be measured; {n} of them: {why}")


def _evidence(
    study: Study, index: Index, patients: Sequence[Patient], told: Followed, clock: Clock
) -> Evidence:
    from hounsfield.steps.facts import versions

    refused = told.refused or {}
    found = [
        Finding(
            "patients_not_measured", value=float(n), n=len(patients), n_patients=len(patients),
            level="warning", note=f"{n} of {len(patients)} patients: {why}",
        )
        for why, n in refused.items()
    ]  # fmt: skip
    visits = sum(len(p.visits) for p in patients)
    measured = len(patients) - sum(refused.values())
    flow = [
        ["images read", len(index.series), len(patients), "files that are no image are listed below"],
        ["visits", visits, len(patients), ""],
        ["measured", measured, measured, "; ".join(refused)],
    ]
    evidence = Evidence(
        title=study.title or "Measurements over visits",
        audit=(*told.findings, *found, *identity_finding(index)),
        tables={"flow": flow},
        context={
            "task": "measurement",
            "application": study.application,
            **versions(),
            "seconds": dict(clock.seconds),
            "command": study.command,
        },
        phantom=study.phantom,
    )
    return with_clinical(evidence, told.clinical)
