"""White-matter lesions between the visits of a patient, told from FLAIR: what came, grew, shrank or went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, get_args

from hounsfield.core.errors import BadInput
from hounsfield.steps.brain.lesions_change import Kind, LesionsChange, lesions_change
from hounsfield.steps.brain.pictures import BrainPicture, picture_of_lesions
from hounsfield.steps.brain.scan import BrainVisit

__all__ = ["LESION_COLUMNS", "Between", "lesions_between", "lesions_of"]

KINDS: tuple[Kind, ...] = get_args(Kind)
LESION_COLUMNS = tuple(f"lesions_{kind}{what}" for kind in KINDS for what in ("", "_ml"))


@dataclass(frozen=True)
class Between:
    """What changed from visit `first` to `second` (places in the course), or why that is not known."""

    first: int
    second: int
    found: LesionsChange | None
    picture: BrainPicture | None = None
    refused: str = ""


def lesions_between(visits: Sequence[BrainVisit], *, pictures: bool = True) -> tuple[Between, ...]:
    """The changes of lesions from each visit with a FLAIR image to the next one that has one."""
    seen = [(n, visit.flair) for n, visit in enumerate(visits) if visit.flair is not None]
    made = []
    for (a, first), (b, second) in pairwise(seen):
        try:
            found = lesions_change(first, second, contrast="flair")
        except BadInput as error:
            made.append(Between(a, b, None, refused=str(error)))
            continue
        made.append(Between(a, b, found, picture_of_lesions(second, found) if pictures else None))
    return tuple(made)


def lesions_of(between: Sequence[Between], visit: int) -> dict[str, Any]:
    """Columns of a visit's row: lesions that changed since the FLAIR image before it, "" without one.

    >>> lesions_of((), 1)["lesions_new"]
    ''
    """
    found = next((b.found for b in between if b.second == visit), None)
    if found is None:
        return dict.fromkeys(LESION_COLUMNS, "")
    row: dict[str, Any] = {}
    for kind in KINDS:
        row[f"lesions_{kind}"] = sum(one.kind == kind for one in found.lesions)
        row[f"lesions_{kind}_ml"] = round(found.volume_ml(kind), 3)
    return row
