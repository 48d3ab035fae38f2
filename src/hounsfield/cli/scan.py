"""hu scan"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hounsfield.cli.options import as_json_option, say_json
from hounsfield.cli.progress import progress_for, stepping

if TYPE_CHECKING:
    from hounsfield.core.index import Series

__all__ = ["scan"]


@click.command()
@click.argument("source")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write the index here as Parquet; an index that stands there is brought up to date.",
)
@as_json_option
def scan(source: str, out: Path | None, as_json: bool) -> None:
    """List what SOURCE holds: images by modality and size, and refused files with their reason. The Parquet
    index holds patient ids and file names: it stays with the data."""
    from hounsfield.steps.scan import scan as scan_step

    progress = progress_for()
    with stepping(progress, "scan") as said:
        index = scan_step(source, out=out, progress=progress.advance)
        said.append(index.summary())
    shapes = Counter(_shape(s) for s in index.series)
    if as_json:
        say_json(
            {
                "files": len({f for s in index.series for f in s.files} | {r.file for r in index.refused}),
                "images": len(index.series),
                "patients": len({s.patient for s in index.series if s.patient}),
                "modalities": Counter(s.modality or s.reader for s in index.series),
                "shapes": shapes,
                "stacks": Counter(s.stack for s in index.series if s.stack),
                "refused_files": len(index.refused),
                "refused": index.reasons(),
                "reused": index.reused,
            }
        )
        return
    for shape, n in shapes.most_common(12):
        click.echo(f"{n:6d}  {shape}")
    for reason, n in list(index.reasons().items())[:12]:
        click.echo(f"{n:6d}  refused: {reason}")
    if index.reused:
        click.echo(f"{index.reused:6d}  known from the earlier scan, not read again")


def _shape(series: Series) -> str:
    tilted = ", gantry tilted" if series.stack == "tilt" else ""
    return f"{series.modality or 'image'} {'×'.join(map(str, series.shape))}{tilted}"
