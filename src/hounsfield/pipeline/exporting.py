"""A finished run's model as ONNX: written beside its weights, and into a folder that can be given away."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hounsfield.core.cohort import DEVELOPMENT
from hounsfield.core.errors import BadInput, GateRefused, MissingDependency
from hounsfield.core.evidence import Finding
from hounsfield.core.model import Model
from hounsfield.core.progress import Progress, Silent
from hounsfield.io.files import require_writable_folder, whole_file, write_json, write_text
from hounsfield.io.model_store import read_classifier
from hounsfield.steps.compute import available_cores
from hounsfield.steps.decode import decode
from hounsfield.steps.export import Development, export
from hounsfield.steps.gather import Question, gather
from hounsfield.steps.recipe import NOT_A_DEVICE, recipe_of
from hounsfield.steps.run_folder import MARKER
from hounsfield.steps.scan import scan
from hounsfield.steps.signature import resealed
from hounsfield.steps.study import Clock

__all__ = ["Exported", "export_run"]


@dataclass(frozen=True)
class Exported:
    """The model with its forms, what was measured of them, and the folder in which the files lie."""

    model: Model
    findings: tuple[Finding, ...]
    folder: Path


def export_run(
    run: Path,
    *,
    out: Path | None = None,
    source: str = "",
    question: Question | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a finished run's members as ONNX, again if they are there; with `out` also into a new folder.

    `source` and `question` name the images that the run was trained on: with them 8-bit forms are made too,
    and tested on the cases that each member did not learn from. Raises BadInput for a run that is not
    finished or does not classify, for a folder that is not empty and for images that are not the run's,
    GateRefused where a file does not give torch's logits, MissingDependency without onnx or onnxruntime.
    """
    model = read_classifier(run, what="export as ONNX is")
    _require_onnx()
    _require_finished(run)
    clock = Clock(progress or Silent())
    with _new_folder(out), tempfile.TemporaryDirectory(prefix="hounsfield-") as scratch:
        development = None
        if source:
            development = _development(run, model, source, question or Question(), Path(scratch), clock)
        again = resealed(run, "model/model.json", "model/plan.json", "model/card.md")
        with clock.step("export", f"{len(model.members)} member(s)") as said, again:
            model, findings = export(
                model, development, int8=development is not None, progress=clock.progress.advance
            )
            said += [f.note for f in findings if f.level != "info"]
        failed = [f for f in model.forms if f.kind == "onnx" and not f.file]
        if failed:
            raise GateRefused(
                f"{len(failed)} of {len(model.members)} member(s) were not kept as ONNX ({failed[0].note}); "
                "nothing is given away; predict with the run itself"
            )
        if out is not None:
            _give_away(model, out)
    return Exported(model, findings, out or model.directory)


@contextmanager
def _new_folder(out: Path | None) -> Iterator[None]:
    """See that the folder can be written before any work is done; on a failure none of ours is left."""
    if out is None:
        yield
        return
    if out.is_dir() and any(out.iterdir()):
        raise BadInput(f'the folder "{out.name}" is not empty; name a new one with --out')
    absent = [p for p in (out, *out.parents) if not p.exists()]
    require_writable_folder(out)
    try:
        yield
    except BaseException:
        for made in absent:
            with suppress(OSError):
                made.rmdir()  # only where it is empty
        raise


def _require_onnx() -> None:
    absent = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if absent:
        raise MissingDependency(f"exporting needs {' and '.join(absent)}; pip install {' '.join(absent)}")


def _require_finished(run: Path) -> None:
    """A run needs its report; a model folder by itself does not."""
    if (run / MARKER).is_file() and not (run / "report.html").is_file():
        raise BadInput(
            f'the run in "{run.name}" is not finished (it has no report); finish it with hu train --resume, '
            "then export it"
        )


def _development(
    run: Path, model: Model, source: str, question: Question, cache: Path, clock: Clock
) -> Development:
    """The run's own development cases, found again in a source by their ids."""
    from hounsfield.steps.prepare import prepare
    from hounsfield.tasks.classification import answers_of

    fold = _folds(run)
    with clock.step("scan", Path(source).name) as said:
        index = scan(source, progress=clock.progress.advance)
        said.append(index.summary())
    cohort = gather(index, question, encoding=model.encoding, split=False)
    cases = tuple(c for c in cohort.cases if c.id in fold)
    if len(cases) < len(fold):
        raise BadInput(
            f"{len(fold) - len(cases)} of the {len(fold)} development cases of this run are not in the "
            "source, or have no label there; expected all; name the images and labels it was trained on"
        )
    with clock.step("prepare") as said:
        series = [c.images[0] for c in cases]
        store = decode(index, series, cache, threads=available_cores(), progress=clock.progress.advance)
        prepared = prepare(cases, model.plan.input, store, cache, threads=available_cores())
        said.append(f"{len(cases)} development cases")
    return Development(
        prepared=prepared,
        rows=prepared.rows([c.id for c in cases]),
        answers=answers_of(cases, model.encoding),
        fold=np.array([fold[c.id] for c in cases], np.int64),
        patients=tuple(c.patient for c in cases),
    )


def _folds(run: Path) -> dict[str, int]:
    """The fold of each development case, from the run's private table."""
    home = run.parent if run.name == "model" and (run.parent / "private").is_dir() else run
    table = home / "private" / "cases.csv"
    if not table.is_file():
        raise BadInput(
            f'"{run.name}" holds no private folder, so which images the model learned from is not known; '
            "expected the whole folder of the run, as hu train left it; or leave --int8 out"
        )
    with table.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["part"] == DEVELOPMENT]
    return {row["case"]: int(row["fold"]) for row in rows}


def _give_away(model: Model, out: Path) -> None:
    """ONNX files, preprocessing.json and card.md; where one cannot be written, none is left."""
    made: list[Path] = []
    try:
        for form in model.forms:
            if form.file:
                made.append(out / form.file)
                with whole_file(made[-1]) as unfinished:
                    shutil.copyfile(model.directory / form.file, unfinished)
        made.append(out / "preprocessing.json")
        write_json(made[-1], recipe_of(model))
        made.append(out / "card.md")
        write_text(made[-1], f"{(model.directory / 'card.md').read_text()}\n{NOT_A_DEVICE}\n")
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
