"""What does not fit is said once, with the key to change, and softer where it was asked for."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hounsfield.core.case import Case, LabelEncoding
from hounsfield.core.cohort import Cohort
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Series
from hounsfield.core.plan import Augment, Export, Fit, Input, Network, Plan, Pretrain, Validation
from hounsfield.steps.article_plans import named_plan
from hounsfield.steps.design import design
from hounsfield.steps.fingerprint import Fingerprint
from hounsfield.steps.plan_check import warnings_of

CHEST: dict[str, Any] = {"modality": "DX", "body_part": "CHEST"}
ABDOMEN: dict[str, Any] = {"modality": "CT", "body_part": "ABDOMEN"}
HEAD: dict[str, Any] = {"modality": "MR", "shape": (9, 8, 8)}
WINDOW = Input(normalise="window", window=(40, 400))


def _cohort(*, classes: tuple[str, ...] = ("no", "yes"), n: int = 3, **series: Any) -> Cohort:
    cases = tuple(
        Case(f"c{k}", f"p{k}", (Series(f"i{k}", (f"{k}",), "dicom", **{"shape": (1, 64, 64), **series}),))
        for k in range(n)
    )
    return Cohort(cases, LabelEncoding("binary", classes), {c.id: "development" for c in cases}, {})


def _designed(modality: str) -> Plan:
    facts = Fingerprint(
        n=500, patients=200, size=(1, 448, 352), aspects=(1.2, 1.3), channels=1, bits=12, modality=modality,
        spacing_mm=(), imbalance=2.0, levels=(0.0, 255.0),
    )  # fmt: skip
    return design(facts, LabelEncoding("binary", ("no", "yes")))


def _said(plan: Plan, cohort: Cohort) -> dict[str, Finding]:
    found = warnings_of(plan, cohort)
    assert len({f.name for f in found}) == len(found)
    for finding in found:
        assert finding.level in ("info", "warning") and finding.n and finding.value is None
        assert re.search(r"(set|leave) [a-z]", finding.note) and not finding.note.endswith(".")
    return {f.name: f for f in found}


@pytest.mark.parametrize("modality", ["MG", "MR", "US", "OP"])
def test_a_designed_plan_fits_the_data_that_it_was_designed_from(modality: str) -> None:
    assert _said(_designed(modality), _cohort(modality=modality, shape=(1, 448, 352))) == {}


def test_a_designed_plan_does_not_mirror_a_chest() -> None:
    assert _said(_designed("DX"), _cohort(**CHEST)) == {}


@pytest.mark.parametrize("modality", ["CR", "DX", "MG", "CT", "MR", "US"])
def test_patients_are_not_turned_upside_down_unless_told(modality: str) -> None:
    cohort = _cohort(modality=modality)
    plan = Plan(augment=Augment(flip_up_down=True))
    assert _said(plan, cohort)["plan_turns_upside_down"].level == "warning"
    told = Plan().changed({"augment.flip_up_down": True})
    assert _said(told, cohort)["plan_turns_upside_down"].level == "info"


@pytest.mark.parametrize("modality", ["SM", "XC", "OP"])
def test_slides_and_photographs_have_no_up(modality: str) -> None:
    assert _said(Plan(augment=Augment(flip_up_down=True)), _cohort(modality=modality)) == {}


def test_the_articles_plan_mirrors_a_chest_and_that_is_said() -> None:
    said = _said(named_plan("article-b"), _cohort(**CHEST))["plan_mirrors"]
    assert said.level == "warning" and "heart on the right" in said.note
    assert "set augment.flip_left_right=false" in said.note


def test_a_radiograph_of_unknown_part_is_said_to_be_that() -> None:
    said = _said(named_plan("article-b"), _cohort(modality="CR"))["plan_mirrors"]
    assert said.level == "warning" and "0 of them say" in said.note


def test_a_mirrored_hand_has_only_its_marker_to_lose() -> None:
    assert (
        _said(named_plan("article-b"), _cohort(modality="CR", body_part="HAND"))["plan_mirrors"].level
        == "info"
    )


def test_scoring_mirrored_chests_is_said_too() -> None:
    plan = Plan(validation=Validation(test_time="flip"))
    assert "validation.test_time=none" in _said(plan, _cohort(**CHEST))["plan_mirrors"].note
    both = Plan(augment=Augment(flip_left_right=True), validation=Validation(test_time="flip"))
    half_told = both.changed({"augment.flip_left_right": True})
    assert _said(half_told, _cohort(**CHEST))["plan_mirrors"].level == "warning"


def test_of_an_unknown_modality_only_what_is_known_is_said() -> None:
    plan = named_plan("article-b")
    plain = _said(plan, _cohort())["plan_mirrors"]
    chest = _said(plan, _cohort(classes=("Pneumonia", "normal")))["plan_mirrors"]
    assert plain.level == "info" and "not known" in plain.note and "classes" not in plain.note
    assert chest.level == "warning" and "classes speak of the chest" in chest.note


def test_a_note_names_no_class_and_no_free_text() -> None:
    secret = "ZZTOPSECRET CHEST"
    plan = Plan(
        augment=Augment(flip_left_right=True, flip_up_down=True, fill="wrap", motion=0.1),
        input=Input(normalise="window", window=(40, 400)),
    )
    for modality in ("DX", secret, ""):
        cohort = _cohort(modality=modality, body_part=secret, classes=("no", secret))
        found = warnings_of(plan, cohort)
        assert found and not any("ZZTOP" in f.note for f in found)


@pytest.mark.parametrize(
    "name, plan, series",
    [
        ("plan_mirrors", Plan(augment=Augment(flip_left_right=True)), ABDOMEN),
        ("plan_turns_head_to_feet", Plan(augment=Augment(flip_slices=True)), HEAD),
        ("plan_turns_far", Plan(augment=Augment(rotation_deg=90)), {"modality": "MG"}),
        ("plan_wraps_anatomy", Plan(augment=Augment(shift_width=0.1, fill="wrap")), {}),
        ("plan_windows_without_units", Plan(input=WINDOW), {"modality": "MR"}),
        ("plan_discards_units", Plan(input=Input(normalise="histogram")), {"modality": "CT"}),
        ("plan_needs_spacing", Plan(input=Input(spacing_mm=(1, 1, 1))), {}),
        ("plan_imitates_mr", Plan(augment=Augment(ghosting=0.3, motion=0.1)), {"modality": "CT"}),
        ("plan_mixes_grades", Plan(augment=Augment(mixup=0.2), fit=Fit(loss="ordinal")), {}),
        ("plan_quantises_nothing", Plan(export=Export(onnx=False, int8=True)), {}),
        ("plan_unfreezes_random_weights", Plan(fit=Fit(unfreeze=((0, 0), (3, -1)))), {}),
        ("plan_freezes_random_weights", Plan(network=Network(trainable_layers=4)), {}),
        ("plan_normalises_single_images", Plan(fit=Fit(batch_size=1)), {}),
        ("plan_normalises_single_images", Plan(fit=Fit(micro_batch=1)), {}),
    ],
)  # fmt: skip
def test_each_misfit_is_found_alone(name: str, plan: Plan, series: dict[str, Any]) -> None:
    assert list(_said(plan, _cohort(**series))) == [name]


@pytest.mark.parametrize(
    "plan, series",
    [
        (Plan(augment=Augment(fill="wrap")), {}),
        (Plan(augment=Augment(rotation_deg=90)), {"modality": "SM"}),
        (Plan(input=WINDOW), {"modality": "CT"}),
        (Plan(input=WINDOW), {}),
        (Plan(input=Input(normalise="histogram")), {"modality": "MR"}),
        (Plan(input=Input(spacing_mm=(1, 1, 1))), {"spacing_mm": (1.0, 0.5, 0.5)}),
        (Plan(augment=Augment(ghosting=0.3)), {"modality": "MR"}),
        (Plan(augment=Augment(mixup=0.2)), {}),
        (Plan(network=Network(trainable_layers=4, weights="pretrained"), fit=Fit(unfreeze=((0, 0),))), {}),
        (Plan(network=Network(trainable_layers=4), pretrain=Pretrain(epochs=3)), {}),
        (Plan(network=Network(name="vgg16"), fit=Fit(batch_size=1)), {}),
        (Plan(augment=Augment(flip_left_right=True)), {"modality": "MG"}),
        (Plan(augment=Augment(flip_slices=True)), {"modality": "MR"}),
        (named_plan("article-a"), CHEST),
        (named_plan("article-c"), CHEST),
    ],
)
def test_what_fits_is_passed_over(plan: Plan, series: dict[str, Any]) -> None:
    assert _said(plan, _cohort(**series)) == {}


def test_a_contradiction_is_a_warning_whoever_wrote_it() -> None:
    told = Plan().changed({"network.trainable_layers": 2})
    assert _said(told, _cohort())["plan_freezes_random_weights"].level == "warning"


def test_a_batch_normalised_vgg_is_told_from_the_plain_one() -> None:
    plan = Plan(network=Network(name="timm:vgg16_bn"), fit=Fit(batch_size=1))
    assert "plan_normalises_single_images" in _said(plan, _cohort())
