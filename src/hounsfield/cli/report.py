"""hu report"""

from __future__ import annotations

from pathlib import Path

import click

from hounsfield.cli.options import as_json_option, say_json

__all__ = ["report"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--without-pictures", is_flag=True, help="Leave the cases out, where RUN/private is not here.")
@as_json_option
def report(run: Path, without_pictures: bool, as_json: bool) -> None:
    """Draw the report of RUN again, with the answers that people have written into RUN/answers.yaml, and sign
    it. The data are not needed; evidence that was changed after it was signed is refused (exit code 4)."""
    from hounsfield.core.errors import BadInput
    from hounsfield.steps.report import report_again

    if not run.is_dir():
        raise BadInput("RUN is not a folder; name the --out of hu train, hu evaluate or hu demo")
    drawn = report_again(run, pictures=not without_pictures)
    told = {
        "report": str(drawn.path),
        "answers": sorted(drawn.answers),
        "waiting": [asked.id for asked in drawn.account.waiting],
        "items_answered_by_tool": drawn.account.by_tool,
        "signed": bool(drawn.seal.fingerprint),
        "fingerprint": drawn.seal.fingerprint,
    }
    if as_json:
        say_json(told)
        return
    click.echo(f"answers of people: {len(drawn.answers)}; questions that wait: {len(drawn.account.waiting)}")
    click.echo(
        f"signed by {drawn.seal.fingerprint}" if told["signed"] else f"not signed: {drawn.seal.why_not}"
    )
    click.echo(f"report: {drawn.path}")
