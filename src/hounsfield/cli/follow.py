"""hu follow"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hounsfield.cli.options import as_json_option, say_json
from hounsfield.cli.progress import progress_for
from hounsfield.cli.train import recorded

__all__ = ["follow"]


@click.command()
@click.argument("source")
@click.option("--application", required=True, metavar="NAME", help="atrophy: brain MRI; nodule: chest CT.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run; must be new.")
@click.option(
    "--labels", default="", metavar="CSV", help="Table that names patient, date and visit of each image."
)
@click.option("--on", default="", metavar="COLUMN", help="Its id column (found by itself otherwise).")
@click.option("--marks", default="", metavar="FILE", help="Where objects lie, as for hu train.")
@click.option("--model", type=click.Path(path_type=Path), help="A run whose model finds the objects.")
@as_json_option
def follow(
    source: str, application: str, out: Path, labels: str, on: str, marks: str, model: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure the patients of SOURCE over their visits: what is there, how it changed, with an error bar for
    each patient. No model is trained. OUT holds measurements.csv and report.html."""
    from hounsfield.applications.asked import followed_by
    from hounsfield.cli.measured import measured_object, say_measured
    from hounsfield.pipeline.following import follow_visits
    from hounsfield.steps.gather import Question
    from hounsfield.steps.study import Study

    study = Study(source, out, Question(labels=labels, on=on, marks=marks), command=recorded(sys.argv[1:]))
    study, follower = followed_by(study, application)
    done = follow_visits(study, follower, model=model, progress=progress_for())
    if as_json:
        say_json(measured_object(done))
    else:
        say_measured(done)
