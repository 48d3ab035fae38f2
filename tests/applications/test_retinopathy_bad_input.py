"""Photographs that nobody could grade are refused with their reason; eyes unnamed or taken twice are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hounsfield.applications.retinopathy.cameras import CAMERAS
from hounsfield.applications.retinopathy.eye import sample_anatomies
from hounsfield.applications.retinopathy.photograph import take_photograph
from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.cohort import DEVELOPMENT, Cohort
from hounsfield.core.errors import BadInput
from hounsfield.core.index import Series
from hounsfield.io.pixel_store import write_pixels
from hounsfield.steps.audit import audit
from hounsfield.steps.audits.eyes import eye_of, repeated, sideless
from hounsfield.steps.gradability import gradability, gradable_cases

GRADES = LabelEncoding("multiclass", ("0", "1", "2"), ("grade",))


def picture(number: int, fault: str = "", *, site: str = "A", grade: int = 2) -> NDArray[np.uint8]:
    pair = sample_anatomies(np.random.default_rng(number), age=60, seed=(number,))
    taken = take_photograph(
        pair["R"],
        CAMERAS[site],  # type: ignore[index]
        grade=grade,
        fault=fault,  # type: ignore[arg-type]
        seed=(number, 1),
    )
    return np.ascontiguousarray(np.moveaxis(taken.pixels, 2, 0))[:, None]


@pytest.mark.parametrize(
    "fault, site, reason",
    [
        ("blurred", "A", "blurred: fine detail"),
        ("dark", "B", "too dark"),
        ("bright", "C", "overexposed"),
        ("off centre", "A", "part of the field is not lit"),
        ("eyelid", "B", "something covers the field"),
    ],
)
def test_a_spoiled_photograph_is_refused_with_its_reason(fault: str, site: str, reason: str) -> None:
    judged = gradability(picture(11, fault, site=site))
    assert not judged.gradable and judged.reason.startswith(reason)


@pytest.mark.parametrize("site, grade", [("A", 0), ("B", 3), ("C", 4)])
def test_a_good_photograph_is_gradable_however_ill_the_eye(site: str, grade: int) -> None:
    judged = gradability(picture(12, site=site, grade=grade))
    assert judged == gradability(picture(12, site=site, grade=grade))
    assert judged.gradable and judged.reason == "" and judged.measures["fine"] > 0.65


def test_a_photograph_cut_to_less_than_its_circle_is_refused() -> None:
    half = np.ascontiguousarray(picture(13)[:, :, :300])
    assert gradability(half).reason.startswith("the field of view is cut off: ")


def test_resolution_and_depth_do_not_change_the_judgement() -> None:
    whole = picture(14)
    coarse = whole[:, :, ::2, ::2]
    deep = whole.astype(np.uint16) * 257
    assert gradability(coarse).gradable and gradability(deep).gradable
    assert gradability(deep).measures["brightness"] == pytest.approx(
        gradability(whole).measures["brightness"], abs=0.01
    )


def test_other_images_are_refused() -> None:
    with pytest.raises(BadInput, match="expected one 2D photograph"):
        gradability(np.zeros((1, 20, 64, 64), np.uint8))
    assert "no circle of light" in gradability(np.full((3, 1, 64, 64), 200, np.uint8)).reason


@pytest.mark.realdata
def test_real_photographs_of_a_clinic_are_gradable(real_data: Path) -> None:
    from PIL import Image

    for path in sorted((real_data / "drive" / "training" / "images").glob("*.tif"))[::4]:
        pixels = np.asarray(Image.open(path))
        assert gradability(np.ascontiguousarray(np.moveaxis(pixels, 2, 0))[:, None]).gradable, path.name


def test_ungradable_cases_are_left_out_and_counted_by_reason(tmp_path: Path) -> None:
    pictures = {"good": picture(15), "dark": picture(16, "dark"), "blurred": picture(17, "blurred")}
    store = write_pixels(tmp_path, ((k, v, ()) for k, v in pictures.items()), state="x")
    cases = [case(name, "p") for name in pictures]
    steps: list[tuple[int, int]] = []
    kept, judged, finding = gradable_cases(cases, store, progress=lambda *s: steps.append(s))
    assert [c.id for c in kept] == ["good"] and judged["dark"].reason.startswith("too dark")
    assert finding.level == "warning" and finding.value == 2 and steps[-1] == (3, 3)
    assert "2 of 3 photographs cannot be graded" in finding.note and "too dark: 1" in finding.note


def case(name: str, patient: str, *, side: str = "R", day: str = "20240101", grade: int = 0) -> Case:
    image = Series(
        name, (name,), "dicom", (1, 8, 8), 3, modality="OP", laterality=side, study_date=day, study="1.2.3"
    )
    return Case(name, patient, (image,), Label((grade,)), {"laterality": side, "modality": "OP"})


def findings(cases: list[Case]) -> dict[str, str]:
    part = {c.id: DEVELOPMENT for c in cases}
    cohort = Cohort(tuple(cases), GRADES, part, {c.id: int(c.patient == "p") for c in cases})
    return {f.name: f.note for f in audit(cohort, ()) if f.level == "warning"}


def test_photographs_without_a_side_are_told() -> None:
    cases = [case("a", "p"), case("b", "p", side="L"), case("c", "q", side=""), case("d", "q", side="B")]
    assert [c.id for c in sideless(cases)] == ["c", "d"]
    assert findings(cases)["laterality_missing"].startswith(
        "2 of 4 photographs do not say which eye they show"
    )


@pytest.mark.parametrize(
    "said, eye", [("OD", "R"), ("left", "L"), ("R", "R"), ("os ", "L"), ("U", ""), ("1", "")]
)
def test_a_table_may_name_the_eye_in_the_clinics_ways(said: str, eye: str) -> None:
    plain = case("a", "p", side="")
    assert eye_of(replace(plain, groups={"laterality": said})) == eye


def test_an_eye_photographed_twice_on_one_day_is_told() -> None:
    cases = [
        case("a", "p"),
        case("b", "p", grade=1),
        case("c", "p", side="L"),
        case("d", "p", day="20240201"),
        case("e", "q"),
    ]
    assert [[c.id for c in group] for group in repeated(cases)] == [["a", "b"]]
    note = findings(cases)["eye_photographed_twice"]
    assert "1 eye(s) were photographed more than once on one day (2 photographs" in note
    assert "1 of them with answers that differ" in note and "p" not in note.split()


def test_other_modalities_and_unknown_patients_are_not_asked_for_their_eye() -> None:
    mammogram = replace(case("a", "p", side="").images[0], modality="MG")
    others = [replace(case(n, "p", side=""), images=(replace(mammogram, id=n),)) for n in "ab"]
    assert not sideless(others) and not repeated(others)
    unknown = [replace(case(n, f"image {n}"), patient_known=False, patient="x") for n in "ab"]
    assert not repeated(unknown)
    assert not {"laterality_missing", "eye_photographed_twice"} & set(findings(others))
