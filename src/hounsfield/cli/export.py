"""hu export"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hounsfield.cli.options import as_json_option, question_of, question_options, say_json
from hounsfield.cli.progress import progress_for
from hounsfield.core.errors import BadInput

__all__ = ["export"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="New folder to give away [only RUN/model].")
@click.option(
    "--format", "_format", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="File format."
)
@click.option(
    "--int8",
    "source",
    default="",
    metavar="SOURCE",
    help="Make 8-bit forms too; SOURCE: the images that the run was trained on.",
)
@question_options
@as_json_option
def export(run: Path, out: Path | None, _format: str, source: str, as_json: bool, **given: Any) -> None:
    """Write the model of RUN as ONNX, checked to give the same scores. The folder --out holds the files,
    preprocessing.json (how pixels become the input) and card.md. An 8-bit form is kept only where its
    accuracy holds on cases that its member did not learn from (labels as for hu train).
    """
    from hounsfield.pipeline.exporting import export_run

    if not source and any(given.values()):
        raise BadInput(
            "options about labels were given without --int8; they say which answers test 8-bit forms"
        )
    done = export_run(run, out=out, source=source, question=question_of(given), progress=progress_for())
    files = [form.file for form in done.model.forms if form.file]
    if as_json:
        say_json(
            {
                "folder": str(done.folder),
                "files": files,
                "findings": [
                    {
                        "name": f.name, "label": f.label, "value": f.value, "low": f.low, "high": f.high,
                        "n": f.n, "level": f.level, "note": f.note,
                    }
                    for f in done.findings
                ],
            }
        )  # fmt: skip
        return
    for f in done.findings:
        mark = "!" if f.level != "info" else " "
        click.echo(f"{mark} {' '.join((f.name, f.label)).strip()}: {f.note}")
    click.echo(f"{len(files)} file(s): {done.folder}")
    if source and not done.model.plan.export.int8:
        click.echo("hu predict uses 8-bit forms only where the run was trained with export.int8=true")
