"""A finished model explains images of a source: scan, prepare, predict, explain, and the panels as PNG."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.case import Case
from hounsfield.core.errors import BadInput
from hounsfield.core.evidence import Picture
from hounsfield.core.index import Index
from hounsfield.core.model import Model
from hounsfield.core.progress import Progress, Silent
from hounsfield.io.files import whole_file, write_json
from hounsfield.io.model_store import read_classifier
from hounsfield.steps.compute import available_cores
from hounsfield.steps.decode import decode
from hounsfield.steps.explain import Explained, explain
from hounsfield.steps.explain_kept import FILE, kept_scores
from hounsfield.steps.run_folder import RunFolder
from hounsfield.steps.scan import scan
from hounsfield.steps.study import Clock

__all__ = ["explain_source"]


def explain_source(
    run: Path, source: str, *, out: Path, most: int = 12, progress: Progress | None = None
) -> Explained:
    """Explain the first `most` images of a source with the model of a run; nothing of its training is needed.

    Into the new folder `out` go a PNG a panel, explanations.json, and private/cases.csv, which says which
    file and patient each case is. Maps are shown if they passed the tests that the run has kept; where it
    kept none they are tested on the images of the source, and withheld if these are too few. Similar cases
    are those of RUN/private, if it is there. Raises BadInput where the source holds no image, the model does
    not classify, or `out` may not be used.
    """
    clock = Clock(progress or Silent())
    model = read_classifier(run, what="explanations are")
    folder = RunFolder(out)
    with folder.opened(resume=False), tempfile.TemporaryDirectory(prefix="hounsfield-") as scratch:
        with clock.step("scan", Path(source).name) as said:
            index = scan(source, progress=clock.progress.advance)
            said.append(index.summary())
        if not index.series:
            raise BadInput(f"the source holds no image to explain ({index.summary()}); name another")
        explained, cases = _explained(model, index, Path(scratch), most, clock)
        _write(explained, model, len(index.series), folder.path)
        folder.keep_files(cases)
    return explained


def _explained(
    model: Model, index: Index, cache: Path, most: int, clock: Clock
) -> tuple[Explained, tuple[Case, ...]]:
    from hounsfield.steps.group_thresholds import called_at
    from hounsfield.steps.predict import predict
    from hounsfield.steps.prepare import prepare

    kept = kept_scores(model)
    series = index.series if kept is None else index.series[:most]  # the others would be tested on
    cases = tuple(Case(s.id, s.patient or f"image {s.id}", (s,)) for s in series)
    with clock.step("prepare"):
        threads = available_cores()
        store = decode(index, series, cache, threads=threads, progress=clock.progress.advance)
        prepared = prepare(cases, model.plan.input, store, cache, threads=threads)
    with clock.step("predict") as said:
        predictions = predict(model, prepared, cases, kind="prediction", progress=clock.progress.advance)
        called = called_at(predictions, model.operating_point)
        said.append(f"{len(cases)} cases")
    with clock.step("explain") as said:
        explained = explain(
            model, prepared, predictions, called, most=most, scored=kept, progress=clock.progress.advance
        )
        said.append(f"{len(explained)} pictures of {min(most, len(cases))} cases")
    return explained, cases[:most]


def _write(explained: Explained, model: Model, found: int, out: Path) -> None:
    """The panels and, when all are there, explanations.json; nothing where one could not be written."""
    written: list[Path] = []
    try:
        shown = []
        for picture in explained:
            files = [
                _panel(out, picture, number, pixels) for number, (_, pixels) in enumerate(picture.panels)
            ]
            written += files
            shown.append(_row(picture, files))
        facts = {
            "format": 1,
            "plan": model.plan.digest(),
            "images": found,
            "explained": len({picture.case for picture in explained}),
            "pictures": shown,
            "shown": explained.scored.shown,
            "withheld": dict(explained.scored.withheld),
            "findings": [asdict(finding) for finding in explained.findings],
            "notes": explained.notes,
        }
        write_json(out / FILE, facts)
    except BaseException:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise


def _row(picture: Picture, files: Sequence[Path]) -> dict[str, Any]:
    titles = [title for title, _ in picture.panels]
    panels = [{"title": t, "file": file.name} for t, file in zip(titles, files, strict=True)]
    return {"case": picture.case, "kind": picture.kind, "caption": picture.caption, "panels": panels}


def _panel(out: Path, picture: Picture, number: int, pixels: NDArray[np.uint8]) -> Path:
    """One panel as a PNG, named after the case, which holds no identity."""
    from PIL import Image

    name = re.sub(r"[^\w.-]+", "-", picture.case)
    path = out / f"{name}-{picture.kind}-{number}.png"
    with whole_file(path) as unfinished:
        Image.fromarray(pixels).save(unfinished, "PNG")
    return path
