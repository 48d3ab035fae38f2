"""Model cards have the shape that others read, agree with model.json and claim nothing that nobody knows."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration, Model, OperatingPoint
from hounsfield.core.plan import Plan
from hounsfield.io.model_store import write_model
from hounsfield.steps.canonical import plain
from hounsfield.steps.card_facts import OPEN
from hounsfield.steps.chai_card import NAMESPACE, chai_markdown, chai_xml
from hounsfield.steps.model_card import readme
from hounsfield.steps.report import report
from hounsfield.steps.signature import verify
from hounsfield.steps.standards import Given
from steps.report_examples import binary, rich

ANSWERS = {"intended_use": Given("Triage & <second> reading", "A. Reader", "2026-03-14")}


def _model(folder: Path) -> Model:
    encoding = LabelEncoding("binary", ("benign", "malignant"), ("finding",))
    point = OperatingPoint((0.42,), "youden", "validation folds", 1000, 0.37, 0.49)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "member-0.safetensors").write_bytes(b"weights")
    model = Model(
        folder,
        Plan(),
        encoding,
        ("member-0.safetensors",),
        point,
        Calibration("temperature", 1.3, 0.1),
        "0badc0de",
    )
    write_model(model)
    return model


def _front(text: str) -> dict[str, object]:
    return dict(yaml.safe_load(text.split("---\n")[1]))


def test_hugging_face_reads_the_card_and_finds_every_metric(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    evidence = plain(rich())
    card = hub.ModelCard(readme(_model(tmp_path), evidence, {}))
    assert card.data.license == "unknown" and card.data.library_name == "hounsfield"
    measured = [f for f in evidence["metrics"] if f["value"] is not None and not f["group"]]
    assert len(card.data.eval_results) == len(measured) > 10
    auroc = next(r for r in card.data.eval_results if r.metric_type == "roc_auc")
    assert auroc.metric_value == 0.913 and "95 % CI 0.872 to 0.946" in auroc.metric_name
    assert auroc.metric_args["low"] == 0.872 and auroc.dataset_split == "test" and auroc.verified is False


def test_the_card_agrees_with_the_model(tmp_path: Path) -> None:
    model = _model(tmp_path)
    facts = json.loads((tmp_path / "model.json").read_text())
    for text in (readme(model, plain(binary()), {}), chai_markdown(model, plain(binary()), {})):
        assert facts["plan_digest"] in text and facts["data_digest"] in text
        assert "0.4200 (95 % CI 0.3700 to 0.4900)" in text and "temperature 1.300" in text
        assert all(name in text for name in facts["encoding"]["classes"])


def test_phantom_models_say_so_in_every_card(tmp_path: Path) -> None:
    model, evidence = _model(tmp_path), plain(binary())
    assert "phantom-data" in _front(readme(model, evidence, {}))["tags"]  # type: ignore[operator]
    for text in (
        readme(model, evidence, {}),
        chai_markdown(model, evidence, {}),
        chai_xml(model, evidence, {}),
    ):
        assert "PHANTOM DATA" in text


def test_what_nobody_said_is_left_to_a_human(tmp_path: Path) -> None:
    model, evidence = _model(tmp_path), plain(binary())
    assert readme(model, evidence, {}).count(OPEN) >= 8 and chai_xml(model, evidence, {}).count(OPEN) >= 12
    told = readme(model, evidence, ANSWERS)
    assert "Triage & <second> reading (A. Reader, 2026-03-14)" in told
    assert told.count(OPEN) == readme(model, evidence, {}).count(OPEN) - 1


def test_the_chai_card_has_the_elements_of_the_schema_in_their_order(tmp_path: Path) -> None:
    tree = ElementTree.fromstring(chai_xml(_model(tmp_path), plain(rich()), ANSWERS))
    space = f"{{{NAMESPACE}}}"
    assert tree.tag == f"{space}AppliedModelCard"
    assert [e.tag.removeprefix(space) for e in tree] == [
        "BasicInfo", "ReleaseInfo", "ModelSummary", "UsesAndDirections", "Warnings", "TrustIngredients",
        "KeyMetrics", "Resources", "Bibliography",
    ]  # fmt: skip
    uses = tree.find(f"{space}UsesAndDirections/{space}IntendedUseAndWorkflow")
    assert uses is not None and uses.text == "Triage & <second> reading (A. Reader, 2026-03-14)"
    for metric in tree.find(f"{space}KeyMetrics") or ():
        parts = [e.tag.removeprefix(space) for e in metric]
        assert parts == ["MetricGoal", "Results", "Interpretation", "TestType", "TestingDataDescription",
                         "ValidationProcessAndJustification"]  # fmt: skip
        for value in metric.iter(f"{space}ValueJson"):
            assert json.loads(value.text or "")["kind"] in ("estimate_ci", "single")
    labels = [e.text for e in tree.iter(f"{space}Label")]
    assert "auroc" in labels and "auroc (site=A)" in labels and "calibration slope" in labels


def test_cards_stand_in_the_model_folder_and_are_signed(tmp_path: Path) -> None:
    _model(tmp_path / "model")
    report(binary(), (), tmp_path)
    assert {"README.md", "chai.md", "chai.xml"} <= {p.name for p in (tmp_path / "model").iterdir()}
    assert {"model/README.md", "model/model.json", "model/member-0.safetensors"} <= set(
        verify(tmp_path).intact
    )


def test_a_card_of_a_bare_run_measures_nothing(tmp_path: Path) -> None:
    from hounsfield.core.evidence import Evidence

    text = readme(_model(tmp_path), plain(Evidence("Bare")), {})
    assert "model-index" not in _front(text) and "Not measured." in text
    ElementTree.fromstring(chai_xml(_model(tmp_path), plain(Evidence("Bare \x00\x1b")), {}))
