"""What a party of a federation did, in a file where no line can be changed, taken out or put in unnoticed.

One JSON object a line; each holds the SHA-256 of the line before it. A line is flushed to the disk before the
deed that it announces. What the chain cannot show by itself is that its last lines were cut off: for that the
head is told to the other party with every answer, and `check` compares it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from hounsfield.core.errors import BadInput

__all__ = ["NAME", "AuditLog", "Checked", "check", "entries"]

NAME = "audit.jsonl"
"""The log's name in the folder of every party."""

START = "0" * 64
"""What the first line holds in place of the digest of a line before it."""

_CUT = "an unfinished line was taken away"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a log shows: its lines, the digest of the last one and everything that does not hold."""

    lines: int
    head: str
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """True if nothing was changed, taken out or put in."""
        return not self.faults


class AuditLog:
    """A log that several processes of one party may write to; each line goes to the disk at once.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = AuditLog(Path(folder) / NAME)
    ...     _ = log.write("approved", fingerprint="sha256:0f")
    ...     _ = log.write("revoked", fingerprint="sha256:0f")
    ...     (check(log.path).lines, check(log.path).head == log.head)
    (2, True)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = (-1, 0, START)  # size of the file, lines, digest of the last

    @property
    def head(self) -> str:
        """The digest of the last line."""
        if self.path.exists():
            with self._locked() as file:
                self._catch_up(file)
        return self._known[2]

    def write(self, what: str, **details: Any) -> str:
        """Add a line and return its digest; BadInput where the log cannot be written or does not hold."""
        with self._locked() as file:
            cut = self._catch_up(file)
            if cut:
                self._add(file, _CUT, {"bytes": cut})
            return self._add(file, what, details)

    def _add(self, file: IO[bytes], what: str, details: dict[str, Any]) -> str:
        _, lines, before = self._known
        entry = {
            "n": lines,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "what": what,
            "details": details,
            "before": before,
        }
        digest = _digest(entry)
        entry["hash"] = digest
        file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
        self._known = (file.tell(), lines + 1, digest)
        return digest

    def _catch_up(self, file: IO[bytes]) -> int:
        """Read what others have written since; a line that a killed process left unfinished is taken away.

        Returns its bytes.
        """
        size = file.seek(0, os.SEEK_END)
        if size == self._known[0]:
            return 0
        file.seek(0)
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        found = _check(whole)
        if not found.holds:
            raise BadInput(
                f"the audit log does not hold ({found.faults[0]}); keep it as evidence, and begin in a new "
                "folder"
            )
        self._known = (len(whole), found.lines, found.head)
        if len(content) > len(whole):
            file.truncate(len(whole))
        file.seek(len(whole))
        return len(content) - len(whole)

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            why = (error.strerror or "unknown").lower()
            raise BadInput(
                f"the audit log cannot be written ({why}), and nothing is done that is not logged; make its "
                "folder writable"
            ) from error
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def check(path: Path, *, head: str = "") -> Checked:
    """Read a log from its first line to its last and name each line that does not hold.

    `head` is a digest that another party was told: one that no line has means that the log was written anew,
    or that its end was cut off.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput("there is no audit log that can be read; name the file audit.jsonl") from error
    found = _check(content)
    if head and head not in {entry.get("hash") for entry in _parsed(content)}:
        lost = "no line has the digest that the other party was told: the end was cut off, or all is new"
        return Checked(found.lines, found.head, (*found.faults, lost))
    return found


def entries(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a log, unchecked."""
    return list(_parsed(path.read_bytes()))


def _check(content: bytes) -> Checked:
    faults: list[str] = []
    before, lines = START, 0
    whole, _, rest = content.rpartition(b"\n")
    if rest:
        faults.append(
            f"the last line is unfinished ({len(rest)} bytes): the process was killed while it wrote"
        )
    for lines, line in enumerate(whole.split(b"\n") if whole else [], 1):
        entry = _entry(line)
        if entry is None:
            faults.append(f"line {lines} is no entry of a log")
            continue
        claimed = str(entry.pop("hash", ""))
        if claimed != _digest(entry):
            faults.append(f"line {lines} was changed")
        elif entry.get("before") != before or entry.get("n") != lines - 1:
            faults.append(f"before line {lines} something was taken out, put in or moved")
        before = claimed
    return Checked(lines, before, tuple(faults))


def _parsed(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n")[:-1]:
        entry = _entry(line)
        if entry is not None:
            yield entry


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _digest(entry: dict[str, Any]) -> str:
    plain = json.dumps(entry, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()
