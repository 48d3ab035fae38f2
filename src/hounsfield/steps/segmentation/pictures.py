"""Outlines shown to the reader: the worst, the middling and the best cases, over their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hounsfield.core.evidence import Picture
from hounsfield.steps.explain_panels import window_of
from hounsfield.steps.regions.overlay import (
    MODEL,
    READER,
    SIDE,
    Cut,
    cropped_to,
    cut,
    differing,
    outlined,
    pixels_of,
    width_of,
)
from hounsfield.steps.segmentation.table import Segmented

__all__ = ["Shown", "chosen_cases", "segmentation_pictures"]

Rank = Literal["worst", "median", "best", ""]
PLANES = ("slice", "row", "column")
NAMED = 4
"""Structures that a caption names; of more the worst."""
THIN = 9.0
"""What is narrower than so many pixels of its picture is filled instead of outlined."""
LARGE = 520
"""Pixels of the longer side of a plane image, of which there are two panels only."""
OUTCOME = {"worst": "wrong", "best": "right"}


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A case to be shown: image (C, K, J, I), the labels 1, 2, … of reader and model (K, J, I), and how good.

    `reference` is None where nobody outlined it. `spacing` (k, j, i) is in `unit`. `dice` and `hd95` are by
    structure. `channels` names the images of the case; three without a name, in a plane, are colours. `rank`
    says why the case is shown.
    """

    id: str
    image: NDArray[np.generic]
    reference: NDArray[np.integer] | None
    predicted: NDArray[np.integer]
    spacing: tuple[float, float, float]
    dice: Mapping[str, float | None] = field(default_factory=dict)
    hd95: Mapping[str, float | None] = field(default_factory=dict)
    unit: str = "mm"
    channels: tuple[str, ...] = ()
    rank: Rank = ""


def chosen_cases(table: Segmented, *, each: tuple[int, int, int] = (3, 2, 2)) -> tuple[tuple[int, Rank], ...]:
    """Rows of the worst, the middling and the best cases by mean Dice over structures, each row once.

    >>> from hounsfield.metrics.overlap import Overlap
    >>> from hounsfield.metrics.segmentation import SegmentedCase
    >>> cases = tuple(SegmentedCase(Overlap(d, d, 1.0, 1.0, 0.0)) for d in (0.9, 0.4, 0.7))
    >>> chosen_cases(Segmented(("x",), ("a", "b", "c"), ("p", "q", "r"), {"x": cases}, 1.0), each=(1, 1, 1))
    ((1, 'worst'), (2, 'median'), (0, 'best'))
    """
    means = []
    for r in range(len(table)):
        held = [c.overlap.dice for s in table.structures if (c := table.cases[s][r]) is not None]
        known = [d for d in held if d is not None]
        if known:
            means.append((float(np.mean(known)), r))
    order = [r for _, r in sorted(means)]
    worst, median, best = each
    middle = max(len(order) // 2 - median // 2, 0)
    ranks: dict[int, Rank] = dict.fromkeys(order[:worst], "worst")
    for r in order[len(order) - best :] if best else ():
        ranks.setdefault(r, "best")
    for r in order[middle : middle + median]:
        ranks.setdefault(r, "median")
    listed: list[tuple[int, Rank]] = [(r, ranks[r]) for r in order if r in ranks]
    return tuple(listed)


def segmentation_pictures(shown: Sequence[Shown]) -> tuple[Picture, ...]:
    """A picture of each case: the image bare, then with both outlines in the plane where most is outlined.

    Of volumes the planes across the rows and the columns follow. The reader's outline is blue and solid, the
    model's orange and dashed. Masks and image must have one grid.
    """
    return tuple(_picture(case) for case in shown)


def _picture(case: Shown) -> Picture:
    main = (
        case.reference if case.reference is not None and (case.reference > 0).any() else case.predicted
    ) > 0
    either = main | (case.predicted > 0)
    solid = case.image.shape[1] > 1
    panels: list[tuple[str, NDArray[np.uint8]]] = []
    for axis in range(3) if solid else (0,):
        plane = cropped_to(cut(main, axis), either, case.spacing)
        told = f"{PLANES[axis]} {plane.place + 1} of {case.image.shape[axis + 1]}" if solid else "outlines"
        bare = _bare(case, plane)
        if axis == 0:
            panels += [(name, pixels) for name, pixels in bare.items()]
        ground = next(iter(bare.values()))
        drawn = _filled(case, plane, ground)
        if drawn is not None:
            told = f"{told}: white both, blue the reader only, orange the model only"
        panels.append((told, drawn if drawn is not None else _with_outlines(case, plane, ground)))
    return Picture(
        case.id, OUTCOME.get(case.rank, ""), _caption(case), tuple(panels), case.rank or "outlined"
    )


def _bare(case: Shown, plane: Cut) -> dict[str, NDArray[np.uint8]]:
    """The plane of the image, or of the first two of several."""
    values = np.asarray(plane.of(case.image), np.float32)
    pixel, numbers = plane.pixel(case.spacing), np.asarray(case.image, np.float32)
    side = SIDE if case.image.shape[1] > 1 else LARGE
    if len(values) == 3 and not case.channels and case.image.shape[1] == 1:
        return {"image": pixels_of(values, pixel, window=window_of(numbers), side=side)}
    names = case.channels or tuple("image" if k == 0 else f"image {k + 1}" for k in range(len(values)))
    return {
        names[k]: pixels_of(values[k], pixel, window=window_of(numbers[k]), side=side)
        for k in range(min(len(values), 2))
    }


def _with_outlines(case: Shown, plane: Cut, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    for labels, colour, dashed in ((case.reference, READER, False), (case.predicted, MODEL, True)):
        if labels is None:
            continue
        part = np.asarray(plane.of(labels))
        for label in np.unique(part[part > 0]):
            picture = outlined(picture, part == label, colour, dashed=dashed)
    return picture


def _filled(case: Shown, plane: Cut, picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Both masks filled where they are too thin for outlines."""
    if case.reference is None:
        return None
    reader, model = (np.asarray(plane.of(m)) > 0 for m in (case.reference, case.predicted))
    if not reader.any() or width_of(reader, picture) >= THIN:
        return None
    return differing(picture, reader, model)


def _caption(case: Shown) -> str:
    known = sorted((d, s) for s, d in case.dice.items() if d is not None)
    neither = [s for s, d in case.dice.items() if d is None]
    said = []
    if len(known) > NAMED:
        said.append(f"mean Dice {np.mean([d for d, _ in known]):.3f}; the worst of {len(known)} structures:")
    for dice, structure in known[:NAMED]:
        name = f"{structure} " if len(case.dice) > 1 else ""
        far = case.hd95.get(structure)
        said.append(f"{name}Dice {dice:.3f}" + (f", HD95 {far:.1f} {case.unit}" if far is not None else ""))
    if neither:
        said.append(f"{', '.join(neither[:NAMED])} outlined by neither")
    if case.reference is None:
        said.append("no reader outlined this case")
    return "; ".join(said).replace(":;", ":")
