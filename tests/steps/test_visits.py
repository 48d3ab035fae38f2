"""Visits of patients told apart and ordered; a measurement from a folder to a table and a report."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.clinical import Clinical
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Index, Series
from hounsfield.core.volume import Volume
from hounsfield.io.nifti_write import write_nifti
from hounsfield.pipeline.following import follow_visits
from hounsfield.steps.following import Followed, Places
from hounsfield.steps.gather import Question
from hounsfield.steps.study import Study
from hounsfield.steps.visits import Patient, visits_of


def scan(name: str, **facts: str) -> Series:
    return Series(name, (f"{name}.nii.gz",), "nifti", (8, 8, 8), **facts)  # type: ignore[arg-type]


def test_headers_order_visits_by_day_and_put_one_study_together() -> None:
    images = (
        scan("c", patient="p", study="s2", study_date="20210301"),
        scan("a", patient="p", study="s1", study_date="20200101"),
        scan("b", patient="p", study="s1", study_date="20200101"),
        scan("d", patient="q", study="s3", study_date="20200101"),
    )
    patients, notes = visits_of(Index("study", images, ()))
    assert [[[s.id for s in v.images] for v in p.visits] for p in patients] == [[["a", "b"], ["c"]], [["d"]]]
    assert patients[0].dated and patients[0].visits[1].day == date(2021, 3, 1) and not notes
    assert patients[0].years()[1] == pytest.approx(425 / 365.25)
    assert "p" not in patients[0].key.replace("patient", "")


def test_files_without_headers_are_told_apart_by_folder_and_name() -> None:
    images = (*(scan(f"p{p}/study{v}_T1W") for p in (1, 2) for v in (10, 9)), scan("p1/gt"), scan("masks/a"))
    patients, notes = visits_of(Index("study", images, ()))
    assert notes[0] == "2 image(s) are masks by their names: left out"
    assert [[v.images[0].id for v in p.visits] for p in patients] == [
        ["p1/study9_T1W", "p1/study10_T1W"], ["p2/study9_T1W", "p2/study10_T1W"],
    ]  # fmt: skip
    assert not patients[0].dated and "4 image(s) name no patient" in notes[1]


def test_visits_that_are_numbered_against_their_dates_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "visits.csv"
    table.write_text("file,patient,visit,date\na.nii.gz,p,1,2021-05-01\nb.nii.gz,p,2,2020-05-01\n")
    index = Index("study", (scan("a"), scan("b")), ())
    with pytest.raises(BadInput, match="numbered 2, 1 in the order of their dates"):
        visits_of(index, labels=str(table))
    table.write_text("file,patient,visit,date\na.nii.gz,p,1,2020-05-01\nb.nii.gz,p,2,2021-05-01\n")
    patients, _ = visits_of(index, labels=str(table))
    assert [v.images[0].id for v in patients[0].visits] == ["a", "b"]


def brightness(
    patients: Sequence[Patient],
    read: Callable[[Series], Volume],
    *,
    places: Places | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Followed:
    """Measures the mean of each visit; one visit is too few."""
    rows, few = [], 0
    for patient in patients:
        if len(patient.visits) < 2:
            few += 1
            continue
        means = [float(read(v.images[0]).data.mean()) for v in patient.visits]
        rows.append({"patient": patient.key, "first": means[0], "change": means[-1] - means[0]})
    told = Clinical("Brightness", findings=(Finding("change", value=rows[0]["change"], n=1),) if rows else ())
    return Followed(told, tuple(rows), refused={"one visit, expected two": few} if few else None)


def written(folder: Path, name: str, value: int) -> None:
    folder.mkdir(exist_ok=True)
    write_nifti(folder / name, Volume(np.full((1, 4, 5, 6), value, np.int16), np.eye(4), (), True))


def test_patients_are_measured_and_those_who_cannot_be_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "study"
    source.mkdir()
    for patient, values in (("one", (10, 14)), ("two", (5,))):
        for visit, value in enumerate(values, 1):
            written(source / patient, f"visit{visit}_T1.nii.gz", value)
    done = follow_visits(Study(str(source), tmp_path / "run", Question(), application="test"), brightness)
    rows = list(csv.DictReader((tmp_path / "run/measurements.csv").read_text().splitlines()))
    assert [float(r["change"]) for r in rows] == [4.0]
    page = done.report.read_text()
    assert "1 of 2 patients: one visit, expected two" in page and "Brightness" in page
    assert 'id="performance"' not in page and 'id="training"' not in page
    assert not (tmp_path / "run/cache").exists()


def test_nothing_measured_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "study"
    source.mkdir()
    written(source / "one", "visit1_T1.nii.gz", 3)
    with pytest.raises(BadInput, match="none of 1 patients could be measured; 1 of them: one visit"):
        follow_visits(Study(str(source), tmp_path / "run", Question(), application="test"), brightness)
    assert not (tmp_path / "run").exists()
