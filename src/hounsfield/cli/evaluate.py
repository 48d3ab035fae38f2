"""hu evaluate"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from hounsfield.cli.options import as_json_option, question_of, question_options, say_json
from hounsfield.cli.progress import progress_for
from hounsfield.cli.train import recorded

__all__ = ["evaluate"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the report [RUN/evaluations/N]; a must where RUN is a model without its run.",
)
@question_options
@as_json_option
def evaluate(run: Path, source: str, out: Path | None, as_json: bool, **given: Any) -> None:
    """Evaluate the model of RUN on SOURCE, which it has not seen: metrics with intervals, audit, report. Of a
    file that names its parts only the test part is taken."""
    from hounsfield.applications.asked import as_its_application
    from hounsfield.cli.summary import as_object, say
    from hounsfield.pipeline import evaluate_model
    from hounsfield.steps.run_folder import evaluation_folder
    from hounsfield.steps.study import Study

    with nullcontext(out) if out else evaluation_folder(run) as folder:
        study = Study(source=source, out=folder, question=question_of(given), command=recorded(sys.argv[1:]))
        study = as_its_application(study, run)
        done = evaluate_model(study, run, progress=progress_for())
    if as_json:
        say_json(as_object(done))
    else:
        say(done)
