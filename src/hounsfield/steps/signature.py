"""The seal of a run: who says that these files are as they were, and a check that they still are.

`evidence.sig` is JSON: algorithm, public key and its fingerprint, time, and the SHA-256 of each file that it
covers; the signature (Ed25519, RFC 8032) is over the canonical form of all that. A report that is rendered
again is signed again, and the first statement stays inside the new one: evidence, model and predictions must
be those that were signed when the run ended.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hounsfield.core.errors import BadInput
from hounsfield.io.files import write_text
from hounsfield.io.model_store import digest_of
from hounsfield.steps.canonical import canonical
from hounsfield.steps.signing_key import fingerprint, own_fingerprint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["REDRAWN", "SIGNATURE", "Verdict", "resealed", "sign", "verify"]

SIGNATURE = "evidence.sig"
REDRAWN = ("report.html", "answers.yaml", "model/README.md", "model/chai.md", "model/chai.xml")
"""What a report that is rendered again may change; everything else must stay as it was."""

PURPOSE = b"hounsfield evidence signature 1\n"
LARGEST = 16_000_000
"""Bytes; no signature file is larger."""

FOUND = (
    "evidence.json",
    "report.html",
    "plan.json",
    "predictions.csv",
    "answers.yaml",
    "private/pictures.json",
)
FORMS = {
    "public_key": "[A-Za-z0-9+/=]{1,200}",
    "signature": "[A-Za-z0-9+/=]{1,200}",
    "fingerprint": "sha256:[0-9a-f]{64}",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "algorithm": "[A-Za-z0-9]{1,40}",
}
"""What the texts of a statement look like, so that none of them can surprise a terminal."""

Statement = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of a signature found, by file.

    `faults` are sentences about the signature itself. `uncovered` files lie in the model's folder and were
    not signed; `apart` ones were signed but belong to the private folder, which need not travel. `first` is
    (fingerprint, time) of who signed at the end of the run, where the run has been signed again since;
    `rewritten` are files that a later step wrote anew, such as an export of the model.
    """

    signer: str
    time: str
    intact: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    first: tuple[str, str] = ("", "")
    rewritten: tuple[str, ...] = ()
    is_own: bool = False

    @property
    def holds(self) -> bool:
        """True if the signature is right and every file is as it was signed."""
        return not (self.changed or self.missing or self.faults)


def sign(
    folder: Path,
    key: Ed25519PrivateKey,
    *,
    without: tuple[str, ...] = (),
    rewritten: tuple[str, ...] = (),
) -> None:
    """Write `evidence.sig` over the run's files as they are now, keeping the first statement, if any.

    `without` are files that are not covered, `rewritten` such as a later step has rightly changed. Raises
    BadInput where it cannot be written.
    """
    public = key.public_key().public_bytes_raw()
    files = [name for name in _covered(folder) if name not in without]
    statement: Statement = {
        "format": 1,
        "algorithm": "Ed25519",
        "public_key": base64.b64encode(public).decode(),
        "fingerprint": fingerprint(public),
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": {name: digest_of(folder / name) for name in files},
    }
    if (folder / SIGNATURE).is_file():
        earlier = _read(folder)
        statement["first"] = earlier.get("first") or earlier
        statement["rewritten"] = sorted({*rewritten, *earlier.get("rewritten", ())})
    signature = base64.b64encode(key.sign(PURPOSE + canonical(statement))).decode()
    text = json.dumps({**statement, "signature": signature}, indent=1, sort_keys=True)
    write_text(folder / SIGNATURE, text + "\n")


def verify(folder: Path, *, key: str = "") -> Verdict:
    """Check the signature of a run's folder and the digest of every file that it covers.

    `key` is the fingerprint that must have signed. Raises BadInput where there is no signature to check.
    """
    if not (folder / SIGNATURE).is_file():
        raise BadInput(_unsigned(folder))
    try:
        statement = _read(folder)
    except BadInput as error:
        return Verdict("", "", faults=(str(error),))
    first = statement.get("first")
    faults = _faults(statement, key)
    if first is not None:
        faults += _faults_of_first(statement, first)
    return _checked(folder, statement, first, tuple(faults))


@contextmanager
def resealed(folder: Path, *files: str) -> Iterator[None]:
    """For a step that writes some files of a finished run anew: signs again what was whole before.

    A run without a signature stays so, and one whose signature did not hold before stays as it is; so does a
    run that this user cannot sign, whose signature then names the files as changed.
    """
    from hounsfield.steps.signing_key import own_key

    whole = (folder / SIGNATURE).is_file() and verify(folder).holds
    yield
    if whole:
        with suppress(BadInput):
            answered = "answers.yaml" in _read(folder)["files"]
            sign(folder, own_key(), without=() if answered else ("answers.yaml",), rewritten=files)


def _checked(folder: Path, statement: Statement, first: Statement | None, faults: tuple[str, ...]) -> Verdict:
    found: dict[str, list[str]] = {"intact": [], "changed": [], "missing": [], "apart": []}
    for name, digest in sorted(statement["files"].items()):
        path = folder / name
        if path.is_file():
            found["intact" if digest_of(path) == digest else "changed"].append(name)
        else:
            found["apart" if name.startswith("private/") else "missing"].append(name)
    uncovered = [n for n in _covered(folder) if n.startswith("model/") and n not in statement["files"]]
    return Verdict(
        signer=statement["fingerprint"],
        time=statement["time"],
        uncovered=tuple(uncovered),
        faults=faults,
        first=(first["fingerprint"], first["time"]) if first else ("", ""),
        rewritten=tuple(statement.get("rewritten", ())),
        is_own=statement["fingerprint"] == own_fingerprint(),
        **{kind: tuple(names) for kind, names in found.items()},
    )


def _covered(folder: Path) -> list[str]:
    """The names of the files that a signature covers, as far as they are there."""
    named = [name for name in FOUND if (folder / name).is_file()]
    home = folder / "model"
    inside = sorted(p.name for p in home.iterdir() if p.is_file()) if home.is_dir() else []
    return named + [f"model/{name}" for name in inside if not name.startswith(".")]


def _read(folder: Path) -> Statement:
    """The statement in `evidence.sig`; BadInput where it has not the form of one."""
    path = folder / SIGNATURE
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("too large")
        statement = json.loads(path.read_text("utf-8"))
        _require_form(statement)
        if "first" in statement:
            _require_form(statement["first"])
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{SIGNATURE} is not a signature that hounsfield wrote, or it was changed") from error
    return dict(statement)


def _require_form(statement: Any) -> None:
    """Raise ValueError where a statement lacks what is needed to check it, or names files elsewhere."""
    if not isinstance(statement, dict) or statement.get("format") != 1:
        raise ValueError("form")
    if not all(re.fullmatch(form, str(statement.get(key))) for key, form in FORMS.items()):
        raise ValueError("form")
    if not isinstance(statement.get("files"), dict):
        raise ValueError("form")
    for name, digest in statement["files"].items():
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable():
            raise ValueError("a file outside the run")
        if not isinstance(digest, str):
            raise ValueError("form")
    rewritten = statement.get("rewritten", [])
    if not isinstance(rewritten, list) or not all(isinstance(n, str) and n.isprintable() for n in rewritten):
        raise ValueError("form")


def _faults(statement: Mapping[str, Any], wanted: str = "") -> list[str]:
    """What is wrong with the signature itself."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signed = {key: value for key, value in statement.items() if key != "signature"}
    try:
        public = base64.b64decode(statement["public_key"], validate=True)
        signature = base64.b64decode(statement["signature"], validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, PURPOSE + canonical(signed))
    except (InvalidSignature, ValueError, RecursionError):
        return ["the signature does not fit what it signs: a digest, the time or the key was changed"]
    if statement["algorithm"] != "Ed25519" or statement["fingerprint"] != fingerprint(public):
        return ["the fingerprint is not that of the key that signed"]
    if wanted and wanted != statement["fingerprint"]:
        return [f"signed by {statement['fingerprint']}, not by the expected {wanted}"]
    return []


def _faults_of_first(statement: Mapping[str, Any], first: Mapping[str, Any]) -> list[str]:
    """What is wrong with the statement of the run's end that a later one has taken over."""
    faults = [f"the first signature: {fault}" for fault in _faults(first)]
    free = {*REDRAWN, *statement.get("rewritten", ())}
    for name, digest in first["files"].items():
        if name in free:
            continue
        if statement["files"].get(name, digest) != digest:
            faults.append(f"{name} is not what was signed when the run ended")
        elif name not in statement["files"] and not name.startswith("private/"):
            faults.append(f"{name} was signed when the run ended and is covered no more")
    return faults


def _unsigned(folder: Path) -> str:
    page = folder / "report.html"
    if not page.is_file():
        return (
            f'"{folder.name}" holds neither {SIGNATURE} nor a report; expected the folder of a finished run; '
            "name the --out of hu train, hu evaluate or hu demo"
        )
    if 'data-signed="sha256:' in page.read_text("utf-8", "replace"):
        return (
            f"{SIGNATURE} is missing, although the report says that the run was signed; do not rely on it; "
            "ask for the whole folder again"
        )
    return (
        f"the run is not signed, so nothing can be verified; its report says why; hu report {folder.name} "
        "signs it"
    )
