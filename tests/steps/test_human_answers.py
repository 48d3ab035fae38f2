"""Answers of people are taken whole or refused with the reason, and never guessed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from hounsfield.core.errors import BadInput
from hounsfield.steps.human_answers import read_answers, write_template
from hounsfield.steps.standards import items, questions

TODAY = date(2026, 3, 14)
BY = "  name: A. Reader\n  date: 2026-03-14\n"


def _read(folder: Path, text: str) -> dict[str, object]:
    (folder / "answers.yaml").write_text(text, encoding="utf-8")
    return dict(read_answers(folder, today=TODAY))


def test_the_template_asks_everything_and_answers_nothing(tmp_path: Path) -> None:
    write_template(tmp_path)
    asked = {q.id for _, _, q in questions()}
    loaded = yaml.safe_load((tmp_path / "answers.yaml").read_text("utf-8"))
    assert set(loaded) == asked and len(asked) == 24
    assert all(entry == {"answer": None, "name": None, "date": None} for entry in loaded.values())
    assert read_answers(tmp_path) == {}


def test_a_template_never_overwrites_what_somebody_wrote(tmp_path: Path) -> None:
    (tmp_path / "answers.yaml").write_text("mine")
    write_template(tmp_path)
    assert (tmp_path / "answers.yaml").read_text() == "mine"


def test_answers_are_read_with_name_and_date(tmp_path: Path) -> None:
    text = f"intended_use:\n  answer: |\n    Triage: second reader.\n    Not alone.\n{BY}"
    text += f"prevalence:\n  answer: 0.006\n{BY}threshold_range:\n  answer: [0.05, 0.3]\n{BY}"
    found = read_answers(tmp_path, today=TODAY) if _read(tmp_path, text) else {}
    assert found["intended_use"].answer == "Triage: second reader.\nNot alone."
    assert (found["intended_use"].name, found["intended_use"].date) == ("A. Reader", "2026-03-14")
    assert found["prevalence"].answer == 0.006 and found["threshold_range"].answer == (0.05, 0.3)


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "oversight:\n", "oversight:\n  answer: '  '\n  name: A\n"]
)
def test_what_is_empty_is_no_answer(tmp_path: Path, text: str) -> None:
    assert _read(tmp_path, text) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("intnded_use:\n  answer: x\n", 'did you mean "intended_use"'),
        ("calibration:\n  answer: good\n", "which the evidence itself answers"),
        ("30:\n  answer: good\n", r"item 30 \(calibration\), which the evidence itself answers"),
        ("robustness:\n  answer: good\n", "which the evidence itself answers"),
        ("auroc:\n  answer: 0.9\n", "a person is asked for prevalence there"),
        ("Name of a patient:\n  answer: x\n", '"AAAA AA A AAAAAAA"'),
        ("tolerance_mm:\n  answer: 2\n", "does not apply to classification"),
        ("oversight:\n  answer: x\n", "no name and date"),
        ("oversight:\n  answer: x\n  name: A\n", "no date"),
        ("oversight:\n  answer: x\n  name: A\n  date: soon\n", "no day of the form"),
        ("oversight:\n  answer: x\n  name: A\n  date: '2026-02-30'\n", "no day of the form"),
        ("oversight:\n  answer: x\n  name: A\n  date: 2026-02-30\n", "cannot be read as YAML"),
        ("oversight:\n  answer: x\n  name: A\n  date: 2027-01-01\n", "in the future"),
        ("oversight:\n  answer: x\n  name: no\n  date: 2026-01-01\n", "name is not text"),
        (f"oversight:\n  answer: no\n{BY}", "expected text and got yes or no"),
        (f"oversight:\n  answer: [a, b]\n{BY}", "expected text and got a list"),
        (f"oversight:\n  answer: 12\n{BY}", "expected text and got a number"),
        (f"prevalence:\n  answer: '0.1'\n{BY}", "a number above 0 and below 1"),
        (f"prevalence:\n  answer: 6\n{BY}", "a number above 0 and below 1"),
        (f"prevalence:\n  answer: .nan\n{BY}", "a number above 0 and below 1"),
        (f"prevalence:\n  answer: true\n{BY}", "a number above 0 and below 1"),
        (f"harm_ratio:\n  answer: -1\n{BY}", "a number above 0,"),
        (f"threshold_range:\n  answer: 0.3\n{BY}", "two numbers"),
        (f"threshold_range:\n  answer: [0.3, 0.05]\n{BY}", "two rising numbers"),
        ("oversight: done\n", "expected answer, name and date"),
        (f"oversight:\n  anwser: x\n{BY}", "expected answer, name and date"),
        (f"oversight:\n  answer: a\n{BY}oversight:\n  answer: b\n{BY}", '"oversight" twice'),
        ("oversight:\n  answer: a\n  answer: b\n", '"answer" twice'),
        ("- oversight\n", "not a list of items"),
        ("oversight: {answer: a, name\n", r"not YAML \(line"),
        ("oversight:\n  answer: who: me\n", "put an answer with a colon"),
        ("oversight: !!python/object/apply:os.system ['touch pwned']\n", "tags .* are not read"),
        ("[" * 1_200, "cannot be read|not YAML"),
        ("oversight:\n  answer: " + "x" * 30_000 + f"\n{BY}", "over 20,000 characters"),
        ("# " + "x" * 1_100_000, "larger than"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_with_the_reason(
    tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=said) as told:
        _read(tmp_path, text)
    assert "\n" not in str(told.value) and not (tmp_path / "pwned").exists()


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "answers.yaml").write_bytes(b"oversight:\n  answer: \xff\xfe\n")
    with pytest.raises(BadInput, match="UTF-8"):
        read_answers(tmp_path)


def test_every_item_that_only_the_tool_answers_refuses_a_person(tmp_path: Path) -> None:
    for item in (i for i in items() if not i.get("person")):
        for key in (
            item["number"],
            f"item {item['number']}",
            item["item"].lower().split(",")[0].replace(" ", "_"),
        ):
            with pytest.raises(BadInput, match="which the evidence itself answers"):
                _read(tmp_path, f"'{key}':\n  answer: fine\n{BY}")
