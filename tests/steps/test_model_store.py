"""A model is JSON and safetensors: nothing is pickled, everything comes back, the scores are the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hounsfield.core.case import LabelEncoding
from hounsfield.core.model import Calibration, Model, OperatingPoint
from hounsfield.core.plan import Plan
from hounsfield.io.model_store import read_model, write_model
from phantoms import trained


def test_a_model_folder_holds_json_markdown_and_safetensors_only() -> None:
    files = [p for p in (trained().run / "model").rglob("*") if p.is_file()]
    assert {p.suffix for p in files} == {".json", ".md", ".safetensors"}
    for path in files:
        raw = path.read_bytes()
        assert not raw.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04"))
        if path.suffix == ".safetensors":
            header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
            assert header and b"pickle" not in raw[: 8 + len(json.dumps(header))]


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
    )
    write_model(model)
    assert read_model(tmp_path) == model
    card = (tmp_path / "card.md").read_text()
    assert "ja, nein" in card and "0.1235" in card and "intended use" in card


def test_the_model_of_a_run_is_that_which_was_trained() -> None:
    model = read_model(trained().run)
    said = trained().said
    assert list(model.operating_point.values) == said["threshold"]
    assert model.encoding == LabelEncoding("binary", ("normal", "cancer"), ("finding",))
    assert model.members == ("member-0.safetensors", "member-1.safetensors")
    assert "validation folds" in model.operating_point.chosen_on and model.operating_point.n == 72
    assert read_model(trained().run / "model").plan == model.plan
    assert model.plan == Plan.from_json((trained().run / "plan.json").read_text())
