"""hu phantom"""

from __future__ import annotations

from pathlib import Path

import click

from hounsfield.cli.options import as_json_option, say_json
from hounsfield.cli.progress import progress_for, stepping

__all__ = ["phantom"]


@click.command()
@click.argument("application")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder for the cohort.")
@click.option("--patients", type=click.IntRange(1), help="How many [the application's own number].")
@click.option("--seed", default=0, show_default=True, help="The same seed writes the same files.")
@as_json_option
def phantom(application: str, out: Path, patients: int | None, seed: int, as_json: bool) -> None:
    """Write the phantom cohort of APPLICATION (mammography, retinopathy, nodule, atrophy; chest-ct: a nodule
    scan at one visit) as DICOM with its label table.
    """
    from hounsfield.applications.catalogue import APPLICATIONS

    chosen = APPLICATIONS[application]()
    progress = progress_for()
    with stepping(progress, "phantom", f"{application}, simulated") as said:
        labels = chosen.write_cohort(
            out, patients=patients or chosen.patients, seed=seed, progress=progress.advance
        )
        said.append(f"{patients or chosen.patients} simulated patients, seed {seed}")
    if as_json:
        say_json({"labels": str(labels), "patients": patients or chosen.patients, "phantom": True})
    else:
        click.echo(f"phantom, not patients: {out}\nlabels: {labels}")
