"""The evidence as one page to read and one file to compute with, sealed with the user's key.

`report.html` stands alone: style, figures and pictures are inside it, it runs no script and asks no network.
`evidence.json` holds the same numbers in canonical form; the page is drawn from exactly that content and from
`private/pictures.json`, so that it can be drawn again without the data when people have answered their
questions in `answers.yaml`. `evidence.sig` covers them all, and the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hounsfield.core.errors import BadInput, GateRefused, HounsfieldError
from hounsfield.core.evidence import Evidence, Finding, Picture
from hounsfield.io.files import write_bytes, write_text
from hounsfield.steps.canonical import canonical, plain
from hounsfield.steps.chapters.topics import PARTS
from hounsfield.steps.chapters.trust import kept_gallery, safe_gallery
from hounsfield.steps.human_answers import ANSWERS, read_answers, write_template
from hounsfield.steps.kept_order import in_order, order_of
from hounsfield.steps.page import Seal, page_of
from hounsfield.steps.signature import REDRAWN, SIGNATURE, sign, verify
from hounsfield.steps.standards import Account, Given

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Drawn", "report", "report_again"]

Row = dict[str, Any]
PICTURES = "private/pictures.json"
ORDERED = ("context", "tables", "curves")
"""The parts of the evidence in which the order of the keys is that of reading."""

NO_PICTURES: Row = {"pictures": [], "reduced": False}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A report as it was drawn: where it lies, the answers and the account in it, and whose seal."""

    path: Path
    answers: Mapping[str, Given]
    account: Account
    seal: Seal


def report(evidence: Evidence, pictures: tuple[Picture, ...], out: Path, *, signed: bool = True) -> Path:
    """Write report, evidence and the questions for people into the folder `out`; returns the page's path.

    What the evidence lacks is named as not measured; what only a person can answer stays blank. A key that
    cannot be used leaves the report unsigned, and it says why. Raises BadInput where the folder cannot be
    written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = report(Evidence("Minimal"), (), Path(folder), signed=False)
    ...     sorted(p.name for p in Path(folder).iterdir()), "Not measured" in page.read_text()
    (['answers.yaml', 'evidence.json', 'private', 'report.html'], True)
    """
    content, kept = plain(evidence), kept_gallery(pictures)
    order = order_of({key: content[key] for key in ORDERED})
    write_bytes(out / "evidence.json", canonical({**content, "order": order}))
    with suppress(OSError):  # the next line says in a sentence what is wrong
        (out / "private").mkdir(mode=0o700, exist_ok=True)
    write_bytes(out / PICTURES, canonical(kept))
    write_template(out, _task(content))
    return _drawn(content, kept, {}, out, signed=signed).path


def report_again(run: Path, *, pictures: bool = True) -> Drawn:
    """Draw a run's report again from what it left, with the answers that people have given meanwhile.

    Raises BadInput where the run holds no evidence, its pictures are gone (unless `pictures` is False), an
    answer cannot be taken, or a signed run cannot be signed again; and GateRefused where anything that was
    signed has been changed since.
    """
    content = _kept_evidence(run)
    if (run / SIGNATURE).is_file():
        _refuse_changed(run)
    kept = _kept_pictures(run) if pictures else NO_PICTURES
    answers = read_answers(run, _task(content))
    write_template(run, _task(content))
    return _drawn(content, kept, answers, run, signed=True)


def _drawn(content: Row, kept: Row, answers: Mapping[str, Given], out: Path, *, signed: bool) -> Drawn:
    """Write cards and page, and sign them all; where that fails, the page says so instead."""
    key, seal = _own_seal() if signed else (None, Seal())
    if key is None and (out / SIGNATURE).is_file():
        raise BadInput(f"the run is signed and its report cannot be signed again: {seal.why_not}")
    _write_cards(out, content, answers)
    covered = ("evidence.json", *(["model/model.json"] if (out / "model/model.json").is_file() else []))
    path = out / "report.html"
    page = page_of(content, kept, answers=answers, seal=seal, covered=covered)
    write_text(path, page.html)
    if key is not None:
        try:
            sign(out, key, without=() if answers else (ANSWERS,))
        except (HounsfieldError, OSError) as error:
            seal = Seal(why_not=_sentence(error))
            page = page_of(content, kept, answers=answers, seal=seal, covered=covered)
            write_text(path, page.html)
    return Drawn(path, answers, page.account, seal)


def _own_seal() -> tuple[Ed25519PrivateKey | None, Seal]:
    """The user's key, or why there is none: a finished run must not fail because of it."""
    try:
        from hounsfield.steps.signing_key import fingerprint, own_key

        key = own_key()
        return key, Seal(fingerprint(key.public_key().public_bytes_raw()))
    except (HounsfieldError, OSError, ImportError) as error:
        return None, Seal(why_not=_sentence(error))


def _sentence(error: Exception) -> str:
    told = str(error) if isinstance(error, HounsfieldError) else type(error).__name__
    return f"{told[:1].upper()}{told[1:]}."


def _write_cards(out: Path, content: Row, answers: Mapping[str, Given]) -> None:
    """The model cards, where the run's folder holds its model."""
    if not (out / "model" / "model.json").is_file():
        return
    from hounsfield.io.model_store import read_model
    from hounsfield.steps.chai_card import chai_markdown, chai_xml
    from hounsfield.steps.model_card import readme

    model = read_model(out)
    write_text(out / "model" / "README.md", readme(model, content, answers))
    write_text(out / "model" / "chai.md", chai_markdown(model, content, answers))
    write_text(out / "model" / "chai.xml", chai_xml(model, content, answers))


def _task(content: Row) -> str:
    return str(content["context"].get("task") or "classification")


def _kept_evidence(run: Path) -> Row:
    """The content of `evidence.json`, with what this version expects in it."""
    path = run / "evidence.json"
    if not path.is_file():
        raise BadInput(
            f'"{run.name}" holds no evidence.json; expected the folder of a finished hu train or hu evaluate'
        )
    try:
        saved = json.loads(path.read_text("utf-8"))
        blank = plain(Evidence(str(saved["title"])))
        content = {**blank, **{key: saved[key] for key in blank if key in saved}}
        content |= in_order({key: content[key] for key in ORDERED}, dict(saved.get("order") or {}))
        facts = plain(Finding(""))
        for part in PARTS:
            content[part] = [{**facts, **{key: f[key] for key in facts if key in f}} for f in content[part]]
        if not all(isinstance(content[key], dict) for key in ORDERED):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(
            f"evidence.json in {run.name} is not what hounsfield wrote; copy the run's folder again"
        ) from error
    return dict(content)


def _kept_pictures(run: Path) -> Row:
    path = run / PICTURES
    if not path.is_file():
        raise BadInput(
            f"{PICTURES} is not in {run.name}, so that its cases cannot be shown again; run hu report where "
            "the whole run lies, or leave the pictures out with --without-pictures"
        )
    try:
        kept = safe_gallery(json.loads(path.read_text("utf-8")))
    except (ValueError, RecursionError):
        kept = None
    if kept is None:
        raise BadInput(f"{PICTURES} in {run.name} is not what hounsfield wrote; copy the run's folder again")
    return kept


def _refuse_changed(run: Path) -> None:
    """Raise GateRefused where the evidence is not what was signed: signing it again would hide that."""
    verdict = verify(run)
    touched = [name for name in (*verdict.changed, *verdict.missing) if name not in REDRAWN]
    if verdict.faults or touched:
        what = verdict.faults[0] if verdict.faults else f"{touched[0]} is not what was signed"
        raise GateRefused(
            f"{what}; the report is not drawn again over changed evidence; run hu verify {run.name}, and "
            "restore the files"
        )
