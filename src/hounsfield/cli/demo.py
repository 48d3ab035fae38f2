"""hu demo"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from hounsfield.cli.options import as_json_option, changes_of, say_json
from hounsfield.cli.progress import progress_for, stepping
from hounsfield.cli.train import recorded

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
    """Write the phantom cohort of APPLICATION as DICOM, then run the whole path on it: scan, split by
    patient, audit, design, train, evaluate, explain, report. OUT/study holds the DICOM files, OUT/run the
    model and report.html."""
    from hounsfield.applications.asked import as_application, named_application
    from hounsfield.cli.summary import as_object, say
    from hounsfield.core.errors import BadInput
    from hounsfield.pipeline import train
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
            changes={**dict(chosen.phantom_changes), **changes_of(changes)},
            budget_minutes=minutes,
            title=f"{chosen.title} (phantom)",
            phantom=True,
            interventions=chosen.interventions,
            command=recorded(
                ["demo", application, *changes, "--patients", str(number), "--budget", f"{minutes:g}",
                 "--seed", str(seed)]
            ),
        )  # fmt: skip
        run = train(as_application(study, chosen), progress=progress)
    except BaseException:
        if (out / "study").is_dir():
            click.echo(f'the phantom in "{out.name}" is of a demo that failed; it can be removed', err=True)
        raise
    if as_json:
        say_json(as_object(run))
    else:
        say(run)
