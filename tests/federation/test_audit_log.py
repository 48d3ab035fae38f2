"""The audit log: what was written holds; what was changed, taken out, put in or cut off is found."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hounsfield.core.errors import BadInput, GateRefused
from hounsfield.federation.audit_log import AuditLog, check, entries


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    made = AuditLog(tmp_path / "audit.jsonl")
    for number in range(6):
        made.write("sent", message=f"m{number}", bytes=number)
    return made


def test_a_log_holds_and_its_chain_is_the_digest_of_each_line(log: AuditLog) -> None:
    before = "0" * 64
    for entry in entries(log.path):
        claimed = entry.pop("hash")
        plain = json.dumps(entry, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        assert claimed == hashlib.sha256(plain.encode()).hexdigest()
        assert entry["before"] == before
        before = claimed
    assert check(log.path).holds and check(log.path).head == before == log.head


@pytest.mark.parametrize("line", range(6))
def test_a_changed_line_is_found(log: AuditLog, line: int) -> None:
    lines = log.path.read_text().splitlines()
    lines[line] = lines[line].replace(f'"bytes": {line}', '"bytes": 99')
    log.path.write_text("\n".join(lines) + "\n")
    assert f"line {line + 1} was changed" in check(log.path).faults


def test_lines_taken_out_put_in_or_moved_are_found(log: AuditLog) -> None:
    lines = log.path.read_text().splitlines()
    for changed in (
        lines[:2] + lines[3:],
        lines[1:],
        [*lines[:2], lines[1], *lines[2:]],
        [lines[1], lines[0], *lines[2:]],
    ):
        log.path.write_text("\n".join(changed) + "\n")
        assert not check(log.path).holds


def test_an_end_that_was_cut_off_is_found_by_the_head_that_another_was_told(log: AuditLog) -> None:
    told = log.head
    lines = log.path.read_text().splitlines()
    log.path.write_text("\n".join(lines[:-2]) + "\n")
    assert check(log.path).holds
    assert not check(log.path, head=told).holds


def test_a_line_that_a_killed_process_left_is_taken_away_and_that_is_written(log: AuditLog) -> None:
    with log.path.open("ab") as file:
        file.write(b'{"n": 6, "time": "2026')
    assert not check(log.path).holds
    AuditLog(log.path).write("began")
    assert [e["what"] for e in entries(log.path)][-2:] == ["an unfinished line was taken away", "began"]
    assert check(log.path).holds


def test_nothing_is_added_to_a_log_that_does_not_hold(log: AuditLog) -> None:
    log.path.write_text(log.path.read_text().replace('"bytes": 3', '"bytes": 4'))
    with pytest.raises(BadInput, match="does not hold"):
        AuditLog(log.path).write("sent")


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    code = (
        "import sys; from pathlib import Path; from hounsfield.federation.audit_log import AuditLog;"
        "log = AuditLog(Path(sys.argv[1])); [log.write('sent', n=n) for n in range(20)]"
    )
    begun = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [process.wait() for process in begun] == [0, 0, 0]
    assert check(path).lines == 60 and check(path).holds


def test_hu_verify_says_whether_a_log_holds(log: AuditLog) -> None:
    from hounsfield.cli.verify import verify

    said = CliRunner().invoke(verify, [str(log.path)])
    assert said.exit_code == 0 and "6 lines" in said.output
    folder = CliRunner().invoke(verify, [str(log.path.parent), "--json"])
    assert json.loads(folder.output)["log"]["holds"] is True
    log.path.write_text(log.path.read_text().replace('"bytes": 3', '"bytes": 4'))
    assert isinstance(CliRunner().invoke(verify, [str(log.path)]).exception, GateRefused)
