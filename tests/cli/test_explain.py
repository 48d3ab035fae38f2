"""hu explain: panels and a JSON without identity; tested anew or by the run's own tests; refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from phantoms import NAME, NUMBER, hu, trained


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The shared run without what it may have kept of its explanations."""
    copy = tmp_path / "run"
    shutil.copytree(trained().run, copy)
    (copy / "model" / "explanations.json").unlink(missing_ok=True)
    (copy / "private" / "similar.npz").unlink(missing_ok=True)
    return copy


def test_images_are_explained_without_identity(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "explained"
    ended = hu("explain", run, trained().source, "--out", out, "--most", "3", "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    facts = json.loads((out / "explanations.json").read_text())
    assert said["n"] == facts["explained"] == 3 and facts["images"] == 120
    assert set(said["shown"]) | set(said["withheld"]) and said["withheld"] == facts["withheld"]
    assert any("no training images" in note for note in said["notes"])
    files = [panel["file"] for picture in facts["pictures"] for panel in picture["panels"]]
    assert len(files) == len(set(files)) >= 3
    assert {p.name for p in out.glob("*.png")} == set(files)
    tested = {f["name"]: f for f in facts["findings"]}
    assert tested["explanation_randomisation"]["n"] >= 8
    public = ended.out + ended.err + json.dumps(facts)
    assert NAME not in public and NUMBER not in public and "MRN" not in public
    assert (out / "private" / "cases.csv").read_text().count("\n") == 4


def test_a_single_image_has_no_tested_map(run: Path, tmp_path: Path) -> None:
    one = next(trained().source.rglob("*.dcm"))
    ended = hu("explain", run, one, "--out", tmp_path / "explained")
    assert ended.code == 0, ended.err
    assert ended.out.count("too few to test maps on") >= 1
    facts = json.loads((tmp_path / "explained" / "explanations.json").read_text())
    assert facts["shown"] == [] and "Grad-CAM" in facts["withheld"]


def test_the_runs_own_tests_allow_a_map_of_a_single_image(run: Path, tmp_path: Path) -> None:
    scored = {
        "format": 1,
        "shown": ["gradcam"],
        "findings": [],
        "withheld": [["Occlusion", "it failed"]],
        "cascade": [],
    }
    (run / "model" / "explanations.json").write_text(json.dumps(scored))
    one = next(trained().source.rglob("*.dcm"))
    ended = hu("explain", run, one, "--out", tmp_path / "explained", "--json")
    said = json.loads(ended.out)
    assert ended.code == 0 and said["shown"] == ["gradcam"] and said["withheld"] == {"Occlusion": "it failed"}
    assert "Occlusion is withheld: it failed." in said["notes"]


def test_what_cannot_be_explained_is_refused_in_words(run: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no image")
    for words in ((run, empty), (empty, trained().source)):
        ended = hu("explain", *words, "--out", tmp_path / "out")
        assert ended.code == 3, ended.err
        assert not (tmp_path / "out").exists()
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("mine")
    assert hu("explain", run, trained().source, "--out", tmp_path / "used").code == 3
    assert hu("explain", run, trained().source).code == 2
