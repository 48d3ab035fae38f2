"""`hu`: the group of commands, each imported only when it is called, and the exit codes."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType

import click

__all__ = ["main"]

COMMANDS = {
    "audit": "Leakage, duplicates and shortcuts in the data, before any training.",
    "compare": "Set two runs on the same cases side by side, with intervals.",
    "convert": "Write every volume as NIfTI.",
    "demo": "Write a phantom cohort as DICOM, train on it, evaluate and report.",
    "evaluate": "Evaluate a model on other images: metrics with intervals, audit, report.",
    "explain": "Show what a model looked at in images: tested maps, similar cases, edits.",
    "federate": "Train one model with several sites, none of which shows a patient to another.",
    "follow": "Measure patients over their visits, with an error bar for each.",
    "export": "Write a model as ONNX, checked to give the same scores, to give it away.",
    "phantom": "Write a phantom cohort only.",
    "predict": "Score images with a model.",
    "report": "Draw the report of a run again, with the answers that people have given.",
    "scan": "List every image under a source, and why files were refused.",
    "show": "Look at an image: its header without identity, and a windowed picture.",
    "site": "Take part in a federation: what a hospital runs beside its images.",
    "train": "Train on a folder of images (classes, outlines, marks) and report what the model can do.",
    "verify": "Check that a run is as it was signed, and by whom.",
}


class _Lazy(click.Group):
    """Knows the commands' names and one line of help; imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        command = getattr(import_module(f"hounsfield.cli.{name}"), name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            ctx.fail(f'There is no command "{args[0]}".{hint}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 internal, 2 usage, 3 bad data, 4 a safety gate refused, "
    "5 something is missing, 130 interrupted.",
)
@click.version_option(package_name="hounsfield", message="hounsfield %(version)s")
def hu() -> None:
    """Medical-imaging deep learning that people can trust: from a folder of images to a model with
    evidence."""


def main() -> None:
    """Run `hu` and end with the exit code that its outcome deserves."""
    from hounsfield.core.errors import HounsfieldError

    with suppress(ValueError):  # not in the main thread, where Python takes no signals
        signal.signal(signal.SIGTERM, _ended)
    try:
        hu.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("hu: interrupted; a training run that had begun to learn goes on with --resume", err=True)
        sys.exit(130)
    except HounsfieldError as error:
        click.echo("hu: " + " ".join(str(error).split()), err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        click.echo(f"hu: {_sentence(error)}", err=True)
        sys.exit(3)


def _ended(_: int, __: FrameType | None) -> None:
    """SIGTERM ends a command as Ctrl-C does: what it was writing is taken away."""
    raise KeyboardInterrupt


def _sentence(error: OSError) -> str:
    """What the system refused, without the name of the file, which may be a patient's."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free space or choose another --out, then go on with --resume"
    if error.errno != errno.EROFS and error.filename is not None and _is_closed(os.fsdecode(error.filename)):
        return "a file or folder that was named may not be read by this user; allow reading it, or copy it"
    return "a folder may not be written by this user; choose another --out, then go on with --resume"


def _is_closed(path: str) -> bool:
    """True if what stands there, or the folder around it, may not be read."""
    place = Path(path)
    return not os.access(place.parent, os.X_OK) or (place.exists() and not os.access(place, os.R_OK))


if __name__ == "__main__":
    main()
