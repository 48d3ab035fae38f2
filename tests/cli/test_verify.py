"""`hu verify` and `hu report`: who signed, what changed, and answers of people in a report drawn again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hounsfield.cli.main import main
from hounsfield.steps.report import report
from steps.report_examples import binary, pictures


@pytest.fixture
def run(tmp_path: Path) -> Path:
    report(binary(), pictures(2, size=16), tmp_path / "run")
    return tmp_path / "run"


def _hu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["hu", *words])
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture
def hu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    return lambda *words: _hu(monkeypatch, capsys, *map(str, words))


def test_verify_ends_with_0_4_or_3(run: Path, hu) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = hu("verify", run)
    assert code == 0 and "signed by sha256:" in out and "as they were signed" in out
    (run / "evidence.json").write_bytes((run / "evidence.json").read_bytes().replace(b"0.913", b"0.993"))
    code, out, err = hu("verify", run)
    assert code == 4 and "changed: evidence.json" in out and "does not hold" in err
    (run / "evidence.sig").unlink()
    code, _, err = hu("verify", run)
    assert code == 3 and "evidence.sig is missing" in err
    assert hu("verify", run / "nothing")[0] == 3


def test_verify_says_all_as_json(run: Path, hu) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = hu("verify", run, "--json")
    told = json.loads(out)
    assert code == 0 and told["holds"] and "evidence.json" in told["intact"]
    (run / "report.html").unlink()
    code, out, _ = hu("verify", run, "--json", "--key", told["signer"])
    assert code == 4 and json.loads(out)["missing"] == ["report.html"] and not json.loads(out)["holds"]
    code, out, _ = hu("verify", run, "--key", "sha256:" + "0" * 64)
    assert code == 4 and "not by the expected" in out
    assert hu("verify", run, "--key", "somebody")[0] == 3


def test_report_puts_answers_in_without_the_data_and_signs_again(run: Path, hu) -> None:  # type: ignore[no-untyped-def]
    before = (run / "report.html").read_text()
    code, out, _ = hu("report", run, "--json")
    assert code == 0 and json.loads(out)["answers"] == []
    assert (run / "report.html").read_text() == before
    text = (run / "answers.yaml").read_text()
    filled = "intended_use:\n  answer: Second reading.\n  name: A. Reader\n  date: 2026-03-14\n"
    (run / "answers.yaml").write_text(text.replace("intended_use:\n  answer:\n  name:\n  date:\n", filled))
    code, out, _ = hu("report", run)
    assert code == 0 and "answers of people: 1; questions that wait: 23" in out
    page = (run / "report.html").read_text()
    assert "Second reading." in page and page.count("<img ") == before.count("<img ") > 0
    code, out, _ = hu("verify", run, "--json")
    assert code == 0 and "answers.yaml" in json.loads(out)["intact"] and json.loads(out)["first"]["signer"]


def test_report_does_not_sign_evidence_that_was_changed(run: Path, hu) -> None:  # type: ignore[no-untyped-def]
    before = (run / "evidence.sig").read_bytes()
    (run / "evidence.json").write_bytes((run / "evidence.json").read_bytes().replace(b"0.913", b"0.993"))
    code, _, err = hu("report", run)
    assert code == 4 and "evidence.json" in err and (run / "evidence.sig").read_bytes() == before


def test_report_mends_a_page_that_was_changed(run: Path, hu) -> None:  # type: ignore[no-untyped-def]
    before = (run / "report.html").read_bytes()
    (run / "report.html").write_bytes(before.replace(b"0.913", b"0.993"))
    assert hu("verify", run)[0] == 4 and hu("report", run)[0] == 0
    assert (run / "report.html").read_bytes() == before and hu("verify", run)[0] == 0


def test_report_refuses_answers_it_cannot_take_and_leaves_all_as_it_was(run: Path, hu) -> None:  # type: ignore[no-untyped-def]
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != "answers.yaml"}
    (run / "answers.yaml").write_text("intnded_use:\n  answer: x\n")
    code, _, err = hu("report", run)
    assert code == 3 and 'did you mean "intended_use"' in err
    assert {p: p.read_bytes() for p in before} == before and hu("verify", run)[0] == 0


def test_without_the_private_folder_pictures_must_be_given_up_knowingly(run: Path, hu) -> None:  # type: ignore[no-untyped-def]
    (run / "private" / "pictures.json").unlink()
    code, _, err = hu("report", run)
    assert code == 3 and "--without-pictures" in err
    assert hu("report", run, "--without-pictures")[0] == 0
    assert "<img " not in (run / "report.html").read_text() and hu("verify", run)[0] == 0


@pytest.mark.parametrize("name", ["evidence.json", "private/pictures.json"])
@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"title": "x", "audit": [3]}', '{"pictures": [{"case": 1}]}', "[" * 9000]
)
def test_files_that_are_not_ours_are_refused(run: Path, hu, name: str, text: str) -> None:  # type: ignore[no-untyped-def]
    (run / "evidence.sig").unlink()
    (run / name).write_text(text)
    code, _, err = hu("report", run)
    assert code == 3 and Path(name).name in err


def test_a_picture_of_another_kind_is_not_put_into_the_page(run: Path, hu) -> None:  # type: ignore[no-untyped-def]
    (run / "evidence.sig").unlink()
    kept = json.loads((run / "private" / "pictures.json").read_text())
    kept["pictures"][0]["panels"][0][1] = "https://example.org/tracker.png"
    (run / "private" / "pictures.json").write_text(json.dumps(kept))
    assert hu("report", run)[0] == 3
