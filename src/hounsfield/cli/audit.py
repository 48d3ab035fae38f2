"""hu audit"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hounsfield.cli.options import as_json_option, question_of, question_options, say_json
from hounsfield.cli.progress import progress_for

__all__ = ["audit"]


@click.command()
@click.argument("source")
@question_options
@click.option("--resplit", is_flag=True, help="Ignore the split that the data brings.")
@as_json_option
def audit(source: str, as_json: bool, **given: Any) -> None:
    """Look for leakage, duplicates and shortcuts in SOURCE before any training. Ends with exit code 4 where
    training would be refused."""
    from hounsfield.pipeline import look
    from hounsfield.steps.audit import refuse_leakage
    from hounsfield.steps.study import Clock, Study

    with tempfile.TemporaryDirectory(prefix="hounsfield-") as scratch:
        study = Study(source=source, out=Path(scratch), question=question_of(given))
        looked = look(study, Path(scratch), Clock(progress_for()))
    if as_json:
        say_json({"findings": [asdict(f) for f in looked.findings], "notes": looked.cohort.notes})
    else:
        for f in looked.findings:
            click.echo(f"{'!' if f.level != 'info' else ' '} {f.name}: {f.note}")
    refuse_leakage(looked.cohort, looked.pairs)
