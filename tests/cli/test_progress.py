"""Nobody waits in silence: a step that says nothing is told to be running; a step that fails is ended."""

from __future__ import annotations

from threading import Event

import pytest

from hounsfield.cli import progress
from hounsfield.cli.progress import Bars, Lines, stepping


def test_a_silent_step_is_told_to_be_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(progress, "SILENT_SECONDS", 0.01)
    lines, heard, said = Lines(), Event(), []

    def say(text: str) -> None:
        said.append(f"{lines.step} {text}")
        if len(said) >= 2:
            heard.set()

    monkeypatch.setattr(lines, "_say", say)
    lines.begin("audit")
    assert heard.wait(20)
    lines.end("done")
    assert said[0].startswith("audit … running") and said[1].startswith("audit … running")
    assert said[-1].startswith("audit done")
    assert lines._ended.is_set()


def test_quiet_lines_say_only_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(quiet=True)
    with stepping(lines, "scan") as said:
        lines.advance(1, 2, "a note")
        said.append("3 images")
    assert capsys.readouterr().err.startswith("scan      3 images [")


@pytest.mark.parametrize("kind", [Bars, Lines])
def test_a_step_that_fails_is_ended(kind: type[Bars] | type[Lines]) -> None:
    shown = kind()
    with pytest.raises(ValueError, match="fault"), stepping(shown, "scan"):
        shown.advance(1, 2)
        raise ValueError("fault")
    assert shown._ended.is_set() if isinstance(shown, Lines) else shown.bar is None
    shown.advance(2, 2)  # a thread that comes late does no harm
    shown.begin("gather")
    shown.begin("decode")
    shown.end()
