"""Members as ONNX: kept where they give torch's logits, unused when stale; 8 bits only behind the gate."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from hounsfield.core.case import Case, Label, LabelEncoding
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Finding
from hounsfield.core.index import Series
from hounsfield.core.model import Model, OperatingPoint
from hounsfield.core.plan import Export, Input, Network, Plan, Validation
from hounsfield.io.model_store import form_content, read_model, write_model
from hounsfield.networks import build
from hounsfield.networks.onnx_form import to_onnx
from hounsfield.networks.weights import load_weights, save_weights
from hounsfield.steps import export as export_step
from hounsfield.steps.engine import OnnxEngine, TorchEngine
from hounsfield.steps.export import Development, export
from hounsfield.steps.predict import engines_of, predict
from hounsfield.steps.prepare import Prepared
from hounsfield.transforms.normalise import levels_of
from phantoms import folder_of, pictures

SIDE = 16
PLAN = Plan(
    input=Input(size=(1, SIDE, SIDE)),
    network=Network(name="plain", width=8, depth=2),
    validation=Validation(folds=2, members=2),
    export=Export(int8=True),
    threads=1,
    device="cpu",
)
ENCODING = LabelEncoding("binary", ("a", "b"), ("finding",))


@cache
def development(n: int = 96) -> Development:
    answers = np.arange(n) % 2
    images = pictures(answers.tolist(), side=SIDE, spread=35)[:, None, None]
    levels = np.array([levels_of(x, PLAN.input, bits=8) for x in images], np.float32)
    prepared = Prepared(tuple(map(str, range(n))), images, levels)
    fold = np.arange(n) // 2 % 2
    return Development(prepared, np.arange(n), answers, fold, tuple(f"p{k // 2}" for k in range(n)))


def cases(n: int = 96) -> tuple[Case, ...]:
    made = []
    for k in range(n):
        series = Series(id=str(k), reader="arrays", files=("x",), shape=(1, 1, SIDE, SIDE), bits=8)
        made.append(Case(str(k), f"p{k // 2}", (series,), Label((k % 2,))))
    return tuple(made)


@cache
def _weights() -> Path:
    """Two members that tell the pictures apart, each trained on the other's fold."""
    home, data = folder_of("export"), development()
    for number in range(2):
        torch.manual_seed(number)
        net = build(PLAN.network, channels=1, outputs=1, size=PLAN.input.size, seed=number).train()
        learned, _ = data.parts(number, 2)
        images = torch.from_numpy(data.prepared.batch(data.rows[learned]))
        wanted = torch.from_numpy(data.answers[learned]).float()[:, None]
        optimiser = torch.optim.Adam(net.parameters(), 5e-3)
        for _ in range(60):
            optimiser.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(net(images), wanted).backward()
            optimiser.step()
        save_weights(net, home / f"member-{number}.safetensors")
    return home


def model(folder: Path, plan: Plan = PLAN) -> Model:
    members = ("member-0.safetensors", "member-1.safetensors")
    folder.mkdir(parents=True, exist_ok=True)
    for name in members:
        (folder / name).write_bytes((_weights() / name).read_bytes())
    made = Model(folder, plan, ENCODING, members, OperatingPoint((0.5,), "half", "folds", 96))
    write_model(made)
    return made


def named(findings: tuple[Finding, ...], name: str) -> list[Finding]:
    return [f for f in findings if f.name == name]


def scores(made: Model) -> np.ndarray[Any, Any]:
    return predict(made, development().prepared, cases()).scores


def test_every_member_is_written_and_the_model_knows_it(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    made, findings = export(model(tmp_path), development(), progress=lambda *done: heard.append(done))
    assert read_model(tmp_path) == made and heard == [(1, 2), (2, 2)]
    assert [(f.member, f.kind, f.file) for f in made.forms] == [
        ("member-0.safetensors", "onnx", "member-0.onnx"),
        ("member-1.safetensors", "onnx", "member-1.onnx"),
    ]
    (parity,) = findings
    assert parity.name == "onnx_parity" and parity.level == "info" and parity.n == 32
    assert parity.value is not None and 0 <= parity.value < 1e-5 and "of their spread" in parity.note
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    facts = {p.key: p.value for p in onnx.load(tmp_path / "member-0.onnx").metadata_props}
    assert (
        json.loads(facts["classes"]) == ["a", "b"] and "Not a medical device" in facts["not_a_medical_device"]
    )
    assert facts["plan_digest"] == made.plan.digest() and facts["weights_sha256"] == made.forms[0].weights
    output = json.loads(facts["output"])
    assert output["temperature"] == 1.0 and output["probability"].startswith("1 / (1 + exp(")
    assert any(step["step"] == "normalise" for step in json.loads(facts["preprocessing"]))


def test_without_images_the_logits_are_compared_on_drawn_ones(tmp_path: Path) -> None:
    made, findings = export(model(tmp_path))
    assert all(f.file for f in made.forms) and findings[0].n == 32 and (findings[0].value or 1) < 1e-4
    with pytest.raises(BadInput, match="expected development cases"):
        export(made, int8=True)


def test_the_runtime_scores_as_torch_does(tmp_path: Path) -> None:
    plain = model(tmp_path)
    assert all(isinstance(e, TorchEngine) for e in engines_of(plain))
    wanted = scores(plain)
    made, _ = export(plain, development())
    assert all(isinstance(e, OnnxEngine) for e in engines_of(made))
    assert np.abs(scores(made) - wanted).max() < 1e-5 and wanted.std() > 0.1


def test_a_stale_file_is_never_used(tmp_path: Path) -> None:
    made, _ = export(model(tmp_path), development())
    net = build(PLAN.network, channels=1, outputs=1, size=PLAN.input.size, seed=9)
    save_weights(net, tmp_path / "member-1.safetensors")
    kinds = [type(e) for e in engines_of(read_model(tmp_path))]
    assert kinds == [OnnxEngine, TorchEngine] and form_content(made, "member-1.safetensors") is None
    for path in tmp_path.glob("*.onnx"):
        path.unlink()
    assert np.abs(scores(made) - scores(replace(made, forms=()))).max() == 0


def test_a_file_that_was_changed_or_exchanged_is_never_used(tmp_path: Path) -> None:
    made, _ = export(model(tmp_path), development())
    (tmp_path / "member-0.onnx").write_bytes((tmp_path / "member-1.onnx").read_bytes())
    assert [type(e) for e in engines_of(made)] == [TorchEngine, OnnxEngine]


def test_a_form_outside_the_folder_is_refused(tmp_path: Path) -> None:
    made, _ = export(model(tmp_path), development())
    write_model(replace(made, forms=(replace(made.forms[0], file="../member-0.onnx"),)))
    with pytest.raises(BadInput, match="outside its folder"):
        read_model(tmp_path)


def test_a_file_that_scores_otherwise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = export(model(tmp_path), development())
    good = scores(made)

    def shifted(network: torch.nn.Module, shape: Any, *, facts: Any) -> bytes:
        with torch.no_grad():
            network.classifier.bias += 0.01  # type: ignore[union-attr, operator]
            content = to_onnx(network, shape, facts=facts)
            network.classifier.bias -= 0.01  # type: ignore[union-attr, operator]
        return content

    monkeypatch.setattr("hounsfield.networks.onnx_form.to_onnx", shifted)
    again, findings = export(made, development())
    assert not list(tmp_path.glob("*.onnx")) and not any(f.file for f in again.forms)
    (parity,) = findings
    assert parity.level == "warning" and "not kept" in parity.note and (parity.value or 0) > 1e-4
    assert np.abs(scores(read_model(tmp_path)) - good).max() < 1e-5


def test_what_cannot_be_written_stays_with_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def garbage(*_: Any, **__: Any) -> bytes:
        return b"no network"

    monkeypatch.setattr("hounsfield.networks.onnx_form.to_onnx", garbage)
    made, findings = export(model(tmp_path), development())
    assert findings[0].level == "warning" and "ONNX Runtime cannot compute it" in findings[0].note
    assert all(isinstance(e, TorchEngine) for e in engines_of(made))


def test_eight_bits_are_kept_where_accuracy_holds(tmp_path: Path) -> None:
    _, findings = export(model(tmp_path), development(), int8=True)
    assert sorted(p.name for p in tmp_path.glob("*.int8.onnx")) == [
        "member-0.int8.onnx",
        "member-1.int8.onnx",
    ]
    changes = named(findings, "int8_accuracy_difference")
    assert [f.label for f in changes] == ["member 0", "member 1"] and len(
        named(findings, "int8_auroc_difference")
    ) == 2
    for f in changes:
        assert f.level == "info" and f.n == 48 and f.n_patients == 24 and f.note.startswith("kept: accuracy")
        assert f.low is not None and f.high is not None and f.low <= (f.value or 0) <= f.high
        assert f.low < -0.01  # so few cases cannot exclude a loss, and the interval says so
    form = read_model(tmp_path).form("member-0.safetensors", "int8")
    assert form and form.lost is not None and form.lost <= form.limit == 0.01 and form.n == 48
    assert "8-bit integers" in (tmp_path / "card.md").read_text()


def test_eight_bits_score_only_where_the_plan_asks_for_them(tmp_path: Path) -> None:
    made, _ = export(model(tmp_path), development(), int8=True)
    small = scores(made)
    whole = scores(replace(made, plan=PLAN.changed({"export.int8": False})))
    assert 1e-6 < np.abs(small - whole).max() < 0.2
    refused = tuple(replace(f, file="") if f.kind == "int8" else f for f in made.forms)
    assert (scores(replace(made, forms=refused)) == whole).all()


def _spread_apart(path: Path) -> None:
    """Make half of the inner channels ten thousand times smaller and the weights behind them larger.

    The network computes the same, but eight bits cannot hold both halves.
    """
    net = build(PLAN.network, channels=1, outputs=1, size=PLAN.input.size, seed=0)
    load_weights(net, path)
    layers = [
        m for m in net.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.BatchNorm2d | torch.nn.Linear)
    ]
    convolutions = [k for k, m in enumerate(layers) if isinstance(m, torch.nn.Conv2d)]
    with torch.no_grad():
        for k in convolutions:
            norm, behind = layers[k + 1], layers[k + 2]
            half = slice(1, None)
            norm.weight[half] *= 1e-4  # type: ignore[index, operator]
            norm.bias[half] *= 1e-4  # type: ignore[index, operator]
            behind.weight[:, half] *= 1e4  # type: ignore[index, operator]
    save_weights(net, path)


def test_eight_bits_that_cost_accuracy_are_refused(tmp_path: Path) -> None:
    plain = model(tmp_path)
    good = scores(plain)
    for name in plain.members:
        _spread_apart(tmp_path / name)
    assert np.abs(scores(plain) - good).max() < 1e-3  # the same network
    made, findings = export(plain, development(), int8=True)
    assert not list(tmp_path.glob("*.int8.onnx"))
    for f in named(findings, "int8_accuracy_difference"):
        assert f.level == "warning" and f.note.startswith("not kept: accuracy")
        assert f.value is not None and f.value < -0.1 and (f.high or 0) < 0.05
    forms = [f for f in read_model(tmp_path).forms if f.kind == "int8"]
    assert all(f.file == "" and f.lost is not None and f.lost > 0.1 for f in forms) and len(forms) == 2
    assert np.abs(scores(made) - good).max() < 1e-3


def test_too_few_cases_prove_nothing(tmp_path: Path) -> None:
    data = development()
    few = np.r_[np.arange(0, 96, 2)[:30], np.array([2, 3])]
    fold = np.r_[np.zeros(30, np.int64), np.ones(2, np.int64)]
    small = Development(
        data.prepared, data.rows[few], data.answers[few], fold, tuple(data.patients[k] for k in few)
    )
    made, findings = export(model(tmp_path), small, int8=True)
    (first, second) = named(findings, "int8_accuracy_difference")
    assert first.value is not None and second.value is None and "too few" in second.note
    assert made.form("member-1.safetensors", "int8") is None


def test_another_export_keeps_the_eight_bits_of_the_same_weights_only(tmp_path: Path) -> None:
    made, _ = export(model(tmp_path), development(), int8=True)
    again, _ = export(made, development())
    assert [f.kind for f in again.forms] == ["onnx", "int8"] * 2 and len(
        list(tmp_path.glob("*.int8.onnx"))
    ) == 2
    save_weights(
        build(PLAN.network, channels=1, outputs=1, size=PLAN.input.size, seed=9),
        tmp_path / "member-1.safetensors",
    )
    last, _ = export(again, development())
    assert [f.file for f in last.forms if f.kind == "int8"] == ["member-0.int8.onnx"]
    assert [p.name for p in tmp_path.glob("*.int8.onnx")] == ["member-0.int8.onnx"]


@pytest.mark.parametrize("kind, classes", [("multiclass", ("a", "b", "c")), ("multilabel", ("a", "b", "c"))])
def test_the_gate_knows_the_other_kinds_of_answers(
    tmp_path: Path, kind: str, classes: tuple[str, ...]
) -> None:
    data = development()
    answers = np.arange(96) % 3 if kind == "multiclass" else np.arange(288).reshape(96, 3) % 2
    plan = PLAN.changed({"validation.members": 1, "export.int8_loss": 1.0})
    save_weights(
        build(plan.network, channels=1, outputs=3, size=plan.input.size, seed=0),
        tmp_path / "member-0.safetensors",
    )
    point = OperatingPoint(() if kind == "multiclass" else (0.5, 0.5, 0.5), "half", "folds")
    made = Model(tmp_path, plan, LabelEncoding(kind, classes, ("x",)), ("member-0.safetensors",), point)
    _, findings = export(made, replace(data, answers=answers), int8=True)
    (change,) = named(findings, "int8_accuracy_difference")
    assert change.value is not None and change.n == 48 and change.n_patients == 24
    assert not named(findings, "int8_auroc_difference")


def test_prediction_by_the_runtime_imports_no_torch(tmp_path: Path) -> None:
    export(model(tmp_path), development())
    data = development().prepared
    np.savez(tmp_path / "prepared.npz", images=data.images, levels=data.levels)
    code = f"""
import sys
import numpy as np
from hounsfield.core.case import Case
from hounsfield.core.index import Series
from hounsfield.io.model_store import read_model
from hounsfield.steps.predict import predict
from hounsfield.steps.prepare import Prepared
z = np.load({str(tmp_path / "prepared.npz")!r})
prepared = Prepared(tuple(map(str, range(96))), z["images"], z["levels"])
series = Series(id="0", reader="arrays", files=("x",), shape=(1, 1, {SIDE}, {SIDE}), bits=8)
cases = [Case(str(k), str(k), (series,)) for k in range(96)]
scores = predict(read_model({str(tmp_path)!r}), prepared, cases).scores
assert "torch" not in sys.modules and "onnx" not in sys.modules
print(repr(scores[:, 0].tolist()))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    wanted = scores(replace(read_model(tmp_path), forms=()))[:, 0]
    assert np.abs(np.array(json.loads(ended.stdout)) - wanted).max() < 1e-5


def test_a_limit_says_how_far_logits_may_differ() -> None:
    assert export_step.PARITY_LIMIT == 1e-4
