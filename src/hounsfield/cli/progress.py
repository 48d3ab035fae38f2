"""Progress on stderr: a bar on a terminal, a line now and then elsewhere; both say how long is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import click

__all__ = ["Bars", "Lines", "progress_for", "stepping"]

QUIET_SECONDS = 2.0
LINE_EVERY_SECONDS = 5.0
SILENT_SECONDS = 15.0


def progress_for(*, quiet: bool = False) -> Bars | Lines:
    """Bars where stderr is a terminal, lines elsewhere; `quiet` keeps only the closing line of a step."""
    return Bars() if sys.stderr.isatty() and not quiet else Lines(quiet=quiet)


@contextmanager
def stepping(progress: Bars | Lines, step: str, detail: str = "") -> Iterator[list[str]]:
    """One step from its begin to its end, also where it fails; the yielded list becomes the closing line."""
    said: list[str] = []
    progress.begin(step, detail)
    try:
        yield said
    except BaseException:
        progress.end("stopped")
        raise
    progress.end("; ".join(said))


class Lines:
    """A line when a step ends; while it runs one every few seconds, or one an epoch.

    A step that says nothing of its own for a while is told to be running, from a thread beside it.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.step, self.began, self.spoke = "", 0.0, 0.0
        self._ended = Event()

    def begin(self, step: str, detail: str = "") -> None:
        self._ended.set()
        self.step, self.began = step, time.monotonic()
        self.spoke = self.began - LINE_EVERY_SECONDS + QUIET_SECONDS
        self._ended = Event()
        if not self.quiet:
            Thread(target=self._watch, args=(step, self._ended), daemon=True).start()
        del detail

    def advance(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if self.quiet or (not note and now - self.spoke < LINE_EVERY_SECONDS):
            return
        self.spoke = now
        left = (now - self.began) / max(done, 1) * max(total - done, 0)
        self._say(f"{done}/{total} {note}  {_duration(left)} left".replace("  ", " "))

    def end(self, summary: str = "") -> None:
        self._ended.set()
        took = time.monotonic() - self.began
        self._say(f"{summary} [{took:.1f} s]".strip())

    def _watch(self, step: str, ended: Event) -> None:
        """Say that a step runs after every silence, first a short one; ends with the step."""
        silence = QUIET_SECONDS
        heard = self.spoke
        while not ended.wait(silence):
            if self.spoke == heard and self.step == step:
                self._say(f"… running [{_duration(time.monotonic() - self.began)}]")
            heard, silence = self.spoke, SILENT_SECONDS

    def _say(self, text: str) -> None:
        click.echo(f"{self.step:<9} {text}", err=True)


class Bars:
    """A bar for the running step; a line for each finished one stays above it."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.bar: Any = None
        self.step, self.began = "", 0.0

    def begin(self, step: str, detail: str = "") -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._stop()  # of a step that was left without an end
        self.step, self.began = step, time.monotonic()
        self.bar = Progress(
            TextColumn("[bold]{task.description:<9}"),
            BarColumn(bar_width=28),
            TextColumn("{task.completed:.0f}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task(step, total=None, note=detail)
        self.bar.start()

    def advance(self, done: int, total: int, note: str = "") -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=done, total=total, note=note)

    def end(self, summary: str = "") -> None:
        from rich.markup import escape

        self._stop()
        took = time.monotonic() - self.began
        self.console.print(f"[bold]{self.step:<9}[/] {escape(summary)} [dim]{took:.1f} s[/]")

    def _stop(self) -> None:
        """Give the terminal its cursor back."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
