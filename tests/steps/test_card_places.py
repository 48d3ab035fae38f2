"""Cards of models of places name structures, grid, cleaning and score, and nothing of a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration, Cleaning, Model, OperatingPoint
from hounsfield.core.plan import Detection, Grid, Plan, Segmentation
from hounsfield.io.model_store import write_model
from hounsfield.steps.canonical import plain
from hounsfield.steps.chai_card import chai_markdown, chai_xml
from hounsfield.steps.model_card import readme
from hounsfield.steps.segmentation.evaluate import evaluate_segmented
from steps.outlined import outlined, setting

GRID = Grid(
    channels=("t1", "flair"), normalise=("zscore", "zscore"), spacing_mm=(2.0, 0.9, 0.9),
    patch=(8, 32, 32), window=(8, 64, 64),
)  # fmt: skip
OF_CLASSES = ("image classification", "image-classification", "alibration", "multilabel", "probabilities")


def _model(folder: Path, plan: Plan, classes: tuple[str, ...], **more: Any) -> Model:
    model = Model(
        folder, plan, LabelEncoding("multilabel", classes, ("structure",)), ("member-0.safetensors",),
        more.pop("point", OperatingPoint((), "largest probability", "no choice")), Calibration(), "0badc0de",
        **more,
    )  # fmt: skip
    write_model(model)
    return model


def _segmenter(folder: Path, **more: Any) -> Model:
    names = ("anterior", "posterior")
    plan = Plan(task="segmentation", grid=GRID, segmentation=Segmentation(structures=names, **more))
    cleaning = Cleaning((True, False), (0.0, 12.5), (False, False), ("anterior: kept",))
    return _model(folder, plan, names, cleaning=cleaning)


def _detector(folder: Path) -> Model:
    plan = Plan(task="detection", grid=GRID, detection=Detection(classes=("nodule",)))
    point = OperatingPoint((0.3125,), "1 false positive an image", "validation folds", n=48)
    return _model(folder, plan, ("nodule",), point=point)


def _cards(model: Model, content: dict[str, Any]) -> dict[str, str]:
    return {
        "README.md": readme(model, content, {}),
        "chai.md": chai_markdown(model, content, {}),
        "chai.xml": chai_xml(model, content, {}),
        "card.md": (model.directory / "card.md").read_text(),
    }


def _evidence() -> dict[str, Any]:
    tables = {
        "classes": {"development": {"anterior": 50, "posterior": 60}},
        "flow": [["development", 60, 60, ""]],
    }
    return dict(plain(evaluate_segmented(outlined(), setting(tables=tables))))


def test_a_segmenters_cards_name_structures_grid_and_cleaning(tmp_path: Path) -> None:
    cards = _cards(_segmenter(tmp_path), _evidence())
    for name, text in cards.items():
        assert "anterior" in text and "posterior" in text, name
        assert "2×0.9×0.9 mm" in text and "8×64×64" in text and "t1, flair" in text, name
        assert not [word for word in OF_CLASSES if word in text], name
    for name in ("README.md", "chai.md", "chai.xml"):
        assert "anterior: the largest component only; posterior: components below 12.5 mm³" in cards[name]
        assert "structure of the largest probability" in cards[name]
        assert "development: 60 cases (50 with anterior, 60 with posterior)" in cards[name]
    front = yaml.safe_load(cards["README.md"].split("---\n")[1])
    assert front["pipeline_tag"] == "image-segmentation" and "dice" in front["metrics"]
    assert front["model-index"][0]["results"][0]["task"]["type"] == "image-segmentation"
    labels = {
        e.text or "" for e in ElementTree.fromstring(cards["chai.xml"]).iter() if e.tag.endswith("Label")
    }
    assert "dice" in labels and any(label.startswith("dice (anterior) (site=") for label in labels)


def test_a_detectors_cards_name_classes_and_the_score_of_a_call(tmp_path: Path) -> None:
    cards = _cards(_detector(tmp_path), {"context": {"task": "detection", "evaluated_on": "test"}})
    for name, text in cards.items():
        assert "nodule" in text and "0.3125" in text and "1 false positive an image" in text, name
        assert "n = 48" in text, name
        assert not [word for word in OF_CLASSES if word in text], name
    assert yaml.safe_load(cards["README.md"].split("---\n")[1])["pipeline_tag"] == "object-detection"


def test_regions_are_told_by_their_labels(tmp_path: Path) -> None:
    model = _segmenter(tmp_path, regions=((1, 2), (2,)), region_names=("whole", "core"))
    text = readme(model, {}, {})
    assert "whole = anterior + posterior; core = posterior" in text and "probability of 0.5" in text


@pytest.mark.parametrize("spacing", [(), (1.0, 1.0, 1.0)])
def test_pictures_without_a_spacing_keep_their_voxels(tmp_path: Path, spacing: tuple[float, ...]) -> None:
    plan = Plan(
        task="segmentation", grid=Grid(spacing_mm=spacing), segmentation=Segmentation(structures=("vessel",))
    )
    text = readme(_model(tmp_path, plan, ("vessel",)), {}, {})
    assert ("its own voxels" in text) == (not spacing) and ("1×1×1 mm" in text) == bool(spacing)
