"""Found objects shown to the reader: missed lesions, false positives, and lesions that were found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Picture
from hounsfield.metrics.detection_objects import Boxes
from hounsfield.steps.detection.matched import boxes_of, centres_of, matched, score_for
from hounsfield.steps.detection.measures import RATE
from hounsfield.steps.detection.table import Detected
from hounsfield.steps.explain_panels import window_of
from hounsfield.steps.regions.overlay import MODEL, READER, Cut, circled, pixels_of

__all__ = ["Chosen", "Mark", "Shown", "chosen_objects", "detection_pictures"]

Triple = tuple[float, float, float]
Kind = Literal["missed", "false_positive", "found"]
LARGE = 520
"""Pixels of the longer side of a whole plane."""
_ZOOM = 5.0
_LEAST = 24
"""A part is so many times as wide as what it shows, and at least so many pixels of the image."""


@dataclass(frozen=True, slots=True)
class Mark:
    """An object along (k, j, i) of its image, in millimetres or pixels: its centre and its size."""

    centre: Triple
    size: Triple


@dataclass(frozen=True, slots=True)
class Chosen:
    """An object worth showing: the row of its case, why, where, and all that is marked in the case."""

    row: int
    id: str
    kind: Kind
    mark: Mark
    reader: tuple[Mark, ...]
    model: tuple[Mark, ...]
    caption: str
    boxes: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A chosen object with the image (C, K, J, I) of its case and the size of its voxels (k, j, i)."""

    chosen: Chosen
    image: NDArray[np.generic]
    spacing: Triple


def chosen_objects(table: Detected, *, each: tuple[int, int, int] = (4, 4, 4)) -> tuple[Chosen, ...]:
    """The largest missed lesions, the strongest false positives, and found lesions spread over their scores.

    What is called is what reaches the score of one false positive an image.
    """
    found = matched(table)
    score = score_for(found.marks, images=len(table), rate=RATE)
    lesions = np.flatnonzero(found.marks.lesion_score < score)
    missed = found.lesions[lesions[np.argsort(-table.lesion_mm[found.lesions[lesions]], kind="stable")]]
    false = found.false[table.candidates.score[found.false] >= score]
    false = false[np.argsort(-table.candidates.score[false], kind="stable")]
    hits = np.flatnonzero(found.marks.lesion_score >= score)
    hits = hits[np.argsort(-found.marks.lesion_score[hits], kind="stable")]
    spread = np.unique(np.linspace(0, len(hits) - 1, min(each[2], len(hits))).round().astype(int))
    called = np.flatnonzero(table.candidates.score >= score)
    rows = [_chosen(table, "missed", int(k), called) for k in missed[: each[0]]]
    rows += [_chosen(table, "false_positive", int(k), called) for k in false[: each[1]]]
    return (*rows, *(_chosen(table, "found", int(found.lesions[k]), called) for k in hits[spread]))


def detection_pictures(shown: Sequence[Shown]) -> tuple[Picture, ...]:
    """A picture of each object: the whole plane through it, and the part around it bare and with the marks.

    The reader's marks are blue and solid, the model's orange and dashed.
    """
    return tuple(_picture(one) for one in shown)


def _chosen(table: Detected, kind: Kind, k: int, called: NDArray[np.int64]) -> Chosen:
    candidate = kind == "false_positive"
    objects = table.candidates if candidate else table.lesions
    image = int(objects.image[k])
    size = float((table.candidate_mm if candidate else table.lesion_mm)[k])
    label = int((table.candidate_class if candidate else table.lesion_class)[k])
    said = [table.classes[label]] if len(table.classes) > 1 else []
    said += [f"{size:.1f} {table.unit} wide"] if size > 0 else []
    here = [int(c) for c in called if table.candidates.image[c] == image]
    if candidate:
        said.insert(0, f"score {table.candidates.score[k]:.2f}")
    marks = [_marks(table, which) for which in range(2)]
    reader = [n for n in range(len(table.lesion_mm)) if table.lesions.image[n] == image]
    return Chosen(
        image, table.ids[image], kind, marks[0 if candidate else 1](k),
        tuple(marks[1](n) for n in reader), tuple(marks[0](n) for n in here), "; ".join(said),
        isinstance(table.lesions, Boxes),
    )  # fmt: skip


def _marks(table: Detected, which: int) -> Callable[[int], Mark]:
    """The objects of the model (0) or the reader (1), by row."""
    objects = (table.candidates, table.lesions)[which]
    centre, corners = centres_of(objects), boxes_of(table, which).corners
    axes = centre.shape[1]

    def mark(k: int) -> Mark:
        size = corners[k, axes:] - corners[k, :axes]
        flat = axes == 2
        place = (0.0, *centre[k]) if flat else centre[k]
        return Mark(_triple(place), _triple((1.0, *size) if flat else size))

    return mark


def _triple(values: Sequence[float] | NDArray[np.float64]) -> Triple:
    k, j, i = (float(v) for v in values)
    return k, j, i


def _picture(shown: Shown) -> Picture:
    one, spacing = shown.chosen, shown.spacing
    depth = shown.image.shape[1]
    place = int(np.clip(round(one.mark.centre[0] / spacing[0]), 0, depth - 1)) if depth > 1 else 0
    numbers = np.asarray(shown.image, np.float32)
    colours = len(numbers) == 3 and depth == 1
    values = numbers if colours else numbers[0]
    whole, part = Cut(0, place), _around(one.mark, spacing, shown.image.shape[2:], place)
    window = window_of(numbers if colours else numbers[0])
    pixel = whole.pixel(spacing)
    bare = pixels_of(np.asarray(part.of(values), np.float32), pixel, window=window)
    large = pixels_of(np.asarray(whole.of(values), np.float32), pixel, window=window, side=LARGE)
    title = f"slice {place + 1} of {depth}" if depth > 1 else "image"
    panels = (
        (title, _marked(shown, whole, large)),
        ("around it", bare),
        ("with marks", _marked(shown, part, bare)),
    )
    outcome = "right" if one.kind == "found" else "wrong"
    return Picture(one.id, outcome, one.caption, panels, one.kind)


def _around(mark: Mark, spacing: Triple, shape: tuple[int, ...], place: int) -> Cut:
    """The square part of a slice around an object."""
    wide = max(_ZOOM * max(mark.size[1:]), _LEAST * max(spacing[1:]))
    sides = []
    for axis in (1, 2):
        size = shape[axis - 1]
        wanted = min(round(wide / spacing[axis]), size)
        low = min(max(round(mark.centre[axis] / spacing[axis] - wanted / 2), 0), size - wanted)
        sides.append((low, low + wanted))
    return Cut(0, place, sides[0], sides[1])


def _marked(shown: Shown, plane: Cut, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with every mark that the slice cuts."""
    one, spacing, flat = shown.chosen, shown.spacing, shown.image.shape[1] == 1
    first = (plane.rows[0], plane.columns[0])
    across = ((plane.columns[1] or shown.image.shape[3]) - first[1]) * spacing[2]
    scale = picture.shape[1] / across
    for marks, colour, dashed in ((one.reader, READER, False), (one.model, MODEL, True)):
        for mark in marks:
            off = abs(mark.centre[0] - plane.place * spacing[0]) / max(mark.size[0] / 2, spacing[0] / 2)
            if off > 1 and not flat:
                continue
            share = 1.0 if flat or one.boxes else float(np.sqrt(max(1 - off**2, 0.05)))
            centre = [(mark.centre[a] / spacing[a] - first[a - 1] + 0.5) * spacing[a] * scale for a in (1, 2)]
            half = [max(mark.size[a] / 2 * share * scale, 3.0) for a in (1, 2)]
            picture = circled(
                picture, (centre[0], centre[1]), (half[0], half[1]), colour, dashed=dashed, box=one.boxes
            )
    return picture
