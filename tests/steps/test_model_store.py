"""A model is text, safetensors and ONNX: nothing is pickled, all comes back, stale files are unused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.model import Calibration, Form, Model, OperatingPoint, Referral, Typicality
from hounsfield.core.plan import Plan
from hounsfield.io.model_store import digest_of, form_content, read_model, write_model
from phantoms import trained


def test_a_model_folder_holds_text_safetensors_and_onnx_only() -> None:
    files = [p for p in (trained().run / "model").rglob("*") if p.is_file()]
    assert {p.suffix for p in files} <= {".json", ".md", ".xml", ".safetensors", ".onnx"}
    for path in files:
        raw = path.read_bytes()
        assert not raw.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04"))
        if path.suffix == ".safetensors":
            header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
            assert header and b"pickle" not in raw[: 8 + len(json.dumps(header))]
        if path.suffix == ".onnx":
            onnx.checker.check_model(onnx.load_from_string(raw))


def test_nothing_in_the_run_is_pickled() -> None:
    for path in trained().run.rglob("*.npz"):
        with np.load(path, allow_pickle=False) as z:
            assert all(z[k].dtype.kind != "O" for k in z.files)


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_encoding_threshold_and_calibration_come_back(tmp_path: Path, kind: str) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    model = Model(
        directory=tmp_path,
        plan=Plan(seed=7, reasons={"seed": "ünïcode"}),
        encoding=LabelEncoding(kind, ("ja", "nein"), ("befund",)),
        members=("a.safetensors", "b.safetensors"),
        operating_point=OperatingPoint((0.123456789012345,), "youden", "folds", 9, 0.1, None),
        calibration=Calibration("temperature and bias", 1.5, -0.25),
        data_digest="abc",
        card={"task": "classification"},
        forms=(
            Form("a.safetensors", "onnx", "a.onnx", "12", "34", 1e-7, 1e-4, 16, "near enough"),
            Form("a.safetensors", "int8", "", "12", "", None, 0.01, 3, "not kept: too few cases"),
        ),
    )
    write_model(model)
    assert read_model(tmp_path) == model
    card = (tmp_path / "card.md").read_text()
    assert "a.onnx: near enough" in card and "int8: not kept: too few cases" in card
    assert "ja, nein" in card and "0.1235" in card and "intended use" in card


CURVE = ((-1.0, 0.5), (0.1, 0.9))


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration("platt", 1.5, shifts=(0.1, -0.2)),
        Calibration("isotonic", curves=(CURVE, CURVE)),
        Calibration("by output", outputs=(Calibration("platt", 2.0, 0.5), Calibration())),
    ],
)
def test_every_kind_of_calibration_and_the_referral_come_back(
    tmp_path: Path, calibration: Calibration
) -> None:
    (tmp_path / "typical.safetensors").write_bytes(b"x")
    rule = Referral(0.1, ((0.25, float("inf")),), 0.05, 0.95, 0.8, 40, 38, ("a note",))
    like = Typicality("typical.safetensors", "12", 0.01, ("MG",), 40, 38)
    point = OperatingPoint((0.5,), "half", "folds")
    model = Model(
        tmp_path, Plan(), LabelEncoding("binary", ("n", "p")), (), point, calibration,
        referral=rule, typicality=like,
    )  # fmt: skip
    write_model(model)
    text = (tmp_path / "model.json").read_text()
    assert "Infinity" not in text and read_model(tmp_path) == model
    assert calibration.text in (tmp_path / "card.md").read_text()
    (tmp_path / "typical.safetensors").unlink()
    with pytest.raises(BadInput, match=r"lacks typical\.safetensors"):
        read_model(tmp_path)


def test_a_model_of_an_older_version_is_read_and_knows_no_referral(tmp_path: Path) -> None:
    point = OperatingPoint((0.5,), "half", "folds")
    calibration = Calibration("temperature and bias", 1.5, -0.25)
    write_model(Model(tmp_path, Plan(), LabelEncoding("binary", ("n", "p")), (), point, calibration))
    facts = json.loads((tmp_path / "model.json").read_text())
    facts["calibration"] = {"method": "temperature and bias", "temperature": 1.5, "bias": -0.25}
    del facts["referral"], facts["typicality"]
    (tmp_path / "model.json").write_text(json.dumps(facts))
    model = read_model(tmp_path)
    assert model.calibration == calibration and model.referral is None and model.typicality is None


def test_the_model_of_a_run_is_that_which_was_trained() -> None:
    model = read_model(trained().run)
    said = trained().said
    assert list(model.operating_point.values) == said["threshold"]
    assert model.encoding == LabelEncoding("binary", ("normal", "cancer"), ("finding",))
    assert model.members == ("member-0.safetensors", "member-1.safetensors")
    assert "validation folds" in model.operating_point.chosen_on and model.operating_point.n == 72
    assert read_model(trained().run / "model").plan == model.plan
    assert model.plan == Plan.from_json((trained().run / "plan.json").read_text())


def test_a_form_is_read_only_if_it_is_of_these_weights_and_unchanged(tmp_path: Path) -> None:
    for name in ("a.safetensors", "a.onnx", "a.int8.onnx"):
        (tmp_path / name).write_bytes(name.encode())
    weights, plain, small = (digest_of(tmp_path / n) for n in ("a.safetensors", "a.onnx", "a.int8.onnx"))
    forms = (
        Form("a.safetensors", "onnx", "a.onnx", weights, plain, 0.0, 1e-4, 16),
        Form("a.safetensors", "int8", "a.int8.onnx", weights, small, 0.0, 0.01, 90),
    )
    encoding, point = LabelEncoding("binary", ("n", "p")), OperatingPoint((0.5,), "half", "folds")
    model = Model(tmp_path, Plan(), encoding, ("a.safetensors",), point, forms=forms)
    assert form_content(model, "a.safetensors") == b"a.onnx"
    assert form_content(model, "a.safetensors", int8=True) == b"a.int8.onnx"
    (tmp_path / "a.int8.onnx").write_bytes(b"another")
    assert form_content(model, "a.safetensors", int8=True) == b"a.onnx"
    (tmp_path / "a.onnx").unlink()
    assert form_content(model, "a.safetensors") is None
    (tmp_path / "a.onnx").write_bytes(b"a.onnx")
    (tmp_path / "a.safetensors").write_bytes(b"learned again")
    assert form_content(model, "a.safetensors") is None
