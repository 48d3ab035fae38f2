"""The second visit of the chest CT phantom: another breath, known growth, the same person."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from hounsfield.applications.chest_ct.cohort import sample_anatomy, sample_roles
from hounsfield.applications.chest_ct.phantom import VISIT_LESION_COLUMNS, VISIT_SERIES_COLUMNS, write_cohort
from hounsfield.applications.chest_ct.visits import FATES, Visit, carried, visits_of
from hounsfield.core.errors import BadInput

pytestmark = pytest.mark.xdist_group("chest-ct")
Row = dict[str, str]
SEED = 5


@pytest.fixture(scope="module")
def courses() -> list[tuple[Visit, Visit]]:
    roles = [role for role in sample_roles(patients=16, seed=1) if role.nodules > 1]
    return [visits_of(sample_anatomy(role, seed=1), seed=1) for role in roles]


@pytest.fixture(scope="session")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twice") / "study"
    write_cohort(folder, patients=2, seed=SEED, visits=2)
    return folder


def _rows(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_true_volumes_follow_the_true_doubling_time(courses: list[tuple[Visit, Visit]]) -> None:
    seen = set()
    for first, second in courses:
        before = {f.number: n for f, n in zip(first.followed, first.patient.nodules, strict=True)}
        for course, nodule in zip(second.followed, second.patient.nodules, strict=True):
            seen.add(course.fate)
            if course.fate == "new":
                assert course.number not in before
                continue
            doublings = second.days / course.doubling_days if course.doubling_days else 0.0
            ratio = (nodule.diameter_mm / before[course.number].diameter_mm) ** 3
            assert np.log2(ratio) == pytest.approx(doublings, abs=0.06)
            assert (course.fate == "grown") == (doublings > 0) and (course.fate == "shrunk") == (
                doublings < 0
            )
        gone = {f.number for f in first.followed if f.fate == "gone"}
        assert gone.isdisjoint(f.number for f in second.followed)
        assert set(before) == gone | {f.number for f in second.followed if f.fate != "new"}
    assert {"stable", "grown"} <= seen <= set(FATES)


def test_on_one_day_nothing_grows_and_only_the_breath_differs() -> None:
    patient = sample_anatomy(sample_roles(patients=6, seed=2)[3], seed=2)
    first, second = visits_of(patient, seed=2, same_day=True)
    assert second.days == 0 and {f.fate for f in second.followed} <= {"stable"}
    for a, b in zip(first.patient.nodules, second.patient.nodules, strict=True):
        assert b.diameter_mm == pytest.approx(a.diameter_mm, rel=0.02)
    assert first.patient.body.dome_left != second.patient.body.dome_left


def test_a_breath_moves_the_base_and_leaves_the_apex() -> None:
    body = sample_anatomy(sample_roles(patients=2, seed=0)[0], seed=0).body
    points = np.array([[70.0, 0, 60], [70, 0, -20], [70, 0, body.dome_right]])
    moved = points - carried(points, body, 9.0)
    assert moved[:, :2] == pytest.approx(0) and moved[0, 2] == 0 < moved[1, 2] < moved[2, 2]
    assert moved[2, 2] == pytest.approx(9.0)


def test_both_visits_are_written_with_identity_date_volume_and_doubling_time(twice: Path) -> None:
    series, lesions = _rows(twice / "labels.csv"), _rows(twice / "annotations.csv")
    assert tuple(series[0]) == VISIT_SERIES_COLUMNS and tuple(lesions[0]) == VISIT_LESION_COLUMNS
    assert [row["visit"] for row in series] == ["1", "2"] * 2
    for before, after in zip(series[::2], series[1::2], strict=True):
        assert before["patient_id"] == after["patient_id"] and before["date"] < after["date"]
        headers = [
            pydicom.dcmread(next((twice / row["folder"]).iterdir()), stop_before_pixels=True)
            for row in (before, after)
        ]
        for row, header in zip((before, after), headers, strict=True):
            assert header.SeriesInstanceUID == row["series_uid"]
            assert header.StudyDate == row["date"].replace("-", "")
        for name in ("StudyInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "AccessionNumber"):
            assert headers[0][name].value != headers[1][name].value
    for row in lesions:
        assert float(row["volume_mm3"]) == pytest.approx(np.pi / 6 * float(row["diameter_mm"]) ** 3, rel=1e-3)
        assert (row["doubling_days"] != "") == (row["fate"] in ("grown", "shrunk"))
    of_visit = {v: [row["nodule"] for row in lesions if row["visit"] == v] for v in "12"}
    assert all(len(set(names)) == len(names) for names in of_visit.values())


def test_the_first_visit_is_the_series_of_one_visit(twice: Path, tmp_path: Path) -> None:
    write_cohort(tmp_path / "once", patients=2, seed=SEED)
    row = _rows(tmp_path / "once" / "labels.csv")[0]
    files = sorted((tmp_path / "once" / row["folder"]).iterdir())
    for path in (files[0], files[-1]):
        same = twice / row["folder"] / path.name
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(same.read_bytes()).digest()


def test_another_number_of_visits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="3 visits a patient: expected 1 or 2"):
        write_cohort(tmp_path / "out", patients=2, visits=3)
    assert not (tmp_path / "out").exists()
