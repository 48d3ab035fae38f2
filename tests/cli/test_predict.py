"""hu predict says which cases go to a reader, and why, in its table, on the terminal and as JSON."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import hounsfield as hounsfield_face
from phantoms import hu, trained


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def _changed(run: Path, **facts: object) -> Path:
    """The trained run with other facts in its model.json."""
    model = run / "model"
    shutil.copytree(trained().run / "model", model)
    path = model / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))
    return run


def test_every_case_has_its_set_its_typicality_and_its_reasons(tmp_path: Path) -> None:
    ended = hu("predict", trained().run, trained().source, "--out", tmp_path / "p")
    assert ended.code == 0, ended.err
    rows = _rows(tmp_path / "p" / "predictions.csv")
    referred = [row for row in rows if row["refer"] == "yes"]
    assert f"refer to a reader: {len(referred)} of {len(rows)} cases" in ended.out
    for row in rows:
        assert 0 < float(row["typicality"]) <= 1
        assert set(row["possible classes"].split("|")) <= {"normal", "cancer", ""}
        assert (row["refer"] == "yes") == bool(row["reasons"])
        several = "|" in row["possible classes"]
        assert several == ("more than one class is possible" in row["reasons"])


def test_python_and_json_tell_what_the_table_tells(tmp_path: Path) -> None:
    ended = hu("predict", trained().run, trained().source, "--out", tmp_path / "p", "--json")
    said = json.loads(ended.out)
    told = hounsfield_face.predict(trained().run, trained().source).referrals
    assert told is not None
    rows = _rows(tmp_path / "p" / "predictions.csv")
    assert [row["refer"] == "yes" for row in rows] == told.refer.tolist()
    assert said["referred"] == int(told.refer.sum()) and said["reasons"] == told.counts


def test_noise_goes_to_a_reader_as_unlike_the_training_images(tmp_path: Path) -> None:
    from phantoms import write_dicom

    rng = np.random.default_rng(0)
    for k in range(3):
        pixels = rng.integers(0, 255, (48, 40)).astype(np.uint8)
        write_dicom(tmp_path / "s" / f"{k}.dcm", pixels, number=900 + k)
    ended = hu("predict", trained().run, tmp_path / "s", "--out", tmp_path / "p")
    assert ended.code == 0, ended.err
    rows = _rows(tmp_path / "p" / "predictions.csv")
    assert all(row["reasons"].startswith("unlike the training images (") for row in rows)
    assert "3  unlike the training images: " in ended.out


def test_a_model_of_an_older_version_predicts_and_says_in_one_line_that_it_cannot_tell(
    tmp_path: Path,
) -> None:
    run = _changed(tmp_path / "run", referral=None, typicality=None)
    ended = hu("predict", run, trained().source, "--out", tmp_path / "p")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert len(lines) == 2 and "cannot tell which cases go to a reader" in lines[0]
    rows = _rows(tmp_path / "p" / "predictions.csv")
    assert "refer" not in rows[0] and "called" in rows[0]
    said = json.loads(hu("predict", run, trained().source, "--out", tmp_path / "q", "--json").out)
    assert said["referred"] is None and len(said["notes"]) == 1


def test_a_class_that_can_never_be_ruled_out_refers_every_case_of_another_call(tmp_path: Path) -> None:
    kept = json.loads((trained().run / "model" / "model.json").read_text())["referral"]
    rule = {**kept, "quantiles": [[None, None]], "notes": ["too few patients"]}
    run = _changed(tmp_path / "run", referral=rule)
    ended = hu("predict", run, trained().source, "--out", tmp_path / "p")
    rows = _rows(tmp_path / "p" / "predictions.csv")
    assert all("more than one class is possible" in row["reasons"] for row in rows)
    assert f"refer to a reader: {len(rows)} of {len(rows)} cases" in ended.out
    assert "! too few patients" in ended.out


@pytest.mark.parametrize("column", ["refer", "reasons", "possible classes", "typicality"])
def test_the_table_of_a_trained_run_has_the_columns(column: str) -> None:
    assert column in _rows(trained().run / "predictions.csv")[0]
