"""hu compare"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hounsfield.cli.options import as_json_option, say_json

if TYPE_CHECKING:
    from hounsfield.steps.compare import Comparison

__all__ = ["compare"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("before", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for comparison.json.")
@click.option(
    "--not-worse",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="MARGIN",
    help="Exit code 4 unless AUROC, sensitivity and specificity (of a segmentation Dice, of a detection "
    "CPM) are shown to be worse by less than this.",
)
@as_json_option
def compare(run: Path, before: Path, out: Path | None, not_worse: float | None, as_json: bool) -> None:
    """Set RUN beside BEFORE, an earlier run or evaluation on the same cases: paired differences with
    intervals, of everyone and of every group, p values corrected together (Holm). Of a segmentation: Dice and
    distances of surfaces, of every structure and of their mean; of a detection: CPM, and sensitivity at each
    rate of false positives."""
    from hounsfield.steps.compare import compare as compared
    from hounsfield.steps.compare import refuse_worse, write_comparison

    found = compared(run, before)
    path = write_comparison(found, out) if out else None
    if as_json:
        say_json(
            {
                "n": found.n,
                "n_patients": found.n_patients,
                "rows": list(found.rows),
                "notes": list(found.notes),
                "comparison": str(path) if path else "",
            }
        )
    else:
        _say(found)
        if path:
            click.echo(f"\ncomparison: {path}")
    if not_worse is not None:
        refuse_worse(found, not_worse)


def _say(found: Comparison) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{escape(found.after)} less {escape(found.before)}, n = {found.n}, {found.n_patients} patients"
    )
    for name in ("group", "metric"):
        table.add_column(name)
    for name in ("before", "after", "difference (95 % CI)", "n", "p (Holm)"):
        table.add_column(name, justify="right")
    for row in found.rows:
        if row["difference"]["value"] is not None:
            table.add_row(*(escape(cell) for cell in _cells(row)))
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    console.print(table)
    if small := sum(row["difference"]["value"] is None for row in found.rows):
        click.echo(f"{small} numbers are not printed: too few cases or patients, or one class only")
    for note in found.notes:
        click.echo(f"! {note}")


def _cells(row: dict[str, Any]) -> list[str]:
    gap = row["difference"]
    metric = " ".join(filter(None, (row["metric"], row["label"])))
    interval = f"{gap['value']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"
    p = (
        ""
        if row["p_adjusted"] is None
        else "<.001"
        if row["p_adjusted"] < 0.001
        else f"{row['p_adjusted']:.3f}"
    )
    return [row["group"] or "everyone", metric, f"{row['before']:.3f}", f"{row['after']:.3f}", interval,
            str(gap["n"]), p]  # fmt: skip
