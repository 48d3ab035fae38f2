"""hu predict"""

from __future__ import annotations

from pathlib import Path

import click

from hounsfield.cli.options import as_json_option, say_json
from hounsfield.cli.progress import progress_for

__all__ = ["predict"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder for predictions.csv.")
@as_json_option
def predict(run: Path, source: str, out: Path, as_json: bool) -> None:
    """Score every image under SOURCE with the model of RUN. predictions.csv names cases by an id without
    identity; private/cases.csv says which file and patient each is."""
    from hounsfield.pipeline import predict_source

    predictions = predict_source(run, source, out=out, progress=progress_for())
    if as_json:
        say_json({"n": len(predictions), "predictions": str(out / "predictions.csv")})
    else:
        click.echo(f"{len(predictions)} cases: {out / 'predictions.csv'}")
