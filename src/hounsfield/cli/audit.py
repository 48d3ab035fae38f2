"""hu audit"""

from __future__ import annotations

import shutil
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hounsfield.cli.options import as_json_option, question_of, question_options, say_json
from hounsfield.cli.progress import progress_for

if TYPE_CHECKING:
    from hounsfield.core.evidence import Finding

__all__ = ["audit"]

HEADINGS = {"stop": "stops training", "warning": "to be looked into", "info": "for the record"}


@click.command()
@click.argument("source")
@question_options
@click.option("--resplit", is_flag=True, help="Ignore the split that the data brings.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write audit.json and, with file names, private/review.csv (what to look at), "
    "private/duplicates.csv and private/cases.csv.",
)
@as_json_option
def audit(source: str, as_json: bool, out: Path | None, **given: Any) -> None:
    """Look for leakage, duplicates, shortcuts, shift and wrong labels in SOURCE before any training. Ends
    with exit code 4 where training would be refused. Images with masks or marked objects are audited by
    hu train --task segmentation or detection, before it trains."""
    from hounsfield.core.errors import BadInput
    from hounsfield.io.files import require_writable_folder
    from hounsfield.pipeline import look
    from hounsfield.steps.audit import refuse_leakage, worst_first
    from hounsfield.steps.study import Clock, Study

    for option in ("masks", "marks"):
        if given[option]:
            raise BadInput(
                f"--{option} was given to hu audit, which looks at the labels of whole images; expected "
                "class folders or --labels; hu train --task audits images with masks before it trains"
            )
    if out is not None:
        require_writable_folder(out)
    with tempfile.TemporaryDirectory(prefix="hounsfield-") as scratch:
        study = Study(source=source, out=Path(scratch), question=question_of(given))
        clock = Clock(progress_for())
        looked = look(study, Path(scratch), clock)
        findings = worst_first(looked.findings)
        content = {
            "findings": [asdict(f) for f in findings],
            "notes": list(looked.cohort.notes),
            "worst": findings[0].level if findings else "info",
        }
        if out is not None:
            with clock.step("list for review") as said:
                said.append(f"{_write(out, content, looked)} line(s) in private/review.csv")
    if as_json:
        say_json(content)
    else:
        _say(findings)
    refuse_leakage(looked.cohort, looked.pairs)


def _say(findings: Sequence[Finding]) -> None:
    """A paragraph a finding under three headings, the worst first."""
    width = max(60, min(110, shutil.get_terminal_size((100, 24)).columns))
    for level, heading in HEADINGS.items():
        some = [f for f in findings if f.level == level]
        if not some:
            continue
        click.echo(f"{heading} ({len(some)})")
        mark = " " if level == "info" else "!"
        for f in some:
            about = " ".join(filter(None, (f.group, f.label)))
            text = f"{f.name}: {f.note}" if not about else f"{f.name} ({about}): {f.note}"
            click.echo(textwrap.fill(text, width, initial_indent=f"{mark} ", subsequent_indent="    "))
        click.echo()


def _write(out: Path, content: dict[str, Any], looked: Any) -> int:
    """Files for machines and for those who review, who need file names: these in the private folder alone."""
    from hounsfield.io.files import write_json
    from hounsfield.steps.audits.review import review_list, write_duplicates, write_review
    from hounsfield.steps.run_folder import RunFolder

    cohort, folder = looked.cohort, RunFolder(out)
    write_json(out / "audit.json", content)
    folder.keep_files(
        cohort.cases, {c.id: (cohort.part[c.id], cohort.fold.get(c.id, "")) for c in cohort.cases}
    )
    found = review_list(cohort, looked.pairs, store=looked.store, marks=looked.marks)
    write_review(folder.private / "review.csv", found, cohort.cases)
    write_duplicates(folder.private / "duplicates.csv", looked.pairs, cohort.cases)
    return len(found)
