"""hu train"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hounsfield.cli.options import as_json_option, changes_of, question_of, question_options, say_json
from hounsfield.cli.progress import progress_for

__all__ = ["recorded", "train"]


@click.command()
@click.argument("source")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the run; must be new.")
@question_options
@click.option(
    "--plan", default="", metavar="NAME|FILE", help="article-a, article-b, article-c, or a plan.json."
)
@click.option(
    "--task",
    type=click.Choice(["classification", "segmentation", "detection"]),
    default="classification",
    show_default=True,
    help="What is learned: a class for each image, outlines of structures, or where things are.",
)
@click.option(
    "--application",
    default="",
    metavar="NAME",
    help="mammography, retinopathy, nodule: its plan, its question, its chapter in the report.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    default=None,
    metavar="MINUTES",
    help="Time that training may take  [8; segmentation 55, detection 80]",
)
@click.option(
    "--test-fraction",
    type=click.FloatRange(0, 1, max_open=True),
    default=None,
    help="Share of patients held back; 0: none  [0.2; 0 where the validation leaves every case out once]",
)
@click.option(
    "--split-by-date",
    default="",
    metavar="COLUMN|images",
    help="Hold back the latest patients: by a column of dates, or the images' own study date.",
)
@click.option(
    "--before",
    default="",
    metavar="RUN",
    help="A run on the same cases to set this one beside, e.g. without mitigation.",
)
@click.option("--resplit", is_flag=True, help="Ignore the split that the data brings.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=None,
    help="Seed of split, weights and augmentation [the plan's, or 0].",
)
@click.option(
    "--unlabelled",
    default="",
    metavar="SOURCE",
    help="Images without labels to pretrain on; kept only if it helps on validation.",
)
@click.option(
    "--search",
    type=click.FloatRange(0),
    default=0.0,
    metavar="MINUTES",
    help="Time to look for a better plan.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run in --out.")
@click.option("--keep-cache", is_flag=True, help="Leave decoded pixels in the run's folder.")
@as_json_option
def train(source: str, changes: tuple[str, ...], out: Path, as_json: bool, **given: Any) -> None:
    """Train on SOURCE (folder, zip or file: DICOM, NIfTI, PNG/JPEG/TIFF, .npz) and report what the model can
    do: a classifier of images in class folders or with --labels; with --task segmentation on images with
    masks beside them; with --task detection on images with marked objects (--marks). The plan is designed
    from the data; KEY=VALUE changes it, e.g. fit.epochs=20.
    On several processors: torchrun --nproc-per-node N -m hounsfield train …"""
    from hounsfield.cli.summary import as_object, say
    from hounsfield.face import read_plan
    from hounsfield.pipeline import follow
    from hounsfield.pipeline import train as run_train
    from hounsfield.pipeline.seeing import MINUTES
    from hounsfield.steps.group import is_follower
    from hounsfield.steps.study import Study

    wanted = changes_of(changes)
    plan = read_plan(given["plan"]) if given["plan"] else None
    task = plan.task if plan and given["task"] == "classification" else given["task"]
    if (seed := given.pop("seed")) is not None:
        wanted.setdefault("seed", seed)
    study = Study(
        source=source,
        out=out,
        question=question_of(given),
        task=task,
        plan=plan,
        changes=wanted,
        budget_minutes=given["budget"] or MINUTES[task],
        resume=given["resume"],
        keep_cache=given["keep_cache"],
        unlabelled=given["unlabelled"],
        search_minutes=given["search"],
        command=recorded(sys.argv[1:]),
        before=given["before"],
    )
    if given["application"]:
        from hounsfield.applications.asked import as_application, named_application

        chosen = named_application(given["application"])
        study = as_application(study, chosen, budget_given=given["budget"] is not None)
    if is_follower():
        follow(study)
        return
    run = run_train(study, progress=progress_for())
    if as_json:
        say_json(as_object(run))
    else:
        say(run)


def recorded(words: Sequence[str]) -> str:
    """A command as it is kept in evidence and report: files by their names, without this machine's folders.

    >>> recorded(["train", "/home/alice/study", "network.weights=/home/alice/x.safetensors"])
    'hu train study network.weights=x.safetensors'
    """
    plain = []
    for word in words:
        key, equals, value = word.rpartition("=")
        plain.append(key + equals + (Path(value).name if "/" in value else value))
    return "hu " + shlex.join(plain)
