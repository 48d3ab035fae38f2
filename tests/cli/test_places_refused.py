"""What is not offered for models of places is refused in one sentence, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.model import Model, OperatingPoint
from hounsfield.core.plan import Detection, Plan, Segmentation
from hounsfield.io.model_store import read_classifier, write_model
from hounsfield.steps.robustness import robustness
from phantoms import hu

PLANS = {
    "segmentation": Plan(task="segmentation", segmentation=Segmentation(structures=("liver",))),
    "detection": Plan(task="detection", detection=Detection(classes=("nodule",))),
}


@pytest.fixture(params=sorted(PLANS))
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    home = tmp_path / "run" / "model"
    home.mkdir(parents=True)
    (home / "member-0.safetensors").write_bytes(b"weights")
    plan = PLANS[request.param]
    encoding = LabelEncoding("multilabel", ("liver",), ("structure",))
    made = Model(home, plan, encoding, ("member-0.safetensors",), OperatingPoint((), "none", "no choice"))
    write_model(made)
    return made


def test_explaining_and_exporting_are_of_classifiers(model: Model, tmp_path: Path) -> None:
    run, task = tmp_path / "run", model.plan.task
    for words in (("explain", run, tmp_path, "--out", tmp_path / "out"), ("export", run)):
        ended = hu(*words)
        assert ended.code == 3 and f"holds a model of {task}" in ended.said and "classify" in ended.said
    assert hu("export", run, "--out", tmp_path / "out").code == 3
    assert not (tmp_path / "out").exists()
    with pytest.raises(BadInput, match="explanations are offered"):
        read_classifier(run, what="explanations are")


def test_worse_images_are_scored_by_classifiers(model: Model) -> None:
    with pytest.raises(BadInput, match=f"the model is one of {model.plan.task}"):
        robustness(model, (), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["--masks", "--marks"])
def test_an_audit_of_masks_is_made_before_training(option: str, tmp_path: Path) -> None:
    ended = hu("audit", tmp_path, option, "masks")
    assert ended.code == 3 and "hu train --task audits" in ended.said
