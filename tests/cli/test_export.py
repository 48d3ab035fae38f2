"""hu export: ONNX of a finished run, a folder to give away, 8 bits from the run's images, and refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from hounsfield.io.model_store import read_model
from phantoms import NAME, NUMBER, hu, trained, write_npz


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """The shared run as it was before anything was exported."""
    copy = tmp_path / "run"
    shutil.copytree(trained().run, copy)
    facts = json.loads((copy / "model" / "model.json").read_text())
    (copy / "model" / "model.json").write_text(json.dumps({**facts, "forms": []}))
    for path in (copy / "model").glob("*.onnx"):
        path.unlink()
    yield copy


def test_a_finished_run_is_written(run: Path) -> None:
    ended = hu("export", run, "--json")
    said = json.loads(ended.out)
    assert ended.code == 0 and said["files"] == ["member-0.onnx", "member-1.onnx"]
    assert all((run / "model" / name).is_file() for name in said["files"])
    (parity,) = said["findings"]
    assert parity["name"] == "onnx_parity" and parity["value"] < 1e-4 and parity["level"] == "info"
    assert [f.file for f in read_model(run).forms] == said["files"]
    assert "2 file(s)" in hu("export", run).out


def test_the_folder_to_give_away_is_enough_to_score(run: Path, tmp_path: Path) -> None:
    """Pixels to probabilities by the files of the folder alone, beside those of hu predict."""
    import csv

    import pydicom

    out = tmp_path / "given"
    assert hu("export", run, "--out", out).code == 0
    names = sorted(p.name for p in out.iterdir())
    assert names == ["card.md", "member-0.onnx", "member-1.onnx", "preprocessing.json"]
    assert "Not a medical device" in (out / "card.md").read_text()
    recipe = json.loads((out / "preprocessing.json").read_text())
    sessions = [
        onnxruntime.InferenceSession(out / f["file"], providers=["CPUExecutionProvider"])
        for f in recipe["files"]
    ]
    assert recipe["input"]["shape"] == ["n", 1, 16, 16]  # the size of the pictures: nothing is resized
    (normalise,) = [s for s in recipe["preprocessing"] if s["step"] == "normalise"]
    assert normalise["method"] == "zscore"
    with (run / "private" / "cases.csv").open() as stream:
        files = {r["case"]: r["files"] for r in csv.DictReader(stream)}
    with (run / "predictions.csv").open() as stream:
        known = {r["case"]: float(r["score cancer"]) for r in csv.DictReader(stream)}
    for case, wanted in list(known.items())[:6]:
        x = pydicom.dcmread(trained().source / files[case]).pixel_array.astype(np.float64)
        given = ((x - x.mean()) / x.std()).astype(np.float32)[None, None]
        views = [given, given[..., ::-1]] if recipe["output"]["views"]["how"] == "flip" else [given]
        logits = [
            np.mean([s.run(None, {"images": np.ascontiguousarray(v)})[0] for v in views]) for s in sessions
        ]
        scaled = np.array(logits) / recipe["output"]["temperature"] + recipe["output"]["bias"]
        assert np.mean(1 / (1 + np.exp(-scaled))) == pytest.approx(wanted, abs=2e-5)


def test_nothing_that_is_given_away_names_a_patient_or_a_place(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "given"
    ended = hu("export", run, "--out", out)
    for path in out.iterdir():
        text = path.read_bytes().decode("latin-1").casefold()
        assert not any(w.casefold() in text for w in (NAME, NUMBER, str(tmp_path), str(Path.home() / "")))
    assert NUMBER not in ended.out + ended.err


def test_eight_bits_are_made_from_the_images_of_the_run(run: Path, tmp_path: Path) -> None:
    words = ("--int8", trained().source, "--labels", trained().labels, "--target", "finding")
    ended = hu("export", run, *words, "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    changes = [f for f in said["findings"] if f["name"] == "int8_accuracy_difference"]
    assert len(changes) == 2 and sum(f["n"] for f in changes) == 72
    assert all(f["note"].startswith(("kept: accuracy", "not kept: accuracy")) for f in changes)
    kept = [f for f in said["files"] if f.endswith(".int8.onnx")]
    assert len(kept) == sum(f["note"].startswith("kept") for f in changes)
    assert "export.int8=true" in hu("export", run, *words).out


def test_images_that_are_not_the_runs_are_refused(run: Path, tmp_path: Path) -> None:
    other = write_npz(tmp_path / "other.npz", n=30)
    ended = hu("export", run, "--int8", other)
    assert ended.code == 3 and len(ended.said.splitlines()) == 1
    part = tmp_path / "part"
    shutil.copytree(trained().source, part)
    shutil.rmtree(sorted(part.iterdir())[0])
    words = ("--labels", trained().labels, "--target", "finding")
    ended = hu("export", run, "--int8", part, *words)
    assert ended.code == 3 and "development cases of this run are not in the source" in ended.said
    shutil.rmtree(run / "private")
    assert "holds no private folder" in hu("export", run, "--int8", trained().source, *words).said
    assert not list((run / "model").glob("*.onnx"))


def test_what_cannot_be_exported_is_said_in_a_sentence(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hu("export", run, "--format", "coreml").code == 2
    ended = hu("export", tmp_path / "nothing")
    assert ended.code == 3 and "holds no model" in ended.said
    full = tmp_path / "full"
    (full / "x").mkdir(parents=True)
    ended = hu("export", run, "--out", full)
    assert ended.code == 3 and "not empty" in ended.said
    ended = hu("export", run, "--target", "finding")
    assert ended.code == 3 and "without --int8" in ended.said
    (run / "report.html").unlink()
    ended = hu("export", run, "--out", tmp_path / "new")
    assert ended.code == 3 and "not finished" in ended.said and not (tmp_path / "new").exists()
    monkeypatch.setattr("hounsfield.pipeline.exporting.find_spec", lambda name: None)
    ended = hu("export", run)
    assert ended.code == 5 and "pip install onnx onnxruntime" in ended.said


def test_a_file_that_scores_otherwise_is_not_given_away(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hounsfield.steps.export.PARITY_LIMIT", -1.0)
    monkeypatch.setattr("hounsfield.steps.export._UNSEEN", -1.0)
    out = tmp_path / "a" / "given"
    ended = hu("export", run, "--out", out)
    assert ended.code == 4 and "not kept as ONNX" in ended.said and not (tmp_path / "a").exists()
