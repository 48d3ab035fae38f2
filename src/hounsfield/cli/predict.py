"""hu predict"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hounsfield.cli.options import as_json_option, say_json
from hounsfield.cli.progress import progress_for
from hounsfield.core.errors import BadInput

if TYPE_CHECKING:
    from hounsfield.core.model import Model
    from hounsfield.core.predictions import Referrals

__all__ = ["predict"]

CANNOT_TELL = (
    "this model was trained by a version that kept no rule of referral: it cannot tell which cases go to a "
    "reader; train it again to have one"
)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder for the results.")
@click.option(
    "--write",
    default="",
    metavar="KIND,KIND",
    help="What a model of places writes: nifti, seg, labelmap, sr, csv  [nifti,csv; detection: csv]",
)
@as_json_option
def predict(run: Path, source: str, out: Path, write: str, as_json: bool) -> None:
    """Score every image under SOURCE with the model of RUN, and say which cases go to a reader: their image
    is unlike those of the training, more than one class is possible, or the model is not sure enough.

    A model of segmentation or detection writes masks, DICOM segmentations (seg, labelmap) and structured
    reports (sr) on the grid of each image, and a table of sizes.

    predictions.csv names cases by an id without identity; private/cases.csv says which file and patient each
    is."""
    from hounsfield.applications.asked import keeps_of
    from hounsfield.io.model_store import read_model
    from hounsfield.pipeline import predict_source

    model = read_model(run)
    if model.plan.task != "classification":
        _places(model, source, out, tuple(filter(None, (w.strip() for w in write.split(",")))), as_json)
        return
    if write:
        raise BadInput(
            f"--write {write} was given to a model that classifies; expected a model of segmentation or "
            "detection; leave --write out"
        )
    predictions = predict_source(run, source, out=out, keeps=keeps_of(model), progress=progress_for())
    path = out / "predictions.csv"
    if as_json:
        say_json({"n": len(predictions), **_as_object(predictions.referrals), "predictions": str(path)})
        return
    for line in _lines(predictions.referrals, len(predictions)):
        click.echo(line)
    click.echo(f"{len(predictions)} cases: {path}")


def _places(model: Model, source: str, out: Path, write: tuple[str, ...], as_json: bool) -> None:
    """Results of a model of places, and what was written of them."""
    from hounsfield.pipeline.writing import outline_source

    written = outline_source(model, source, out=out, write=write, progress=progress_for())
    if as_json:
        say_json({"written": dict(written.files), "notes": list(written.notes), "out": str(out)})
        return
    for note in written.notes:
        click.echo(f"! {note}")
    said = ", ".join(f"{count} {kind}" for kind, count in written.files.items())
    click.echo(f"{said or 'nothing was written'}: {out}")


def _as_object(told: Referrals | None) -> dict[str, Any]:
    """How many are referred and why; null where the model cannot tell."""
    if told is None:
        return {"referred": None, "reasons": {}, "notes": [CANNOT_TELL]}
    return {"referred": int(told.refer.sum()), "reasons": told.counts, "notes": list(told.notes)}


def _lines(told: Referrals | None, n: int) -> list[str]:
    if told is None:
        return [f"! {CANNOT_TELL}"]
    lines = [f"refer to a reader: {int(told.refer.sum())} of {n} cases"]
    lines += [f"  {count:>6}  {reason}{_odd_in(told, reason)}" for reason, count in told.counts.items()]
    return lines + [f"! {note}" for note in told.notes]


def _odd_in(told: Referrals, reason: str) -> str:
    """What is odd about the images that are unlike those of the training, the commonest first."""
    if not reason.startswith("unlike"):
        return ""
    found = Counter(what for what in told.unlike if what).most_common()
    return ": " + ", ".join(f"{what} ({count})" if len(found) > 1 else what for what, count in found)
