"""Images that lie otherwise than the others or than they say: mirrored, turned, inverted, or of the other
side.

A quick model learns to tell the images from their own mirrored (turned, inverted) copies. An image that it
takes for a copy lies otherwise; where the laterality is known, the mirrored copy is an image of the other
side.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Finding
from hounsfield.steps.audits.contract import CHECKS, Claim, Material
from hounsfield.steps.audits.quick_model import (
    BY_CHANCE,
    Doubts,
    crossed_scores,
    doubts,
    features_of,
    more_than,
)
from hounsfield.steps.audits.suspects import LEAST, LEAST_OF_CLASS, SHOWN, Suspect
from hounsfield.steps.compute import available_cores
from hounsfield.steps.same_picture.looks import TURNS, turned, turned_edges

__all__ = ["laterality", "orientation", "suspected_orientations", "suspected_sides"]

MINORITY = 0.25
"""More images than this share that lie otherwise are a second kind of image, not an error."""
FEW_MIRRORED = 0.01
"""Fewer images than this share that look mirrored may be disease of one side: named, without alarm."""
SIDES = {"l": 0, "left": 0, "r": 1, "right": 1, "os": 0, "od": 1}
SIDE_NAMES = ("left", "right")
INVERTED = "inverted"
ORIENTATIONS = {TURNS[turn]: turn for turn in (1, 2, 3, 5, 6)}

Planes = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Lying:
    """Which cases (rows) are doubted, and how far each of these is on the way to the other form."""

    words: str
    rows: NDArray[np.intp]
    margin: NDArray[np.float64]
    expected: float


@CHECKS.register("laterality")
def laterality(material: Material) -> list[Claim]:
    """Images that look like the other side than their laterality says: mirrored, or mislabelled."""
    found = _of_other_side(material)
    if found is None:
        return []
    n = int(np.count_nonzero(_sides(material) >= 0))
    note = (
        f"{len(found.rows)} of {n} images look like the other side than their laterality says: "
        f"{_ids(material, found.rows)}; they are mirrored or their side is wrong: look at their markers, and "
        "correct them"
    )
    finding = Finding(
        "laterality_contradicted",
        value=float(len(found.rows)),
        n=n,
        n_patients=len(set(material.patients[found.rows].tolist())),
        level="warning",
        method="quick model of the images against their mirror images, by patient; Poisson",
        note=note,
    )
    return [Claim(finding, more_than(len(found.rows), found.expected), "suspects")]


@CHECKS.register("orientation")
def orientation(material: Material) -> list[Claim]:
    """Images that lie otherwise than the others: mirrored, turned or inverted."""
    return [_claim(material, found) for found in _otherwise(material)]


def suspected_sides(material: Material) -> list[Suspect]:
    """The images that look like the other side than theirs, the most doubtful first."""
    found, sides = _of_other_side(material), _sides(material)
    if found is None:
        return []
    named = [(SIDE_NAMES[sides[row]], SIDE_NAMES[1 - sides[row]]) for row in found.rows.tolist()]
    return _ranked(material, found, "side", named)


def suspected_orientations(material: Material) -> list[Suspect]:
    """The images that lie otherwise than most, form by form, in each the most doubtful first."""
    return [
        suspect
        for found in _otherwise(material)
        if len(found.rows) <= MINORITY * len(material.cases)
        for suspect in _ranked(material, found, "orientation", [("", found.words)] * len(found.rows))
    ]


def _ranked(material: Material, found: _Lying, question: str, named: list[tuple[str, str]]) -> list[Suspect]:
    return sorted(
        (
            Suspect(material.cases[row].id, question, given, like, float(margin))
            for row, margin, (given, like) in zip(found.rows, found.margin, named, strict=True)
        ),
        key=lambda s: -s.margin,
    )


def _of_other_side(material: Material) -> _Lying | None:
    """Each image is learned from twice, as it is and mirrored, which is an image of the other side."""
    sides = _sides(material)
    rows = np.flatnonzero(sides >= 0)
    is_right = sides[rows] == 1
    n = len(rows)
    if material.planes is None or material.edges is None or n < LEAST:
        return None
    if min(is_right.sum(), n - is_right.sum()) < LEAST_OF_CLASS:
        return None
    edges, planes = material.edges[rows], material.planes[rows]
    labels = np.concatenate([is_right, ~is_right])
    found = _told_apart(
        (edges, planes), (turned_edges(edges, 1), turned(planes, 1)), labels, material.patients[rows]
    )
    return _lying("of the other side", found, rows)


def _otherwise(material: Material) -> list[_Lying]:
    """For each form in which images may lie, those that a model takes for transforms."""
    edges, planes = material.edges, material.planes
    n = len(material.cases)
    if planes is None or edges is None or n < LEAST:
        return []
    is_upright = np.arange(2 * n) < n

    def seen(words: str) -> _Lying | None:
        if words == INVERTED:
            changed = edges, 1 - planes
        else:
            turn = ORIENTATIONS[words]
            changed = turned_edges(edges, turn), turned(planes, turn)
        found = _told_apart((edges, planes), changed, is_upright, material.patients)
        return _lying(words, found, np.arange(n))

    both_sides = set(SIDES.values()) <= set(_sides(material).tolist())
    asked = [w for w in ORIENTATIONS if not (both_sides and w == TURNS[1])] + [INVERTED]
    with ThreadPoolExecutor(available_cores()) as pool:
        return [found for found in pool.map(seen, asked) if found is not None]


def _told_apart(
    images: tuple[Planes, Planes],
    changed: tuple[Planes, Planes],
    labels: NDArray[np.bool_],
    patients: NDArray[np.intp],
) -> Doubts:
    """A model of edges and planes of images and their transforms, one below the other, by patient."""
    edges, planes = (np.concatenate(part) for part in zip(images, changed, strict=True))
    numbers = np.unique(patients, return_inverse=True)[1].astype(np.intp)
    return doubts(crossed_scores(features_of(edges, planes), labels, np.tile(numbers, 2)), labels)


def _lying(words: str, found: Doubts, rows: NDArray[np.intp]) -> _Lying | None:
    """Of images and transforms the images alone; None where the two cannot be told apart."""
    if not found.countable:
        return None
    doubted = np.flatnonzero(found.suspected[: len(rows)])
    return _Lying(words, rows[doubted], found.margin[doubted], found.expected / 2 + BY_CHANCE)


def _claim(material: Material, found: _Lying) -> Claim:
    n, rows = len(material.cases), found.rows
    several = len(rows) > MINORITY * n
    rare = found.words == TURNS[1] and len(rows) < FEW_MIRRORED * n
    what = (
        "two orientations are mixed here"
        if several
        else f"{len(rows)} of {n} images seem to be {found.words}"
    )
    note = (
        f"{what}: {_ids(material, rows)}; look at them, and bring all images to one orientation and "
        "polarity, unless both sides of the body are meant"
    )
    finding = Finding(
        "unusual_orientation",
        group=found.words,
        value=float(len(rows)),
        n=n,
        n_patients=len(set(material.patients[rows].tolist())),
        level="info" if several or rare else "warning",
        method="quick model of the images against their transforms, by patient; Poisson",
        note=note,
    )
    return Claim(finding, more_than(len(rows), found.expected), "suspects")


def _ids(material: Material, rows: NDArray[np.intp]) -> str:
    listed = ", ".join(material.cases[k].id for k in rows[:SHOWN])
    return listed + "…" * (len(rows) > SHOWN)


def _sides(material: Material) -> NDArray[np.intp]:
    """0 for the left, 1 for the right side of each case, -1 where unknown."""
    held = material.columns.get("laterality", [""] * len(material.cases))
    return np.array([SIDES.get(v.strip().casefold(), -1) for v in held], np.intp)
