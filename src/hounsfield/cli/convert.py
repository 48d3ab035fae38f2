"""hu convert"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from hounsfield.cli.options import as_json_option, say_json
from hounsfield.cli.progress import progress_for, stepping

__all__ = ["convert"]


@click.command()
@click.argument("source")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new or empty folder.")
@click.option("--image", default="", metavar="ID", help="Write this image only (its id, e.g. image-00003).")
@click.option(
    "--compress/--no-compress", default=True, show_default=True, help="Write .nii.gz rather than .nii."
)
@click.option("--join", is_flag=True, help="One file with a fourth axis for a series of several volumes.")
@as_json_option
def convert(source: str, out: Path, image: str, compress: bool, join: bool, as_json: bool) -> None:
    """Write every volume of SOURCE as NIfTI, with the affine to the patient (RAS+ mm), and index.csv, which
    says what each file is and why others were refused. Names and headers hold no patient identity."""
    from hounsfield.steps.convert import TABLE
    from hounsfield.steps.convert import convert as convert_step

    progress = progress_for()
    with stepping(progress, "convert") as said:
        found = convert_step(
            source, out, image=image, compress=compress, join=join, progress=progress.advance
        )
        said.append(found.summary())
    names = list(dict.fromkeys(c.file for c in found.written))
    failed = Counter(c.reason for c in found.failed)
    if as_json:
        unplaced = sum(c.geometry == "unknown" for c in found.written)
        say_json(
            {
                "out": str(out),
                "table": TABLE,
                "written": names,
                "without_geometry": unplaced,
                "failed": failed,
                "refused": found.refused,
            }
        )
        return
    click.echo(f"{len(names)} image{'s' * (len(names) != 1)} in {out}, described in {out / TABLE}")
    for what, counts in (("not written", failed), ("refused", Counter(found.refused))):
        for reason, n in counts.most_common(12):
            click.echo(f"{n:6d}  {what}: {reason}")
