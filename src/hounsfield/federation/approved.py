"""Which sites may speak to the coordinator: fingerprints with names, in a file of the coordinator's folder.

Nobody is added over the network: whoever may write in the folder approves, and may take an approval back.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from hounsfield.core.errors import BadInput
from hounsfield.io.files import write_json
from hounsfield.steps.signing_key import written_fingerprint

__all__ = ["Approval", "Approved", "as_fingerprint", "node_id_of"]

Standing = Literal["approved", "revoked", "unknown"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")


@dataclass(frozen=True, slots=True)
class Approval:
    """A site that was let in: its key's fingerprint, its name, since when; when it was shut out, or ""."""

    fingerprint: str
    name: str
    since: str
    revoked: str = ""


class Approved:
    """The list of approvals in a file; a change by another process is seen at the next question.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sites = Approved(Path(folder) / "approved.json")
    ...     _ = sites.approve("sha256:" + "0f" * 32, "north")
    ...     (sites.standing("sha256:" + "0f" * 32), sites.standing("sha256:" + "aa" * 32))
    ('approved', 'unknown')
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_at: tuple[int, int] = (0, 0)
        self._known: dict[str, Approval] = {}

    def all(self) -> tuple[Approval, ...]:
        """Every approval, revoked ones too, in the order of their names."""
        self._catch_up()
        return tuple(sorted(self._known.values(), key=lambda approval: approval.name))

    def standing(self, fingerprint: str) -> Standing:
        """Whether a key may speak."""
        self._catch_up()
        found = self._known.get(fingerprint)
        return "unknown" if found is None else "revoked" if found.revoked else "approved"

    def approve(self, fingerprint: str, name: str = "") -> Approval:
        """Let a key in, or in again; BadInput for a name that is taken or has odd characters."""
        fingerprint = as_fingerprint(fingerprint)
        with self._changing():
            name = name or f"site-{fingerprint[7:15]}"
            if not _NAME.fullmatch(name):
                raise BadInput(
                    "--name has characters that a site's name may not have; expected up to 40 letters, "
                    "digits, blanks, dots and dashes"
                )
            if any(a.name == name and a.fingerprint != fingerprint for a in self._known.values()):
                raise BadInput(f'another site is already called "{name}"; give this one another --name')
            approval = Approval(fingerprint, name, _now())
            self._known[fingerprint] = approval
        return approval

    def revoke(self, fingerprint: str) -> Approval:
        """Take an approval back; BadInput where there is none."""
        fingerprint = as_fingerprint(fingerprint)
        with self._changing():
            if fingerprint not in self._known:
                raise BadInput("no site with this fingerprint was approved; hu federate status lists them")
            approval = replace(self._known[fingerprint], revoked=_now())
            self._known[fingerprint] = approval
        return approval

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(".approved.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._catch_up()
            yield
            write_json(self.path, [asdict(approval) for approval in self._known.values()])

    def _catch_up(self) -> None:
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return
        if (state.st_mtime_ns, state.st_ino) == self._read_at:
            return
        try:
            listed = [Approval(**given) for given in json.loads(self.path.read_text("utf-8"))]
        except (ValueError, TypeError) as error:
            raise BadInput("approved.json is no list of approvals; put its last good copy back") from error
        self._known = {approval.fingerprint: approval for approval in listed}
        self._read_at = (state.st_mtime_ns, state.st_ino)


def as_fingerprint(given: str) -> str:
    """A fingerprint as a person typed it, in its one form; BadInput for anything else.

    >>> as_fingerprint(" SHA256:" + "0F" * 32)[:11]
    'sha256:0f0f'
    """
    written = written_fingerprint(given)
    if not written:
        raise BadInput(
            "the fingerprint is not sha256: and 64 hexadecimal digits; take it from what hu site init printed"
        )
    return written


def node_id_of(fingerprint: str) -> int:
    """The number by which a site is spoken to: always the same for the same key, after any restart.

    >>> node_id_of("sha256:" + "0f" * 32) == node_id_of("sha256:" + "0f" * 32)
    True
    """
    digest = hashlib.sha256(fingerprint.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2 | 1 << 61  # never 0 or the coordinator's own 1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
