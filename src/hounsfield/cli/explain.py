"""hu explain"""

from __future__ import annotations

from pathlib import Path

import click

from hounsfield.cli.options import as_json_option, say_json
from hounsfield.cli.progress import progress_for

__all__ = ["explain"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder for the pictures.")
@click.option("--most", type=click.IntRange(1), default=12, show_default=True, help="Images to explain.")
@as_json_option
def explain(run: Path, source: str, out: Path, most: int, as_json: bool) -> None:
    """Show what the model of RUN looked at in images of SOURCE: maps that passed their tests, similar
    confirmed training cases (from RUN/private, if it is there) and synthetic edits, as PNG, and
    explanations.json. What is withheld is named with the reason."""
    from hounsfield.pipeline.explaining import explain_source

    done = explain_source(run, source, out=out, most=most, progress=progress_for())
    cases = len({picture.case for picture in done})
    if as_json:
        say_json(
            {
                "n": cases,
                "explanations": str(out / "explanations.json"),
                "shown": list(done.scored.shown),
                "withheld": dict(done.scored.withheld),
                "notes": list(done.notes),
            }
        )
        return
    for note in done.notes:
        click.echo(f"  {note}")
    click.echo(f"{cases} case{'s' * (cases != 1)} explained: {out / 'explanations.json'}")
