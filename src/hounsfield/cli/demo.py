"""hu demo"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hounsfield.cli.options import as_json_option, changes_of, say_json
from hounsfield.cli.progress import progress_for, stepping
from hounsfield.cli.train import recorded

if TYPE_CHECKING:
    from hounsfield.applications.catalogue import Application
    from hounsfield.core.progress import Progress
    from hounsfield.steps.study import Study

__all__ = ["demo"]


@click.command()
@click.argument("application", default="mammography")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--out", default="demo-run", type=click.Path(path_type=Path), show_default=True, help="New folder."
)
@click.option("--patients", type=click.IntRange(1), help="How many [the application's own number].")
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="Time for training [the application's own number].",
)
@click.option("--full", is_flag=True, help="As many patients and minutes as the published numbers took.")
@click.option("--seed", default=0, show_default=True, help="Seed of phantom, split and training.")
@as_json_option
def demo(
    application: str, changes: tuple[str, ...], out: Path, patients: int | None, budget: float | None,
    full: bool, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Write the phantom cohort of APPLICATION (mammography, retinopathy, nodule, atrophy) as DICOM, then run
    the whole path on it: scan, split by patient, audit, design, train, evaluate, explain, report; of atrophy,
    whose question is change, measure the visits. OUT/study holds the DICOM files, OUT/run the
    model and report.html."""
    from hounsfield.applications.asked import named_application
    from hounsfield.core.errors import BadInput
    from hounsfield.steps.study import Study

    chosen = named_application(application)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BadInput(f'the output folder "{out.name}" is not empty; choose another --out or remove it')
    progress = progress_for()
    number = patients or (full and chosen.full_patients) or chosen.patients
    minutes = budget or (full and chosen.full_minutes) or chosen.minutes
    try:
        with stepping(progress, "phantom", f"{application}, simulated") as said:
            labels = chosen.write_cohort(out / "study", patients=number, seed=seed, progress=progress.advance)
            said.append(f"{number} simulated patients written as DICOM, seed {seed}")
        study = Study(
            source=str(out / "study"),
            out=out / "run",
            question=replace(chosen.question, labels=str(labels), seed=seed),
            changes={**dict(chosen.full_changes if full else chosen.phantom_changes), **changes_of(changes)},
            budget_minutes=minutes,
            title=f"{chosen.title} (phantom)",
            phantom=True,
            interventions=chosen.interventions,
            command=recorded(
                ["demo", application, *changes, "--patients", str(number), "--budget", f"{minutes:g}",
                 "--seed", str(seed)]
            ),
        )  # fmt: skip
        if chosen.demo == "follow":
            told = _followed(study, application, progress)
        else:
            told = _trained(study, chosen, progress)
    except BaseException:
        if (out / "study").is_dir():
            click.echo(f'the phantom in "{out.name}" is of a demo that failed; it can be removed', err=True)
        raise
    told(as_json)


def _trained(study: Study, chosen: Application, progress: Progress) -> Callable[[bool], None]:
    """Train on the phantom; what says the result."""
    from hounsfield.applications.asked import as_application
    from hounsfield.cli.summary import as_object, say
    from hounsfield.pipeline import train

    run = train(as_application(study, chosen), progress=progress)
    return lambda as_json: say_json(as_object(run)) if as_json else say(run)


def _followed(study: Study, name: str, progress: Progress) -> Callable[[bool], None]:
    """Measure the phantom's visits; what says the result."""
    from hounsfield.applications.asked import followed_by
    from hounsfield.cli.measured import measured_object, say_measured
    from hounsfield.pipeline.following import follow_visits

    done = follow_visits(*followed_by(study, name), progress=progress)
    return lambda as_json: say_json(measured_object(done)) if as_json else say_measured(done)
