"""Options that several commands share, and how they become a Question."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from hounsfield.core.errors import BadInput

__all__ = ["as_json_option", "changes_of", "question_of", "question_options", "say_json"]

F = TypeVar("F", bound=Callable[..., Any])

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else."
)

_QUESTION = [
    click.option(
        "--labels", default="", metavar="CSV", help="Label table, joined on patient, study, series or file."
    ),
    click.option(
        "--target", multiple=True, metavar="COLUMN", help="Label column; several make it multi-label."
    ),
    click.option("--on", default="", metavar="COLUMN", help="The id column (found by itself otherwise)."),
    click.option(
        "--patient", default="", metavar="COLUMN", help="The patient column (from DICOM otherwise)."
    ),
    click.option("--groups", default="", metavar="A,B", help="Further columns to break results down by."),
    click.option("--classes", default="", metavar="A,B", help="Keep only these labels, in this order."),
    click.option("--positive", default="", metavar="LABEL", help="One label against all others."),
    click.option(
        "--targets",
        default="",
        metavar="CSV",
        help="Who should be in the data, for the audit: a CSV with the columns column,value,share.",
    ),
    click.option(
        "--masks", default="", metavar="NAME", help="Folder (or word of a name) of masks, for segmentation."
    ),
    click.option("--channels", default="", metavar="A,B", help="Images of a case to learn from, by name."),
    click.option(
        "--marks",
        default="",
        metavar="FILE",
        help="Marked objects: CSV, COCO JSON, DICOM SR, RTSTRUCT, masks.",
    ),
    click.option("--resample-masks", is_flag=True, help="Bring masks of another grid onto their image's."),
    click.option("--one-image-per-patient", is_flag=True, help="State that no two images share a patient."),
]


def question_options(command: F) -> F:
    """Add the options that say what is asked of the images."""
    for option in reversed(_QUESTION):
        command = option(command)
    return command


def question_of(given: dict[str, Any]) -> Any:
    """The Question that the options state; keys that are not its own are left alone."""
    from hounsfield.steps.gather import Question

    def parts(text: str) -> tuple[str, ...]:
        return tuple(p.strip() for p in text.split(",") if p.strip())

    return Question(
        labels=given["labels"],
        target=tuple(given["target"]),
        on=given["on"],
        patient=given["patient"],
        groups=parts(given["groups"]),
        classes=parts(given["classes"]),
        positive=given["positive"],
        one_image_per_patient=given["one_image_per_patient"],
        resplit=given.get("resplit", False),
        test_fraction=given.get("test_fraction"),
        split_by_date=given.get("split_by_date", ""),
        seed=given.get("seed", 0),
        targets=given.get("targets", ""),
        masks=given.get("masks", ""),
        channels=parts(given.get("channels", "")),
        marks=given.get("marks", ""),
        resample_masks=given.get("resample_masks", False),
    )


def changes_of(words: tuple[str, ...]) -> dict[str, Any]:
    """`fit.epochs=5 input.size=[1,64,64]` as a mapping of plan keys to values.

    >>> changes_of(("fit.epochs=5", "network.name=compact"))
    {'fit.epochs': 5, 'network.name': 'compact'}
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise BadInput(
                f'"{word}" was given where a plan change KEY=VALUE was expected, e.g. fit.epochs=20'
            )
        try:
            found[key] = json.loads(text)
        except json.JSONDecodeError:
            found[key] = text
    return found


def say_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(value, allow_nan=False))
