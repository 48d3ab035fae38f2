"""`hu show`: header, table, picture and JSON on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_objects import SECRET, SECRETS, ct_stack, image, report, saved, segmentation
from hounsfield.core.plan import Plan
from phantoms import hu

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Five slices, a report, and a segmentation, in a folder named after the patient."""
    folder = tmp_path / f"{SECRET}_ANNA"
    ct_stack(folder, [0.0, 5, 10, 15, 20], WindowCenter=20, WindowWidth=40)
    saved(report(), folder / "report.dcm")
    masks = np.ones((1, 8, 12), np.uint8)
    saved(segmentation(masks, ["1.2.826.0.1.777.1"]), folder / "seg.dcm")
    return folder


def test_a_picture_is_written_and_named(study: Path, tmp_path: Path) -> None:
    ended = hu("show", study, "--out", tmp_path / "p.png")
    assert ended.code == 0, ended.err
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG" and picture.mode == "RGB" and picture.width > 400
    assert "image-00001" in ended.out and "window 20/40" in ended.out and "p.png" in ended.out


def test_no_name_is_printed_unless_asked(study: Path) -> None:
    for asked in ("1", "2", "3"):
        for words in ([], ["--json"]):
            ended = hu("show", study, "--image", asked, *words)
            assert ended.code == 0 and not [s for s in SECRETS if s in ended.out + ended.err]
    assert f"{SECRET}^ANNA" in hu("show", study, "--identity").out
    assert f"seen by {SECRET}" in hu("show", study, "--image", "2", "--identity").out


def test_json_is_one_object(study: Path, tmp_path: Path) -> None:
    ended = hu("show", study, "--json", "--out", tmp_path / "p.png")
    said = json.loads(ended.out)
    assert len(ended.out.strip().splitlines()) == 1 and said["picture"] == str(tmp_path / "p.png")
    assert said["window"] == {
        "name": "window 20/40, from the header", "from": "header", "inverted": False, "centre": 20.0,
        "width": 40.0, "function": "LINEAR",
    }  # fmt: skip
    assert [i["modality"] for i in said["images"]] == ["CT", "SR", "SEG"]
    assert said["header"]["Pixels"]["Rows"] == 8 and "Patient ID" in said["hidden"]


def test_a_report_prints_as_a_tree_and_a_segmentation_as_a_table(study: Path) -> None:
    out = hu("show", study, "--image", "report.dcm").out
    assert "Diameter: 12.5 mm" in out and "(hidden: text, 19 characters)" in out
    out = hu("show", study, "--image", "seg.dcm").out
    assert "Liver" in out and "96" in out and "0.96" in out
    said = json.loads(hu("show", study, "--image", "seg.dcm", "--json").out)
    assert said["segments"][0]["voxels"] == 96 and said["segments"][0]["volume_ml"] == 0.96


def test_a_picture_that_cannot_be_drawn_ends_with_3_and_its_reason(study: Path, tmp_path: Path) -> None:
    ended = hu("show", study, "--image", "report.dcm", "--out", tmp_path / "p.png", "--json")
    assert ended.code == 3 and "no pixels" in ended.said and not (tmp_path / "p.png").exists()
    assert json.loads(ended.out)["picture"] is None


@pytest.mark.parametrize(
    "words, part",
    [
        (["--image", "99"], "from 1 to 3"),
        (["--window", "liver"], "mediastinum"),
        (["--at", "1,2"], "i,j,k"),
        (["--at", "100,0,0"], "asked for"),
        (["--out", "p.jpg"], ".png"),
        (["--frame", "77"], "holds 5"),
    ],
)
def test_what_cannot_be_shown_ends_with_3_in_one_sentence(study: Path, words: list[str], part: str) -> None:
    ended = hu("show", study, *words)
    assert ended.code == 3 and part in ended.said and len(ended.err.strip().splitlines()) == 1
    assert SECRET not in ended.err


@pytest.mark.parametrize("words", [["--plane", "oblique"], ["--frame", "0"], []])
def test_wrong_usage_ends_with_2(study: Path, words: list[str]) -> None:
    assert hu("show", *([study, *words] if words else [])).code == 2


def test_windows_and_planes_are_chosen(study: Path, tmp_path: Path) -> None:
    ended = hu("show", study, "--window", "-600/1500", "--plane", "coronal", "--out", tmp_path / "p.png")
    assert ended.code == 0 and "window -600/1500" in ended.out
    assert "window 400/1800 HU (bone)" in hu("show", study, "--window", "bone").out


def test_no_picture_is_drawn_where_stdout_is_no_terminal(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-kitty")
    assert "\x1b" not in hu("show", study).out


def test_only_the_header_is_read_without_a_picture(tmp_path: Path) -> None:
    made = image(RAMP, Modality="MR")
    made.PixelData = b"\0" * 4  # cut short: drawing would fail
    ended = hu("show", saved(made, tmp_path / "one.dcm"), "--no-picture")
    assert ended.code == 0 and "MONOCHROME2" in ended.out and "no picture" not in ended.out


def test_a_terminal_gets_the_picture(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hounsfield.cli import show as command

    monkeypatch.setattr(command, "_draws_on_a_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    for name in ("TMUX", "STY", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    out = hu("show", study).out
    assert out.count("▀") > 500 and "\x1b[38;2;" in out
    assert "▀" not in hu("show", study, "--json").out and "▀" not in hu("show", study, "--no-picture").out


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(np.kron(RAMP, np.ones((4, 4), np.uint8))).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def test_what_a_plan_does_is_written_and_said(picture: Path, tmp_path: Path) -> None:
    ended = hu(
        "show", picture, "--augment", "3", "--plan", "article-b", "--seed", "4", "--out", tmp_path / "p.png"
    )
    assert ended.code == 0, ended.err
    assert "plan article-b" in ended.out and "  3  " in ended.out and "rotation_deg 20" in ended.out
    with Image.open(tmp_path / "p.png") as made:
        assert made.format == "PNG" and made.width > 400 and not made.info


def test_augmented_json_is_one_object(picture: Path, tmp_path: Path) -> None:
    words = ("--augment", "5", "--json", "--out", tmp_path / "p.png", "augment.zoom=0.4", "augment.gamma=0")
    ended = hu("show", picture, *words)
    said = json.loads(ended.out)
    assert len(ended.out.strip().splitlines()) == 1 and said["picture"] == str(tmp_path / "p.png")
    assert len(said["versions"]) == 5 and said["augment"]["zoom"] == 0.4
    assert all("gamma" not in v["drawn"] and v["label"] for v in said["versions"])
    assert max(abs(v["drawn"]["zoom"]) for v in said["versions"]) <= 0.4
    assert json.loads(hu("show", picture, "--augment", "1", "--json").out)["picture"] is None


def test_a_plan_comes_from_a_file_or_a_run(picture: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for place in (run, run / "model"):
        place.mkdir()
        plan = Plan(name="mine").changed({"input.size": [1, 16, 16], "augment.flip_up_down": True})
        (place / "plan.json").write_text(plan.to_json())
        for given in (place, place / "plan.json"):
            ended = hu("show", picture, "--augment", "2", "--plan", given)
            assert ended.code == 0 and "plan mine" in ended.out and "flip_up_down on" in ended.out
    (run / "plan.json").unlink()
    assert hu("show", picture, "--augment", "2", "--plan", run).code == 0
    ended = hu("show", picture, "--augment", "2", "--plan", tmp_path)
    assert ended.code == 3 and "no plan.json" in ended.said


@pytest.mark.parametrize(
    "words, code, part",
    [
        (["--plan", "article-b"], 2, "go with --augment"),
        (["augment.zoom=0.1"], 2, "go with --augment"),
        (["--augment", "2", "--window", "lung"], 2, "leave out --window"),
        (["--augment", "0"], 2, "--augment"),
        (["--augment", "2", "--plan", "artikel-b"], 3, 'did you mean "article-b"'),
        (["--augment", "2", "augment.zom=0.1"], 3, 'did you mean "augment.zoom"'),
        (["--augment", "2", "--image", "9"], 3, "from 1 to 1"),
        (["--augment", "2", "--out", "p.jpg"], 3, ".png"),
    ],
)
def test_wrong_use_of_augment_is_refused(picture: Path, words: list[str], code: int, part: str) -> None:
    ended = hu("show", picture, *words)
    assert ended.code == code and part in ended.err.replace("\n", " ")


def test_a_terminal_gets_the_versions(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hounsfield.cli import show as command

    monkeypatch.setattr(command, "_draws_on_a_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("TMUX", "STY", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    out = hu("show", picture, "--augment", "3").out
    assert out.count("▀") > 500 and "plan designed" in out
