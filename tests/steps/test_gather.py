"""Rows become answers and groups: classes in a sensible order, nothing guessed, nothing invented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.cohort import Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Index, Series
from hounsfield.steps.gather import Question, gather
from phantoms import write_csv


def _gathered(
    tmp_path: Path, rows: list[dict[str, Any]], series: dict[str, Any] | None = None, **asked: Any
) -> Cohort:
    """Images named 0.png, 1.png … for the rows of a table, joined on its column "file"."""
    rows = [{"file": f"{n}.png", **r} for n, r in enumerate(rows)]
    images = tuple(
        Series(f"i{n}", (f"{n}.png",), "raster", (1, 8, 8), **(series or {})) for n in range(len(rows))
    )
    question = {"target": ("y",), "folds": 2, "test_fraction": 0.0, **asked}
    return gather(Index("x", images), Question(labels=str(write_csv(tmp_path / "t.csv", rows)), **question))


def _ys(*values: Any, times: int = 4) -> list[dict[str, Any]]:
    return [{"y": v} for v in values * times]


@pytest.mark.parametrize(
    "values, classes",
    [
        (("10", "9", "1"), ("1", "9", "10")),
        (("2.5", "-1"), ("-1", "2.5")),
        (("malignant", "benign"), ("benign", "malignant")),
        (("Abnormal", "normal"), ("normal", "Abnormal")),
        (("a", "No Finding"), ("No Finding", "a")),
        (("b", "C", "a"), ("a", "b", "C")),
        (("yes", "no"), ("no", "yes")),
    ],
)
def test_numbers_are_sorted_by_size_and_health_comes_first(
    tmp_path: Path, values: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    encoding = _gathered(tmp_path, _ys(*values)).encoding
    assert encoding.classes == classes
    assert encoding.kind == ("binary" if len(classes) == 2 else "multiclass")


def test_each_case_bears_the_answer_of_its_row(tmp_path: Path) -> None:
    cohort = _gathered(tmp_path, _ys("b", "a", "c"))
    assert [cohort.encoding.classes[c.answer.positive[0]] for c in cohort.cases] == ["b", "a", "c"] * 4  # type: ignore[union-attr]


def test_one_class_is_set_against_the_rest(tmp_path: Path) -> None:
    cohort = _gathered(tmp_path, _ys("a", "b", "c"), positive="a")
    assert cohort.encoding == LabelEncoding("binary", ("not a", "a"), ("y",))
    assert cohort.class_counts() == {"not a": 8, "a": 4}


def test_only_the_classes_asked_for_are_kept_in_their_order(tmp_path: Path) -> None:
    cohort = _gathered(tmp_path, _ys("a", "b", "c"), classes=("c", "a"))
    assert cohort.encoding.classes == ("c", "a") and len(cohort.cases) == 8
    assert any("4 image(s) of classes that were not asked for" in n for n in cohort.notes)


def test_kept_classes_and_one_against_the_rest_go_together(tmp_path: Path) -> None:
    cohort = _gathered(tmp_path, _ys("a", "b", "c"), classes=("a", "b"), positive="b")
    assert cohort.class_counts() == {"not b": 4, "b": 4}


def test_an_unknown_class_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match='did you mean "COVID-19"'):
        _gathered(tmp_path, _ys("COVID-19", "none"), positive="COVID19")


def test_several_labels_in_one_cell_make_it_multi_label(tmp_path: Path) -> None:
    cohort = _gathered(tmp_path, _ys("a|b", "b", "none", "c;a"))
    assert cohort.encoding.kind == "multilabel" and cohort.encoding.classes == ("a", "b", "c")
    assert [c.answer.positive for c in cohort.cases[:4]] == [(0, 1), (1,), (), (2, 0)]  # type: ignore[union-attr]


def test_one_of_several_labels_is_set_against_the_rest(tmp_path: Path) -> None:
    assert _gathered(tmp_path, _ys("a|b", "b", "none"), positive="a").class_counts() == {"not a": 8, "a": 4}


def test_a_column_a_finding_is_multi_label(tmp_path: Path) -> None:
    rows = [{"mass": a, "fluid": b} for a, b in (("1", "0"), ("0", "yes"), ("1.0", "1"), ("0", "no"))] * 4
    cohort = _gathered(tmp_path, rows, target=("mass", "fluid"))
    assert cohort.encoding == LabelEncoding("multilabel", ("mass", "fluid"), ("mass", "fluid"))
    assert [c.answer.positive for c in cohort.cases[:4]] == [(0,), (1,), (0, 1), ()]  # type: ignore[union-attr]


def test_a_column_that_is_not_yes_and_no_is_not_taken_for_a_finding(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r'column "stage" of t\.csv holds more than yes and no'):
        _gathered(tmp_path, [{"mass": "1", "stage": s} for s in "0123" * 3], target=("mass", "stage"))


@pytest.mark.parametrize("blank", ["", "NaN", "NA", "n/a"])
def test_rows_without_an_answer_are_left_out_and_counted(tmp_path: Path, blank: str) -> None:
    cohort = _gathered(tmp_path, _ys("a", "b", blank))
    assert cohort.encoding.classes == ("a", "b") and len(cohort.cases) == 8
    assert "4 image(s) without a label were left out" in cohort.notes


@pytest.mark.parametrize(
    "age, band",
    [
        ("0", "under 20"),
        ("19.9", "under 20"),
        ("20", "20-29"),
        ("079Y", "70-79"),
        ("80", "80 and over"),
        ("101", "80 and over"),
        ("", ""),
        ("nan", ""),
        ("old", ""),
        ("inf", ""),
    ],
)
def test_ages_fall_into_bands(tmp_path: Path, age: str, band: str) -> None:
    cohort = _gathered(tmp_path, [{"y": v, "Age": age} for v in "ab" * 3])
    assert {c.groups["age band"] for c in cohort.cases} == {band}


def test_the_header_gives_what_the_table_does_not_say(tmp_path: Path) -> None:
    rows = [{"y": v, "gender": g} for v, g in (("a", "F"), ("b", ""))] * 3
    cohort = _gathered(tmp_path, rows, {"sex": "M", "age_years": 44.0, "site": "Clinic"})
    assert [c.groups["sex"] for c in cohort.cases[:2]] == ["F", "M"]
    assert {(c.groups["age band"], c.groups["site"]) for c in cohort.cases} == {("40-49", "Clinic")}


@pytest.mark.parametrize(
    "column", ["patientid", "Patient_ID", "Patient ID", "subject", "participant_id", "MRN"]
)
def test_the_patient_column_is_found(tmp_path: Path, column: str) -> None:
    cohort = _gathered(tmp_path, [{"y": "ab"[n % 2], column: f"p{n // 2}"} for n in range(12)])
    assert len({c.patient for c in cohort.cases}) == 6 and cohort.patients_known


def test_a_named_patient_column_overrides_the_header(tmp_path: Path) -> None:
    rows = [{"y": "ab"[n % 2], "woman": f"w{n}"} for n in range(12)]
    cohort = _gathered(tmp_path, rows, {"patient": "all the same"}, patient="Woman")
    assert len({c.patient for c in cohort.cases}) == 12


def test_images_without_a_patient_stand_alone_and_say_so(tmp_path: Path) -> None:
    cohort = _gathered(tmp_path, _ys("a", "b"))
    assert len({c.patient for c in cohort.cases}) == 8 and not cohort.patients_known
    assert _gathered(tmp_path, _ys("a", "b"), one_image_per_patient=True).patients_known


def test_further_groups_are_columns_of_the_table(tmp_path: Path) -> None:
    rows = [{"y": "ab"[n % 2], "Dose": str(n % 3)} for n in range(12)]
    assert {c.groups["dose"] for c in _gathered(tmp_path, rows, groups=("dose",)).cases} == {"0", "1", "2"}
    with pytest.raises(BadInput, match='did you mean "Dose"'):
        _gathered(tmp_path, rows, groups=("doze",))


def test_a_target_of_many_values_is_no_class(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="80 different values"):
        _gathered(tmp_path, [{"y": f"v{n}"} for n in range(80)])


def test_a_models_classes_are_used_on_other_data(tmp_path: Path) -> None:
    index = Index(
        "x", tuple(Series(f"i{n}", (f"{n}.png",), "raster", (1, 8, 8), label="ac"[n % 2]) for n in range(6))
    )
    encoding = LabelEncoding("multiclass", ("c", "b", "a"), ("label",))
    cohort = gather(index, Question(), encoding=encoding, split=False)
    assert [c.answer.positive for c in cohort.cases[:2]] == [(2,), (0,)] and len(cohort.test) == 6  # type: ignore[union-attr]
    with pytest.raises(BadInput, match='"c" is not among the classes'):
        gather(index, Question(), encoding=LabelEncoding("binary", ("b", "a")), split=False)
    against = gather(index, Question(), encoding=LabelEncoding("binary", ("not a", "a")), split=False)
    assert against.class_counts() == {"not a": 3, "a": 3}


@pytest.mark.parametrize(
    "disease, health",
    [
        ("covid", "non-covid"),
        ("COVID-19", "NonCOVID"),
        ("CT_COVID", "CT_NonCOVID"),
        ("cancer", "no cancer"),
        ("cancer", "nocancer"),
        ("disease", "no disease"),
        ("with effusion", "without effusion"),
        ("affected", "unaffected"),
        ("benign", "normal"),
        ("malignant", "Benign"),
        ("MildDemented", "NonDemented"),
        ("glioma", "no_tumor"),
        ("AML", "healthy control"),
        ("abnormal", "normal"),
        ("not normal", "normal"),
        ("Unhealthy", "healthy"),
        ("non-Hodgkin lymphoma", "normal"),
        ("nodule", "negative"),
        ("AD", "CN"),
    ],
)
def test_the_healthy_class_is_negative_and_the_note_names_the_other(
    tmp_path: Path, disease: str, health: str
) -> None:
    for values in ((disease, health), (health, disease)):
        cohort = _gathered(tmp_path, _ys(*values))
        assert cohort.encoding.classes == (health, disease)
        assert f"positive class: {disease} (change it with --positive)" in cohort.notes


def test_only_a_binary_task_that_was_left_to_us_names_its_positive_class(tmp_path: Path) -> None:
    for asked in ({"y": "abc"}, {"y": "ab", "positive": "a"}):
        cohort = _gathered(tmp_path, _ys(*asked.pop("y")), **asked)
        assert not any("change it with --positive" in n for n in cohort.notes)


def test_images_of_one_study_stay_together_where_the_patient_is_blank() -> None:
    images = tuple(
        Series(f"i{n}", (f"{n}.dcm",), "dicom", (1, 8, 8), label="ab"[n // 2 % 2], study=f"1.2.{n // 2}")
        for n in range(24)
    )
    cohort = gather(Index("x", images), Question(folds=2))
    assert len({c.patient for c in cohort.cases}) == 12 and not cohort.patients_known


@pytest.mark.parametrize("unknown", ["nan", "NA", "n/a", "None", "unknown", ""])
def test_an_unknown_patient_is_nobody_and_not_one_shared_patient(tmp_path: Path, unknown: str) -> None:
    rows = [{"y": "ab"[n % 2], "patient": unknown if n < 4 else f"p{n}"} for n in range(12)]
    cohort = _gathered(tmp_path, rows)
    assert len({c.patient for c in cohort.cases}) == 12
    assert [c.patient_known for c in cohort.cases] == [False] * 4 + [True] * 8


def test_a_patient_column_without_a_table_is_refused() -> None:
    images = tuple(Series(f"i{n}", (f"{n}.png",), "raster", (1, 8, 8), label="ab"[n % 2]) for n in range(8))
    with pytest.raises(BadInput, match="--patient who was given without --labels"):
        gather(Index("x", images), Question(patient="who", folds=2))


def test_targets_are_found_whatever_their_case(tmp_path: Path) -> None:
    rows = [{"Nodule": a, "Mass": b} for a, b in (("1", "0"), ("0", "1"))] * 4
    encoding = _gathered(tmp_path, rows, target=("nodule", "mass")).encoding
    assert encoding == LabelEncoding("multilabel", ("Nodule", "Mass"), ("Nodule", "Mass"))
    small = [{"nodule": r["Nodule"], "mass": r["Mass"]} for r in rows]
    table = write_csv(tmp_path / "other.csv", [{"file": f"{n}.png", **r} for n, r in enumerate(small)])
    images = tuple(Series(f"i{n}", (f"{n}.png",), "raster", (1, 8, 8)) for n in range(8))
    asked = Question(labels=str(table), target=("nodule", "mass"))
    there = gather(Index("x", images), asked, encoding=encoding, split=False)
    assert there.class_counts() == {"Nodule": 4, "Mass": 4}


@pytest.mark.parametrize("blank", ["", "NaN", "n/a"])
def test_a_blank_finding_is_no_answer_rather_than_no_finding(tmp_path: Path, blank: str) -> None:
    rows = [{"a": a, "b": b} for a, b in (("1", "0"), ("0", "1"), ("0", blank))] * 4
    cohort = _gathered(tmp_path, rows, target=("a", "b"))
    assert len(cohort.cases) == 8
    assert "4 image(s) with a blank in a target column were left out" in cohort.notes


def test_the_target_and_the_groups_are_no_ids(tmp_path: Path) -> None:
    rows = [{"Dose": str(n), "age": str(n), "y": str(n % 2), "name": f"{11 - n}"} for n in range(12)]
    images = tuple(Series(f"i{n}", (f"{n}.png",), "raster", (1, 8, 8)) for n in range(12))
    table = str(write_csv(tmp_path / "t.csv", rows))
    question = Question(labels=table, target=("Y",), groups=("Dose",), folds=2, test_fraction=0)
    cohort = gather(Index("x", images), question)
    assert [c.answer.positive[0] for c in cohort.cases] == [(11 - n) % 2 for n in range(12)]  # type: ignore[union-attr]


def test_a_column_of_ids_is_refused_without_printing_one(tmp_path: Path) -> None:
    rows = [{"y": f"DOE-{n}"} for n in range(30)]
    for asked in ({}, {"positive": "Smith"}):
        with pytest.raises(BadInput, match="AAA-9") as caught:
            _gathered(tmp_path, rows, **asked)
        assert "DOE" not in str(caught.value)
    images = tuple(Series(f"i{n}", (f"{n}.png",), "raster", (1, 8, 8), label=f"DOE-{n}") for n in range(30))
    with pytest.raises(BadInput, match='"AAA-9" is not among the classes') as caught:
        gather(Index("x", images), Question(), encoding=LabelEncoding("binary", ("b", "a")), split=False)
    assert "DOE" not in str(caught.value)


def test_other_data_may_lack_the_positive_class_of_a_model() -> None:
    def there(*labels: str, encoding: LabelEncoding | None = None, **asked: Any) -> Cohort:
        images = tuple(
            Series(f"i{n}", (f"{n}.png",), "raster", (1, 8, 8), label=a) for n, a in enumerate(labels)
        )
        return gather(Index("x", images), Question(**asked), encoding=encoding, split=False)

    model = LabelEncoding("binary", ("not COVID-19", "COVID-19"))
    cohort = there("flu", "normal", encoding=model)
    assert cohort.class_counts() == {"not COVID-19": 2, "COVID-19": 0}
    assert 'no case has the label "COVID-19" of the model' in cohort.notes
    with pytest.raises(BadInput, match='did you mean "covid19"'):  # only spelled in another way
        there("flu", "covid19", encoding=model)
    with pytest.raises(BadInput, match='no case has the label "COVID-19"'):
        there("flu", "normal", positive="COVID-19")
