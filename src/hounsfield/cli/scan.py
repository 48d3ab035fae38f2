"""hu scan"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from hounsfield.cli.options import as_json_option, say_json
from hounsfield.cli.progress import progress_for, stepping

__all__ = ["scan"]


@click.command()
@click.argument("source")
@click.option("--out", type=click.Path(path_type=Path), help="Write the index here as Parquet.")
@as_json_option
def scan(source: str, out: Path | None, as_json: bool) -> None:
    """List what SOURCE holds: images by modality and size, and refused files with their reason. The Parquet
    index holds patient ids and file names: it stays with the data."""
    from hounsfield.steps.scan import scan as scan_step

    progress = progress_for()
    with stepping(progress, "scan") as said:
        index = scan_step(source, progress=progress.advance)
        said.append(index.summary())
    if out is not None:
        import pyarrow.parquet as parquet

        from hounsfield.io.files import whole_file

        with whole_file(out) as temporary:
            parquet.write_table(index.to_table(), temporary)
    shapes = Counter(f"{s.modality or 'image'} {'×'.join(map(str, s.shape))}" for s in index.series)
    refused = Counter(r.reason for r in index.refused)
    if as_json:
        patients = len({s.patient for s in index.series if s.patient})
        say_json({"images": len(index.series), "patients": patients, "shapes": shapes, "refused": refused})
        return
    for shape, n in shapes.most_common(12):
        click.echo(f"{n:6d}  {shape}")
    for reason, n in refused.most_common(12):
        click.echo(f"{n:6d}  refused: {reason}")
