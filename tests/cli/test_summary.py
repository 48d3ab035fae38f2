"""What a run of places says on the terminal and as JSON: its own numbers, few of them, and no threshold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hounsfield.cli.summary import MOST, as_object, say
from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Model, OperatingPoint
from hounsfield.core.plan import Detection, Plan, Segmentation
from hounsfield.steps.detection.evaluate import evaluate_detected
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.segmentation.evaluate import evaluate_segmented
from hounsfield.steps.study import Run
from steps.marked_cases import detected
from steps.outlined import outlined, setting


def _segmented(*structures: str, **more: object) -> Run:
    table = outlined(30, structures=structures, **more)  # type: ignore[arg-type]
    plan = Plan(task="segmentation", segmentation=Segmentation(structures=structures))
    encoding = LabelEncoding("multilabel", structures, ("structure",))
    model = Model(Path("m"), plan, encoding, ("a",), OperatingPoint((), "largest probability", "no choice"))
    evidence = evaluate_segmented(table, setting(context={"seconds": {"fit": 1.0}}))
    return Run(Path("r"), model, evidence, table, Path("r/report.html"))


def _detected(table: Detected) -> Run:
    plan = Plan(task="detection", detection=Detection(classes=table.classes))
    encoding = LabelEncoding("multilabel", table.classes, ("marked",))
    model = Model(
        Path("m"), plan, encoding, ("a",), OperatingPoint((0.25,), "1 false positive an image", "folds")
    )
    evidence = evaluate_detected(table, setting(context={"seconds": {}}))
    return Run(Path("r"), model, evidence, table, Path("r/report.html"))


def _numbers(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("  ") and not line.startswith("  !")]


def test_a_segmentation_says_dice_by_structure_and_distances(capsys: pytest.CaptureFixture[str]) -> None:
    say(_segmented("anterior", "posterior"))
    said = capsys.readouterr().out
    assert [line.split()[0] for line in _numbers(said)] == ["dice", "dice", "dice", "nsd", "hd95"]
    assert "dice anterior" in said and "positive class" not in said and "threshold" not in said


def test_of_many_structures_only_some_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    say(_segmented(*(f"rib {k}" for k in range(24))))
    said = _numbers(capsys.readouterr().out)
    assert len(said) == MOST and {"dice", "nsd", "hd95"} <= {line.split("  ")[1] for line in said}


def test_a_segmentation_as_json_has_no_threshold() -> None:
    made = as_object(_segmented("anterior", "posterior"))
    json.dumps(made, allow_nan=False)
    assert "threshold" not in made and made["task"] == "segmentation" and made["unit"] == "mm"
    assert set(made["classes"]) == {"anterior", "posterior"}
    assert made["classes"]["anterior"]["dice"]["n"] == 30 and 0.8 < made["metrics"]["dice"]["value"] < 1


def test_pixels_are_named_where_no_spacing_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    run = _segmented("vessel", unit="pixel")
    say(run)
    assert "distances in pixels" in capsys.readouterr().out and as_object(run)["unit"] == "pixels"


def test_a_detection_says_its_curve_and_the_score_of_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    run = _detected(detected(40))
    say(run)
    said = capsys.readouterr().out
    assert "froc_cpm" in said and "froc_sensitivity 1/8 FP an image" in said and "ap50" in said
    assert len(_numbers(said)) <= MOST and "positive class" not in said
    made = as_object(run)
    json.dumps(made, allow_nan=False)
    assert made["threshold"] == [0.25] and len(made["sensitivities"]) == 7
    assert (
        made["sensitivities"]["8 FP an image"]["value"] >= made["sensitivities"]["1/8 FP an image"]["value"]
    )
