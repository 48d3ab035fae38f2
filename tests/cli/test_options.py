"""Words on the command line become a question and changes of the plan."""

from __future__ import annotations

import time
from typing import Any

import pytest

from hounsfield.cli.options import changes_of, question_of, say_json
from hounsfield.cli.progress import Lines
from hounsfield.core.errors import BadInput


def test_values_are_json_where_they_can_be_and_text_elsewhere() -> None:
    words = ("a.b=5", "c=[1,64,64]", "d=true", "e=compact", "f=1e-3", "g=", "h=x=y", 'i="5"')
    assert changes_of(words) == {
        "a.b": 5,
        "c": [1, 64, 64],
        "d": True,
        "e": "compact",
        "f": 0.001,
        "g": "",
        "h": "x=y",
        "i": "5",
    }
    with pytest.raises(BadInput, match="KEY=VALUE"):
        changes_of(("5",))


def test_lists_are_split_at_commas() -> None:
    given: dict[str, Any] = {
        "labels": "t.csv",
        "target": ("a", "b"),
        "on": "",
        "patient": "p",
        "groups": "x, y,",
        "classes": "",
        "positive": "z",
        "one_image_per_patient": True,
        "seed": 4,
        "test_fraction": 0.1,
        "resplit": True,
    }
    question = question_of(given)
    assert question.groups == ("x", "y") and question.classes == () and question.target == ("a", "b")
    assert (question.seed, question.test_fraction, question.resplit) == (4, 0.1, True)


def test_json_never_holds_a_nan(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        say_json({"a": float("nan")})
    assert capsys.readouterr().out == ""


def test_progress_is_a_line_an_epoch_and_few_lines_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    lines = Lines()
    lines.begin("fit")
    for done in range(1, 4):
        now[0] += 0.1
        lines.advance(done, 6, f"epoch {done}")
    for done in range(100):
        now[0] += 0.1
        lines.advance(done, 100)
    lines.end("whole")
    out, err = capsys.readouterr()
    said = err.splitlines()
    assert out == "" and sum("epoch" in line for line in said) == 3
    assert said[0] == "fit       1/6 epoch 1 0 s left"
    assert 1 <= len(said) - 4 <= 3 and said[-1].startswith("fit       whole [10.3 s]")
