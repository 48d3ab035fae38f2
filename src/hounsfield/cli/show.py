"""hu show"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hounsfield.cli.options import as_json_option, say_json
from hounsfield.core.errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hounsfield.core.plan import Plan
    from hounsfield.io.dicom.describe import Line
    from hounsfield.io.dicom.structured import Node
    from hounsfield.steps.show import Shown
    from hounsfield.steps.show_augmented import Augmented

__all__ = ["show"]

_MOST_ROWS = 40
_WIDTH_OF_A_FILE = 120


@click.command()
@click.argument("source")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--image",
    default="",
    metavar="ID|N|FILE",
    help="Which image: its number or id in the table, or a file name.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the picture here as PNG.")
@click.option(
    "--window",
    default="",
    metavar="NAME|C/W|N",
    help="lung, bone, brain, soft-tissue, mediastinum, full, centre/width, or the number of a header's own.",
)
@click.option("--plane", type=click.Choice(["axial", "coronal", "sagittal", "all"]), default="all")
@click.option("--frame", type=click.IntRange(min=1), metavar="N", help="Only this frame or slice, from 1.")
@click.option("--at", default="", metavar="I,J,K", help="The voxel through which the planes run, from 0.")
@click.option(
    "--overlay",
    type=click.Path(path_type=Path),
    metavar="MASK|SEG|FOLDER",
    help="Outline what a mask (NIfTI, PNG), a DICOM SEG, detections.csv or the --out of hu predict holds.",
)
@click.option("--resample", is_flag=True, help="With --overlay: bring a mask of another grid onto the image.")
@click.option("--identity", is_flag=True, help="Show names, ids, dates, UIDs and free text as well.")
@click.option("--no-picture", is_flag=True, help="Only the header.")
@click.option(
    "--augment",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Instead, the image as a network sees it and N versions as training would change it.",
)
@click.option(
    "--plan",
    default="",
    metavar="NAME|FILE|RUN",
    help="With --augment: the plan that changes it [the one designed for this image].",
)
@click.option("--seed", type=click.IntRange(0), help="With --augment: the seed of the changes [the plan's].")
@as_json_option
def show(
    source: str, image: str, out: Path | None, window: str, plane: str, frame: int | None, at: str,
    overlay: Path | None, resample: bool, identity: bool, no_picture: bool, as_json: bool,
    augment: int | None, plan: str, seed: int | None, changes: tuple[str, ...],
) -> None:  # fmt: skip
    """Look at an image of SOURCE: its header without the patient's identity, and a picture with the window of
    the header or the one given. A table lists what else is there. Reports and segmentations are printed.
    With --augment N, see what a plan does to the image; KEY=VALUE changes the plan, e.g. augment.zoom=0.3."""
    from hounsfield.steps.show import View, as_object
    from hounsfield.steps.show import show as look

    given = window or plane != "all" or frame or at or identity or no_picture or overlay
    if augment is not None:
        if given:
            raise click.UsageError(
                "--augment shows an image as a network sees it: leave out --window, --plane, --frame, --at, "
                "--overlay, --identity and --no-picture."
            )
        _augmented(source, image, out, augment, plan, seed, changes, as_json)
        return
    if plan or seed is not None or changes:
        raise click.UsageError("--plan, --seed and KEY=VALUE go with --augment N.")
    if resample and overlay is None:
        raise click.UsageError("--resample goes with --overlay.")
    view = View(window=window, plane=plane, frame=frame or 0, at=_voxel(at))
    draw = not no_picture or out is not None
    shown = look(
        source, image=image, view=view, identity=identity, draw=draw, overlay=overlay, resample=resample
    )
    if out is not None and shown.seen is not None:
        _write(out, shown.picture())
    if as_json:
        written = str(out) if out is not None and shown.seen is not None else None
        say_json({**as_object(shown), "picture": written})
    else:
        _say(shown)
        if shown.seen is not None and not no_picture:
            _draw(shown.picture)
    if out is not None and shown.seen is None:
        raise BadInput(f"no picture was written, because {shown.why_not}")
    if out is not None and not as_json:
        click.echo(f"picture: {out}")


def _augmented(
    source: str, image: str, out: Path | None, count: int, plan: str, seed: int | None,
    changes: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """What a plan does to the image: PNG, JSON, or the terminal with what was drawn in words."""
    from hounsfield.cli.options import changes_of
    from hounsfield.steps.show_augmented import as_object, show_augmented

    wanted = changes_of(changes)
    made = show_augmented(source, count=count, image=image, plan=_plan(plan), changes=wanted, seed=seed)
    if out is not None:
        _write(out, made.picture())
    if as_json:
        say_json({**as_object(made), "picture": str(out) if out is not None else None})
        return
    _say_versions(made)
    _draw(made.picture)
    if out is not None:
        click.echo(f"picture: {out}")


def _plan(name: str) -> Plan | None:
    """The plan that a name, a file or the folder of a run stands for; None for ""."""
    from hounsfield.face import read_plan

    if not name:
        return None
    for place in (Path(name) / "plan.json", Path(name) / "model" / "plan.json"):
        if place.is_file():
            return read_plan(place)
    if Path(name).is_dir():
        raise BadInput(
            f'the folder "{Path(name).name}" that --plan names holds no plan.json; expected the --out of a '
            "hu train; name it, a plan.json, or a named plan"
        )
    return read_plan(name)


def _voxel(text: str) -> tuple[int, int, int] | None:
    if not text:
        return None
    try:
        i, j, k = (int(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(
            f'"{text[:20]}" was given for --at where a voxel i,j,k was expected, e.g. 64,64,12'
        ) from error
    return i, j, k


def _write(out: Path, picture: NDArray[np.uint8]) -> None:
    from hounsfield.io.files import write_bytes
    from hounsfield.steps.montage import png_bytes

    if out.suffix.casefold() != ".png":
        raise BadInput(f'--out names a file that ends in "{out.suffix}"; expected one that ends in .png')
    write_bytes(out, png_bytes(picture))


def _draw(drawn: Callable[..., NDArray[np.uint8]]) -> None:
    """The picture in the terminal, as large as it has room for; nothing where stdout is no terminal."""
    from hounsfield.cli.terminal_picture import terminal_picture, way_of

    way = way_of(os.environ, is_terminal=_draws_on_a_terminal())
    if way == "none":
        return
    columns, lines = shutil.get_terminal_size()
    if way in ("24bit", "256"):
        picture = drawn(bare=True, widest=max(8, columns - 1), tallest=max(8, 2 * (lines - 4)))
    else:
        picture = drawn(widest=960, tallest=640)
    click.echo(terminal_picture(picture, way), nl=False, color=True)


def _draws_on_a_terminal() -> bool:
    return sys.stdout.isatty()


def _say(shown: Shown) -> None:
    """The table of images if there are several, the header by groups, tree and segments, and the caption."""
    from rich.console import Console
    from rich.text import Text

    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    console = Console(file=sys.stdout, highlight=False, width=width)
    names = max((len(_name(x)) for lines in shown.header.groups.values() for x in lines), default=0)
    if len(shown.rows) > 1:
        console.print(_table_of_rows(shown), "")
    for group, lines in shown.header.groups.items():
        console.print(Text(group, style="bold"))
        console.print(_table_of_lines(lines, min(names, 48)))
    _say_hidden(console, shown)
    for node in shown.tree:
        console.print(_tree(node))
    if shown.segments:
        console.print(Text("Segments", style="bold"), _table_of_segments(shown), sep="\n")
    if shown.outlines:
        console.print(Text("Overlay", style="bold"), _table_of_outlines(shown), sep="\n")
    for fault in shown.faults:
        console.print(Text(f"refused by scan: {fault}", style="yellow"))
    if shown.why_not and shown.why_not != "not asked for" and not shown.tree:
        console.print(Text(f"no picture: {shown.why_not}", style="yellow"))
    console.print(Text(shown.caption, style="bold"))
    for note in shown.seen.notes if shown.seen else ():
        console.print(Text(note, style="dim"))


def _say_versions(made: Augmented) -> None:
    """A line for each version, and the caption."""
    from rich.console import Console
    from rich.text import Text

    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    console = Console(file=sys.stdout, highlight=False, width=width)
    for number, version in enumerate(made.versions, 1):
        console.print(Text(f"{number:3d}  {version.label}"))
    console.print(Text(made.caption, style="bold"))
    for note in made.notes:
        console.print(Text(note, style="dim"))


def _table_of_rows(shown: Shown) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "no.", "image", "what", "size", "spacing, mm", ""):
        table.add_column(
            name, justify="right" if name == "no." else "left", no_wrap=name != "", overflow="fold"
        )
    place = next((n for n, r in enumerate(shown.rows) if r.number == shown.row.number), 0)
    start = max(0, min(place - _MOST_ROWS // 2, len(shown.rows) - _MOST_ROWS))
    for row in shown.rows[start : start + _MOST_ROWS]:
        table.add_row(
            ">" if row.number == shown.row.number else "",
            str(row.number),
            row.id,
            Text(row.kind),
            "×".join(map(str, row.shape)),
            "×".join(f"{s:.4g}" for s in row.spacing_mm),
            Text(row.about or (f"refused: {row.reason}" if row.reason else "")),
            style="dim" if row.reason else None,
        )
    if len(shown.rows) > _MOST_ROWS:
        table.caption = f"{len(shown.rows)} in all; --json lists them"
    return table


def _name(line: Line) -> str:
    return f"  {line.name} ({line.where})" if line.where else f"  {line.name}"


def _table_of_lines(lines: tuple[Line, ...], width: int) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=width, style="dim")
    table.add_column(overflow="fold")
    for line in lines:
        values = line.value if isinstance(line.value, tuple) else (line.value,)
        text = ", ".join(f"{v:.10g}" if isinstance(v, float) else str(v) for v in values)
        table.add_row(Text(_name(line)), Text(text))
    return table


def _say_hidden(console: Any, shown: Shown) -> None:
    from rich.text import Text

    if shown.header.hidden:
        names = ", ".join(shown.header.hidden)
        console.print(Text(f"hidden (--identity shows it): {names}", style="dim"))
    if shown.header.private:
        plural = "s" * (shown.header.private != 1)
        console.print(Text(f"and {shown.header.private} private element{plural}", style="dim"))


def _tree(node: Node) -> Any:
    from rich.text import Text
    from rich.tree import Tree

    def label(node: Node) -> Text:
        text = Text(node.name, style="" if node.value else "bold")
        if node.value:
            text.append(": ")
            text.append(node.value, style="dim" if node.hidden else "cyan")
        return text

    def grow(branch: Tree, node: Node) -> None:
        for below in node.below:
            grow(branch.add(label(below)), below)

    tree = Tree(label(node), guide_style="dim")
    grow(tree, node)
    return tree


def _table_of_segments(shown: Shown) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("no.", "label", "category", "type", "algorithm", "frames", "voxels", "ml"):
        table.add_column(name, justify="right" if name in ("no.", "frames", "voxels", "ml") else "left")
    for s in shown.segments:
        volume = "" if s.volume_ml is None else f"{s.volume_ml:.4g}"
        words = [Text(w) for w in (s.label, s.category, s.kind, s.algorithm)]
        table.add_row(str(s.number), *words, str(s.frames), str(s.voxels), volume)
    return table


def _table_of_outlines(shown: Shown) -> Any:
    """Colour, name and size; the colour's name stands beside it for who reads no colours."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for outline in shown.outlines:
        red, green, blue = outline.colour
        mark = Text(f"  ■ {outline.colour_name}", style=f"rgb({red},{green},{blue})")
        table.add_row(mark, Text(outline.text))
    return table
