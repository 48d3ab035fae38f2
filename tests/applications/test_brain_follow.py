"""Brains followed over visits: rows, errors beside a known truth, repeats of a day, refused patients."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from hounsfield.applications.brain_mri import follow, lesions_told
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.core.volume import Volume
from hounsfield.steps.brain.course import BrainChange, BrainCourse, VisitFound
from hounsfield.steps.brain.error_bar import Doubt, Interval
from hounsfield.steps.brain.lesions_change import LesionChange, LesionsChange
from hounsfield.steps.brain.pictures import BrainPicture
from hounsfield.steps.brain.scan import BrainVisit
from hounsfield.steps.brain.visit import VisitVolumes
from hounsfield.steps.visits import Patient, Visit

pytest.importorskip("statsmodels", reason="the cohort's trajectories need hounsfield[atrophy]")
ROOT = Path(__file__).parents[2]
CALM = Doubt(0.0, 0.0, 0.0, 0.0)
PICTURE = BrainPicture(np.zeros((4, 4, 3), np.uint8), "a picture")
BIAS, HALF = 0.1, 0.25
"""What the made-up measurement is off by, and half its interval, in per cent."""


def volumes(change: float) -> VisitVolumes:
    """Hippocampi lose three times the per cent that the brain does, and are read 2 % too large."""
    side = 3.0 * (1 + 3 * change / 100) * 1.02
    return VisitVolumes(1000, 600, 400, 200, 30, 1200, side, side if change > -4 else None)


def measured(visits: list[BrainVisit], *, pictures: bool = True) -> BrainCourse:
    """A course in which each later visit's first voxel is the true change in thousandths of a per cent."""
    if len(visits) < 2:
        raise BadInput("one visit was given; expected two")
    changes = []
    found = [VisitFound(visits[0].day, volumes(0), (), (PICTURE,))]
    for n, visit in enumerate(visits[1:], 1):
        assert visit.t1 is not None
        told = float(visit.t1.data.flat[0]) / 1000 + BIAS
        found.append(VisitFound(visit.day, volumes(told - BIAS), (), (PICTURE,)))
        bar = Interval(told, told - HALF, told + HALF)
        changes.append(BrainChange(0, n, 1.0, bar, bar, None, 1.0, 0.99, told / 100, 0.001, CALM, PICTURE))
    return BrainCourse(tuple(found), tuple(changes), (0.0,), changes[-1].per_year, ())


def patient(number: int, truth: tuple[float, ...], days: tuple[int, ...], group: str) -> Patient:
    visits = []
    for n, (true, day) in enumerate(zip(truth, days, strict=True)):
        image = Series(f"{number}-{n}", (f"{number}/{round(true * 1000)}.dcm",), "dicom", (8, 8, 8))
        side = str(3.0 * (1 + 3 * true / 100))
        row = {"diagnosis": group, "pbvc_from_first": str(true)}
        row |= {"hippocampus_left_ml": side, "hippocampus_right_ml": side}
        visits.append(Visit((image,), date(2020, 1, 1) + timedelta(days=day), str(n), row))
    return Patient(f"patient {number}", tuple(visits))


def read(series: Series) -> Volume:
    value = int(series.files[0].split("/")[1].removesuffix(".dcm"))
    return Volume(np.full((1, 8, 8, 8), value, np.int16), np.eye(4), (), True)


def test_changes_stand_beside_the_truth_by_group_with_repeats_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "measure_patient", measured)
    rng = np.random.default_rng(0)
    patients = []
    for n in range(12):
        slope = -0.4 if n % 2 else -1.5
        years = rng.uniform(1, 3)
        day = int(365.25 * years)
        truth = (0.0, slope * years, slope * years) if n < 6 else (0.0, 0.0, slope * years)
        days = (0, day, day) if n < 6 else (0, 0, day)
        patients.append(patient(n, truth, days, "normal" if n % 2 else "dementia"))
    patients.append(patient(12, (0.0,), (0,), "normal"))
    told = follow.follow_brains(patients, read)
    by = {(f.name, f.label): f for f in told.clinical.findings}
    assert by["brain_change_error_percent", "median"].value == pytest.approx(BIAS, abs=2e-3)
    assert by["error_bar_covers_truth", ""].value == 1.0 and by["error_bar_covers_truth", ""].n == 18
    assert by["same_day_difference_percent", "median"].value == pytest.approx(BIAS, abs=2e-3)
    normal, ill = (by["brain_change_per_year_percent", g].value for g in ("normal", "dementia"))
    assert normal is not None and ill is not None and ill < -1.2 < -0.6 < normal < 0
    assert by["hippocampal_volume_error_percent", "median"].value == pytest.approx(2.0, abs=0.1)
    shrinking = by["hippocampal_change_per_year_percent", "normal"].value
    assert shrinking is not None and shrinking == pytest.approx(3 * normal, rel=0.3)
    assert told.refused == {"one visit was given; expected two": 1} and len(told.rows) == 36
    assert {p.kind for p in told.clinical.pictures} == {"clinical"}


def test_of_a_visit_the_t1_scan_without_contrast_agent_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[BrainVisit]] = []

    def noting(visits: list[BrainVisit], *, pictures: bool = True) -> BrainCourse:
        taken.append(visits)
        return measured(visits, pictures=pictures)

    monkeypatch.setattr(follow, "measure_patient", noting)

    def scan(value: int, weighting: str, *, agent: bool = False) -> Series:
        return Series(
            str(value), (f"a/{value}.dcm",), "dicom", (8, 8, 8), weighting=weighting, contrast_agent=agent
        )

    def visit(*images: Series) -> Visit:
        return Visit(images, date(2020, 1, 1), "", {})

    plain = visit(scan(1, "T2"), scan(2, "T1", agent=True), scan(3, "T1"), scan(4, "FLAIR"))
    enhanced = visit(scan(5, "DWI"), scan(6, "T1", agent=True))
    follow.follow_brains([Patient("p", (plain, enhanced))], read)
    first, second = taken[0]
    assert first.t1 is not None and first.t1.data.flat[0] == 3 and not first.contrast
    assert first.flair is not None and first.flair.data.flat[0] == 4
    assert second.t1 is not None and second.t1.data.flat[0] == 6 and second.contrast
    refused = follow.follow_brains([Patient("q", (plain, visit(scan(7, "T2"), scan(8, "DWI"))))], read)
    assert refused.refused is not None and any("only DWI, T2" in said for said in refused.refused)


def lesions(first: Volume, second: Volume, *, contrast: str) -> LesionsChange:
    """Two new lesions and one that went, if the second scan's first voxel says so; else no fit."""
    assert contrast == "flair"
    if second.data.flat[0] == 0:
        raise BadInput("the brains of two visits do not fit each other")
    labels = np.zeros((8, 8, 8), np.int32)
    labels[2, 1:3, 1:3], labels[5, 5, 5], labels[2, 6, 6] = 1, 2, 3
    kinds = (("new", 40.0), ("new", 20.0), ("gone", 15.0))
    found = tuple(LesionChange(kind, size, (0.0, 0.0, 0.0)) for kind, size in kinds)
    return LesionsChange(found, labels, np.eye(4), np.eye(4), np.eye(4), 0.9)


def flair_only(key: str, *values: int, t1: bool = False) -> Patient:
    visits = []
    for n, value in enumerate(values):
        images = [Series(f"{key}{n}f", (f"{key}/{value}.dcm",), "dicom", (8, 8, 8), weighting="FLAIR")]
        if t1:
            images.append(Series(f"{key}{n}t", (f"{key}/{-n}.dcm",), "dicom", (8, 8, 8), weighting="T1"))
        visits.append(Visit(tuple(images), date(2020 + n, 1, 1), str(n), {}))
    return Patient(key, tuple(visits))


def test_lesions_of_flair_stand_in_rows_table_and_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "measure_patient", measured)
    monkeypatch.setattr(lesions_told, "lesions_change", lesions)
    told = follow.follow_brains([flair_only("a", 1, 2), flair_only("b", 1, 2, t1=True)], read)
    assert told.refused is None and len(told.rows) == 4
    for row in told.rows:
        wanted = (2, 0.06, 0, 0.0, 0, 0.0, 1, 0.015) if row["visit"] == 2 else ("",) * 8
        assert tuple(row[k] for k in lesions_told.LESION_COLUMNS) == wanted
    assert [row["brain_ml"] for row in told.rows] == ["", "", 1000, 1000]
    assert list(told.rows[0]) == list(told.rows[2])  # one table, whatever was measured
    assert {t: len(rows) for t, rows in told.clinical.tables.items()} == {
        "Visits": 2, "Lesions in FLAIR since the visit before": 2,
    }  # fmt: skip
    drawn = [p for p in told.clinical.pictures if "came or grew" in p.caption]
    assert [p.case for p in drawn] == ["a", "b"]
    pixels = drawn[0].panels[0][1].reshape(-1, 3)
    assert [235, 60, 50] in pixels.tolist() and [60, 130, 240] in pixels.tolist()
    assert any("no T1-weighted scan" in f.note for f in told.findings)


def test_scans_that_do_not_fit_and_single_visits_give_no_lesions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "measure_patient", measured)
    monkeypatch.setattr(lesions_told, "lesions_change", lesions)
    told = follow.follow_brains([flair_only("a", 1, 0, t1=True), flair_only("b", 1)], read)
    assert [row["lesions_new"] for row in told.rows] == ["", ""]
    assert told.refused == {"one visit was given; expected two": 1}
    said = [f.note for f in told.findings]
    assert any(
        "No change of lesions between visits 1 and 2: the brains of two visits do not fit" in s for s in said
    )
    assert set(told.clinical.tables) == {"Visits"}


@pytest.mark.realdata
@pytest.mark.slow
def test_the_lesions_of_a_real_patient_lie_on_the_marks_of_readers(real_data: Path) -> None:
    words = (str(ROOT / "benchmarks" / "lesions.py"), "--data", str(real_data / "open_ms_longitudinal"))
    ended = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    dice = [float(found) for found in re.findall(r"Dice ([.\d]+)", ended.stdout)]
    assert len(dice) == 2 and dice[0] > 0.5 and dice[1] > 0.2
