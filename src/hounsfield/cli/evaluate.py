"""hu evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hounsfield.cli.options import as_json_option, question_of, question_options, say_json
from hounsfield.cli.progress import progress_for

__all__ = ["evaluate"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report [RUN/evaluations/N].")
@question_options
@as_json_option
def evaluate(run: Path, source: str, out: Path | None, as_json: bool, **given: Any) -> None:
    """Evaluate the model of RUN on SOURCE, which it has not seen: metrics with intervals, audit, report. Of a
    file that names its parts only the test part is taken."""
    from hounsfield.cli.summary import as_object, say
    from hounsfield.pipeline import evaluate_model
    from hounsfield.steps.study import Study

    study = Study(source=source, out=out or _next(run), question=question_of(given))
    done = evaluate_model(study, run, progress=progress_for())
    if as_json:
        say_json(as_object(done))
    else:
        say(done)


def _next(run: Path) -> Path:
    """The first free number under RUN/evaluations."""
    number = 1
    while (run / "evaluations" / str(number)).exists():
        number += 1
    return run / "evaluations" / str(number)
