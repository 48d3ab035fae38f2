"""Splits by site and by time: a patient on one side, what cannot be is refused, what is lacking is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.core.plan import Plan
from hounsfield.steps.dates import places_in_time
from hounsfield.steps.gather import Question, gather
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.split_designs import folds_of_column, latest
from hounsfield.steps.study import Study
from hounsfield.steps.validation_design import with_design
from phantoms import write_csv

TWO = LabelEncoding("binary", ("0", "1"))


def _cases(sites: str, answers: str, patients: Sequence[int] | None = None) -> list[Case]:
    return [
        Case(f"c{k}", f"p{patients[k] if patients else k}", (), Label((int(a),)), {"site": s.strip("?")})
        for k, (s, a) in enumerate(zip(sites, answers, strict=True))
    ]


def _gathered(folder: Path, rows: list[dict[str, Any]], *, date: str = "", **asked: Any) -> Cohort:
    rows = [{"file": f"{n}.png", "patient": f"p{n}", **r} for n, r in enumerate(rows)]
    images = tuple(
        Series(f"i{n}", (f"{n}.png",), "raster", (1, 8, 8), study_date=date) for n in range(len(rows))
    )
    question = Question(labels=str(write_csv(folder / "t.csv", rows)), target=("y",), folds=2, **asked)
    return gather(Index("x", images), question)


def test_every_value_is_a_fold_and_what_is_unknown_is_one_too() -> None:
    fold, notes = folds_of_column(_cases("BBAA??", "010101"), TWO, "site")
    assert [fold[f"c{k}"] for k in range(6)] == [1, 1, 0, 0, 2, 2]
    assert notes == ('every value of site is left out once: "A", "B", "not known"',)


def test_a_value_without_a_class_is_noted() -> None:
    _, notes = folds_of_column(_cases("AABBCC", "010111"), TWO, "site")
    assert notes[1] == 'site "C" has no case of 0'


@pytest.mark.parametrize(
    "sites, answers, patients, said",
    [
        ("AABB", "0101", [0, 1, 0, 2], "1 patient.s. have images with several values of site"),
        ("AAAA", "0101", None, "makes 1 fold"),
        ("ABCDEFGHIJKLMNOPQRSTUV", "01" * 11, None, "makes 22 fold"),
        ("AABB", "0111", None, 'class "0" stands only where site is "A"'),
    ],
)
def test_what_cannot_be_left_out_is_refused(
    sites: str, answers: str, patients: list[int] | None, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        folds_of_column(_cases(sites, answers, patients), TWO, "site")


def test_duplicates_across_sites_and_unknown_columns_are_refused() -> None:
    with pytest.raises(BadInput, match="duplicates of each other have several values of site"):
        folds_of_column(_cases("AABB", "0101"), TWO, "site", links=[("c0", "c3")])
    with pytest.raises(BadInput, match='"sit", which is no group column; did you mean "site"'):
        folds_of_column(_cases("AABB", "0101"), TWO, "sit")


def test_the_latest_patients_are_the_test_part_with_all_their_images() -> None:
    when = {"0": 0, "1": 1, "2": 2, "3": 3, "4": 4}
    cases = [Case(str(k), f"p{k}", (), when=when[str(k)]) for k in range(5)]
    cases.append(Case("5", "p4", (), when=0))  # an early image of the latest patient
    held, notes = latest(cases, share=0.2)
    assert held == {"4", "5"}
    assert notes == ("split by date: the 1 latest patients are the test part, 4 came before them",)
    linked, _ = latest(cases, share=0.2, links=[("1", "4")])
    assert linked == {"1", "4", "5"}


def test_patients_of_one_date_stay_together_and_one_without_stays_in_development() -> None:
    cases = [Case(str(k), f"p{k}", (), when=w) for k, w in enumerate([0, 0, 1, 1, 1, None])]
    held, notes = latest(cases, share=0.2)
    assert held == {"2", "3", "4"}
    assert notes[1] == "1 patients have no date and are developed on, whenever they came"
    with pytest.raises(BadInput, match="the same date"):
        latest([Case(str(k), f"p{k}", (), when=0) for k in range(4)], share=0.5)
    with pytest.raises(BadInput, match="0 of 4 patients have a date"):
        latest([Case(str(k), f"p{k}", ()) for k in range(4)], share=0.5)


@pytest.mark.parametrize(
    "early, late",
    [
        ("20191231", "20200101"),
        ("2019-12-31", "2020-01-01"),
        ("31.12.2019", "01.01.2020"),
        ("12/31/2019", "01/01/2020"),
        ("31/12/2019", "01/01/2020"),
        ("2020-01-01T08:00:00", "2020-01-01T09:00:00"),
        ("2019", "2020"),
        ("-3", "12.5"),
    ],
)
def test_dates_are_read_as_they_are_written(early: str, late: str) -> None:
    assert places_in_time({"a": late, "b": early, "c": ""}) == {"a": 1, "b": 0, "c": None}


def test_dates_that_can_be_read_in_two_ways_are_refused_without_being_shown() -> None:
    with pytest.raises(BadInput, match="day or month first") as refused:
        places_in_time({"a": "03/04/2021", "b": "05/06/2021"})
    assert "2021" not in str(refused.value)
    with pytest.raises(BadInput, match="not all written in one known way"):
        places_in_time({"a": "2021-03-04", "b": "yesterday"})


def test_a_column_of_dates_splits_and_no_date_is_kept(tmp_path: Path) -> None:
    rows = [{"y": k % 2, "day": f"20{10 + k}-05-17"} for k in range(10)]
    cohort = _gathered(tmp_path, rows, split_by_date="day")
    assert {c.id for c in cohort.test} == {"i8", "i9"}
    assert "05" not in repr(cohort) and "2019" not in repr(cohort)


def test_the_images_own_dates_are_taken_where_asked(tmp_path: Path) -> None:
    rows = [{"y": k % 2} for k in range(10)]
    with pytest.raises(BadInput, match="every patient has the same date"):
        _gathered(tmp_path, rows, split_by_date="images", date="20200101")


def test_leaving_sites_out_holds_nothing_back_unless_asked(tmp_path: Path) -> None:
    rows = [{"y": k % 2, "hospital": "ABC"[k // 2 % 3]} for k in range(24)]
    assert not _gathered(tmp_path, rows, folds_by="site").test
    assert _gathered(tmp_path, rows).test
    assert _gathered(tmp_path, rows, folds_by="site", test_fraction=0.25).test


def test_the_plan_gets_a_fold_and_a_member_for_each_site(tmp_path: Path) -> None:
    rows = [{"y": k % 2, "hospital": "ABC"[k // 2 % 3]} for k in range(24)]
    cohort = _gathered(tmp_path, rows, folds_by="site")
    plan = with_design(Plan().changed({"validation.folds_by": "site"}), cohort)
    assert (plan.validation.folds, plan.validation.members) == (3, 3)
    with pytest.raises(BadInput, match="would leave 1 of 3 values of site without a member"):
        asked = {"validation.folds_by": "site", "validation.members": 2}
        with_design(Plan().changed(asked), cohort, fixed=asked)


def test_columns_that_the_plan_names_are_asked_of_the_table() -> None:
    changes = {
        "mitigation.by": "site+dose",
        "mitigation.method": "reweighting",
        "validation.folds_by": "ward",
    }
    asked = Study("x", Path("y"), changes=changes).asked
    assert asked.groups == ("dose", "ward") and asked.folds_by == "ward"


def test_two_designs_at_once_are_refused() -> None:
    with pytest.raises(BadInput, match="choose one of the two"):
        Plan().changed({"validation.folds_by": "site", "validation.outer_folds": 3})


def test_a_run_by_site_is_resumed_with_the_plan_it_was_given(tmp_path: Path) -> None:
    rows = [{"y": k % 2, "hospital": "ABC"[k // 2 % 3]} for k in range(24)]
    cohort = _gathered(tmp_path, rows, folds_by="site")
    given = Plan().changed({"validation.folds_by": "site"})
    designed, folder = with_design(given, cohort), RunFolder(tmp_path)
    folder.keep_plan(designed)
    assert folder.kept_plan(given, {"validation.folds_by": "site"}) == designed
    with pytest.raises(BadInput, match="the run was begun with plan"):
        folder.kept_plan(given, {"validation.folds_by": "scanner"})
